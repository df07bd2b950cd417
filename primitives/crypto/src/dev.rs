//! Seeds of development accounts. Everybody can derive them: never use them on a chain with value.

use crate::Seed;

/// Domain of development seeds.
const DEV_DOMAIN: &[u8] = b"x0/dev/v1/";

/// The seed of a development key: BLAKE2b-256 of `x0/dev/v1/<name>/<role>`. One name has another key
/// for each role, as real holders do.
#[must_use]
pub fn seed(name: &str, role: &str) -> Seed {
    Seed::from_bytes(crate::blake2b_256_of(&[DEV_DOMAIN, name.as_bytes(), b"/", role.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::seed;

    #[test]
    fn names_and_roles_give_different_seeds() {
        assert_ne!(seed("alice", "account").expose(), seed("bob", "account").expose());
        assert_ne!(seed("validator-1", "consensus").expose(), seed("validator-1", "network").expose());
        assert_eq!(seed("alice", "account").expose(), seed("alice", "account").expose());
    }
}
