//! The programs in the kernel, run on prepared packets (`BPF_PROG_TEST_RUN`).

mod clsact;
mod kernel;
mod limits;
mod programs;
