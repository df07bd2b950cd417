//! Admission, ordering and expiry of transactions.
