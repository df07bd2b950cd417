//! Real validators in network namespaces.
