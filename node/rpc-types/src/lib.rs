//! JSON shapes of the product's own RPC namespaces.
