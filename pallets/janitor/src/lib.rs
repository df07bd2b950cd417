//! The block-indexed queue that ends deals without anybody asking.
