//! Loads and reads the BPF programs.
