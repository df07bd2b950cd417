//! Listings and deals.
