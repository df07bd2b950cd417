//! Blocks, state, certificates and undecided proposals in RocksDB.
