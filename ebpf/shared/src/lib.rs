//! Map layouts that BPF programs and the loader share.
