//! Randomness of the operating system, in the form that the protocol takes.

use x0_mesh::Entropy;

/// The kernel's random number generator (`getrandom`), seeded before it gives anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            // SAFETY: pointer and length describe `rest`, which lives during the call.
            let given = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(given) {
                Ok(given) => rest = rest.get_mut(given..).unwrap_or_default(),
                Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
                // A kernel without the call is older than any with the sockets above. Keys without randomness
                // would be worse than no agent.
                Err(_) => std::process::abort(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_filled_each_time_anew() {
        let (mut one, mut two) = ([0; 1_000], [0; 1_000]);
        OsEntropy.fill(&mut one);
        OsEntropy.fill(&mut two);
        assert_ne!(one, two);
        assert!(one[900..].iter().any(|byte| *byte != 0));
        OsEntropy.fill(&mut []);
    }
}
