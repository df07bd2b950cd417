//! Lets a new node join from a snapshot.
