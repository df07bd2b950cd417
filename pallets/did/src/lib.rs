//! Decentralised identities: roles, keys, rotation, revocation.
