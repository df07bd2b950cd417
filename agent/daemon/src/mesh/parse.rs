//! Reading texts and numbers of the section `[mesh]`, with errors that name the field.

use std::{net::IpAddr, path::Path};

use x0_client::{
    rpc_types::did::Multikey,
    text::{parse_account, parse_hex},
};
use x0_crypto::PublicKey;
use x0_types::AccountId;

/// Most bytes of a file that holds a key as text.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// What is wrong in the section, with the field's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A text that does not read as what its field holds.
    #[error("{field}: {reason}")]
    Text {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A number outside its bounds.
    #[error("{field} is {value}; it must be {min} to {max}")]
    Bounds {
        /// The field.
        field: String,
        /// The value.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Two entries with one name.
    #[error("{field}: {name} is there twice")]
    Twice {
        /// The field.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// An underlay that the file does not have.
    #[error("{field}: there is no mesh.underlay with the name {name:?}")]
    NoUnderlay {
        /// The field.
        field: String,
        /// The name.
        name: String,
    },
    /// A key that belongs to another account than the one beside it.
    #[error("{field}: the key is that of {found}, and the account beside it is {given}")]
    KeyOfAnother {
        /// The field.
        field: String,
        /// The account of the key.
        found: AccountId,
        /// The account in the file.
        given: AccountId,
    },
    /// Fields that exclude each other, or that need each other.
    #[error("{fields}: {reason}")]
    Together {
        /// The fields.
        fields: &'static str,
        /// Why.
        reason: &'static str,
    },
}

/// Results of reading the section.
pub type Result<T, E = SettingsError> = std::result::Result<T, E>;

/// An account: SS58, hex, or a DID.
///
/// # Errors
/// [`SettingsError::Text`].
pub fn account(field: &str, words: &str) -> Result<AccountId> {
    parse_account(words).map_err(|error| text(field, &error))
}

/// An ML-DSA-65 key, in hex or as Multikey text.
///
/// # Errors
/// [`SettingsError::Text`].
pub fn public_key(field: &str, words: &str) -> Result<PublicKey> {
    let words = words.trim();
    if words.starts_with("0x") {
        let bytes = parse_hex("a key", words).map_err(|error| text(field, &error))?;
        return PublicKey::from_bytes(&bytes).map_err(|error| text(field, &error));
    }
    match Multikey::from_text(words) {
        Ok(Multikey::MlDsa65(bytes)) => Ok(PublicKey::from(bytes)),
        Ok(Multikey::MlKem768(_)) => Err(text(field, &"an ML-KEM key; an agent's key is an ML-DSA-65 key")),
        Err(error) => Err(text(field, &error)),
    }
}

/// The text of a key file.
///
/// # Errors
/// [`SettingsError::Text`] with the file's name.
pub fn read_key(field: &str, path: &Path) -> Result<String> {
    use std::io::Read as _;
    let mut words = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut words));
    read.map(|_| words).map_err(|error| text(field, &format!("{}: {error}", path.display())))
}

/// An address and the bits of it that count; all of them without a number.
///
/// # Errors
/// [`SettingsError::Text`] and [`SettingsError::Bounds`].
pub fn prefix(field: &str, words: &str) -> Result<(IpAddr, u8)> {
    let (address, bits) = words.split_once('/').map_or((words, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|error| text(field, &format!("{words}: {error}")))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits.parse().map_err(|error| text(field, &format!("{words}: {error}")))?,
    };
    within(field, bits.into(), 0, most.into())?;
    Ok((address, bits))
}

/// An error about a text.
#[must_use]
pub fn text(field: &str, reason: &dyn std::fmt::Display) -> SettingsError {
    SettingsError::Text { field: field.to_owned(), reason: reason.to_string() }
}

/// Checks a number.
///
/// # Errors
/// [`SettingsError::Bounds`].
pub fn within(field: &str, value: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::Bounds { field: field.to_owned(), value, min, max })
}
