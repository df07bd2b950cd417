//! Message carriers between validators.
