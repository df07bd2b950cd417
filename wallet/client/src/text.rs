//! Text forms: accounts, DIDs, hex.

use sp_core::crypto::{Ss58AddressFormat, Ss58Codec};
use x0_types::{AccountId, Hash, account::SS58_PREFIX};

use crate::ClientError;

/// First part of every DID of this method.
const DID_PREFIX: &str = "did:x0:";

/// The SS58 text of an account, with the development prefix 42.
#[must_use]
pub fn account_text(account: &AccountId) -> String {
    account.to_ss58check_with_version(Ss58AddressFormat::custom(SS58_PREFIX))
}

/// The DID of an account: `did:x0:<network>:<account>`.
#[must_use]
pub fn did_text(network: &str, account: &AccountId) -> String {
    format!("{DID_PREFIX}{network}:{}", account_text(account))
}

/// Reads an account from SS58 text, from `0x` and 64 hex digits, or from a DID.
///
/// # Errors
/// [`ClientError::Account`] with what is wrong: length, checksum, another network's prefix.
pub fn parse_account(text: &str) -> Result<AccountId, ClientError> {
    let refuse = |reason: String| ClientError::Account { text: text.to_owned(), reason };
    if let Some(rest) = text.strip_prefix(DID_PREFIX) {
        let (_, account) =
            rest.split_once(':').ok_or_else(|| refuse("a DID reads did:x0:<network>:<account>".into()))?;
        return parse_account(account);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        let bytes = hex::decode(digits).map_err(|error| refuse(error.to_string()))?;
        let bytes: [u8; 32] = bytes
            .try_into()
            .map_err(|bytes: Vec<u8>| refuse(format!("an account has 32 bytes, not {}", bytes.len())))?;
        return Ok(AccountId::new(bytes));
    }
    let (account, format) =
        AccountId::from_ss58check_with_version(text).map_err(|error| refuse(ss58_reason(&error).to_owned()))?;
    if format != Ss58AddressFormat::custom(SS58_PREFIX) {
        return Err(refuse(format!("it belongs to the network with prefix {}, not {SS58_PREFIX}", u16::from(format))));
    }
    Ok(account)
}

/// A user's words for an SS58 error.
const fn ss58_reason(error: &sp_core::crypto::PublicError) -> &'static str {
    use sp_core::crypto::PublicError;
    match error {
        PublicError::BadBase58 => {
            "it contains a character that addresses do not use (0, O, I and l are left out on purpose)"
        }
        PublicError::BadLength => "its length is wrong: part of it is missing or doubled",
        PublicError::InvalidChecksum => "its checksum is wrong: a character is mistyped",
        PublicError::UnknownSs58AddressFormat(_) | PublicError::FormatNotAllowed | PublicError::InvalidPrefix => {
            "it belongs to another network"
        }
        _ => "it does not read as an address",
    }
}

/// Bytes as `0x` and hex digits.
#[must_use]
pub fn hex_text(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Reads bytes from hex digits, with or without `0x`.
///
/// # Errors
/// [`ClientError::Decode`] naming `what`.
pub fn parse_hex(what: &str, text: &str) -> Result<Vec<u8>, ClientError> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .map_err(|error| ClientError::Decode { what: what.to_owned(), reason: error.to_string() })
}

/// Reads a 32-byte hash from hex digits, with or without `0x`.
///
/// # Errors
/// [`ClientError::Decode`] naming `what`.
pub fn parse_hash(what: &str, text: &str) -> Result<Hash, ClientError> {
    let bytes: [u8; 32] = parse_hex(what, text)?.try_into().map_err(|bytes: Vec<u8>| ClientError::Decode {
        what: what.to_owned(),
        reason: format!("a hash has 32 bytes, not {}", bytes.len()),
    })?;
    Ok(Hash::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_read_in_every_text_form() {
        let account = AccountId::new([7; 32]);
        for text in [account_text(&account), did_text("dev", &account), hex_text([7u8; 32])] {
            assert_eq!(parse_account(&text).unwrap(), account, "{text}");
        }
    }

    #[test]
    fn a_mistyped_character_is_found_and_explained() {
        let mut text = account_text(&AccountId::new([7; 32])).into_bytes();
        text[20] = if text[20] == b'A' { b'B' } else { b'A' };
        let error = parse_account(&String::from_utf8(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains("mistyped"), "{error}");
    }

    #[test]
    fn an_address_of_another_network_is_refused() {
        let polkadot = AccountId::new([7; 32]).to_ss58check_with_version(Ss58AddressFormat::custom(0));
        let error = parse_account(&polkadot).unwrap_err().to_string();
        assert!(error.contains("prefix 0"), "{error}");
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for text in ["", "0x12", "0xzz", "did:x0:dev", "hello", "5Grw"] {
            assert!(matches!(parse_account(text), Err(ClientError::Account { .. })), "{text}");
        }
    }
}
