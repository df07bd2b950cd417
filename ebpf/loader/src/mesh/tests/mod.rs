//! The programs in the kernel, run on prepared packets (`BPF_PROG_TEST_RUN`).

mod kernel;
mod limits;
mod programs;
