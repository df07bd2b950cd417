//! The 24 words that back a seed up on paper (BIP-39, English list).
//!
//! The words encode the 32 bytes of the seed themselves and 8 bits of checksum; there is no
//! passphrase and no further derivation, so any BIP-39 tool can check a phrase.

use crate::{SEED_BYTES, Seed};
use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

/// Words of a backup phrase.
pub const PHRASE_WORDS: usize = 24;

/// What is wrong with a phrase that somebody typed. No variant repeats a word of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MnemonicError {
    /// The phrase is too short or too long.
    #[error("a backup phrase has {PHRASE_WORDS} words, found {found}")]
    WordCount {
        /// Words that were given.
        found: usize,
    },
    /// A word is not on the list.
    #[error("word {position} of the backup phrase is not on the English BIP-39 list")]
    UnknownWord {
        /// Place of the word, counted from 1.
        position: usize,
    },
    /// All words are on the list, but they do not belong together.
    #[error("the checksum of the backup phrase is wrong: a word is mistyped or two are swapped")]
    Checksum,
    /// The library refused a seed of 32 bytes, which it must accept.
    #[error("the phrase library failed")]
    Library,
}

/// The backup phrase of a seed, words separated by one space.
///
/// # Errors
/// [`MnemonicError::Library`], which would be a defect of the library.
pub fn seed_to_phrase(seed: &Seed) -> Result<Zeroizing<String>, MnemonicError> {
    let mnemonic = Mnemonic::from_entropy_in(Language::English, seed.expose()).map_err(|_| MnemonicError::Library)?;
    // Reserving the whole length first keeps the string from leaving copies behind as it grows.
    let mut phrase = Zeroizing::new(String::with_capacity(PHRASE_WORDS * 9));
    for word in mnemonic.words() {
        if !phrase.is_empty() {
            phrase.push(' ');
        }
        phrase.push_str(word);
    }
    Ok(phrase)
}

/// The seed of a backup phrase. Upper case and any white space between the words are accepted.
///
/// # Errors
/// [`MnemonicError::WordCount`], [`MnemonicError::UnknownWord`] or [`MnemonicError::Checksum`].
pub fn phrase_to_seed(phrase: &str) -> Result<Seed, MnemonicError> {
    let found = phrase.split_whitespace().count();
    if found != PHRASE_WORDS {
        return Err(MnemonicError::WordCount { found });
    }
    let mut normal = Zeroizing::new(String::with_capacity(phrase.len() + PHRASE_WORDS));
    for word in phrase.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.extend(word.chars().map(|letter| letter.to_ascii_lowercase()));
    }
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &normal).map_err(|error| match error {
        bip39::Error::UnknownWord(index) => MnemonicError::UnknownWord { position: index + 1 },
        _ => MnemonicError::Checksum,
    })?;
    let (entropy, length) = mnemonic.to_entropy_array();
    let entropy = Zeroizing::new(entropy);
    let bytes: Zeroizing<[u8; SEED_BYTES]> =
        Zeroizing::new(entropy.get(..length).and_then(|used| used.try_into().ok()).ok_or(MnemonicError::Library)?);
    Ok(Seed::from_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Vectors of BIP-39 itself.
    #[test]
    fn published_phrases_come_out() {
        let legal = "legal winner thank year wave sausage worth useful";
        for (byte, phrase) in [
            (0x00, format!("{}art", "abandon ".repeat(23))),
            (0x7f, format!("{legal} {legal} legal winner thank year wave sausage worth title")),
            (0xff, format!("{}vote", "zoo ".repeat(23))),
        ] {
            assert_eq!(*seed_to_phrase(&Seed::from_bytes([byte; 32])).unwrap(), phrase);
            assert_eq!(*phrase_to_seed(&phrase).unwrap().expose(), [byte; 32]);
        }
    }

    #[test]
    fn what_is_mistyped_is_named_without_repeating_it() {
        let good = seed_to_phrase(&crate::dev::seed("alice", "account")).unwrap();
        let words: Vec<&str> = good.split(' ').collect();
        let refused = |words: &[&str]| phrase_to_seed(&words.join(" ")).unwrap_err();
        assert_eq!(refused(&words[..23]), MnemonicError::WordCount { found: 23 });
        assert_eq!(refused(&[]), MnemonicError::WordCount { found: 0 });
        let mut typo = words.clone();
        typo[6] = "notaword";
        assert_eq!(refused(&typo), MnemonicError::UnknownWord { position: 7 });
        assert!(!refused(&typo).to_string().contains("notaword"));
        // 256 phrases end in the words of this one but one; exactly 8 of the 2048 last words fit.
        let fitting = Language::English
            .word_list()
            .iter()
            .filter(|last| {
                let mut tried = words.clone();
                tried[23] = last;
                match phrase_to_seed(&tried.join(" ")) {
                    Ok(_) => true,
                    Err(error) => {
                        assert_eq!(error, MnemonicError::Checksum);
                        false
                    }
                }
            })
            .count();
        assert_eq!(fitting, 8);
    }

    proptest! {
        #[test]
        fn phrases_round_trip_however_they_are_typed(bytes: [u8; 32], upper: bool) {
            let phrase = seed_to_phrase(&Seed::from_bytes(bytes)).unwrap();
            let mut typed = format!("  {}\n", phrase.replace(' ', " \t "));
            if upper {
                typed = typed.to_uppercase();
            }
            prop_assert_eq!(*phrase_to_seed(&typed).unwrap().expose(), bytes);
        }
    }
}
