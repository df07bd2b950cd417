//! The two multibase alphabets that DID documents use: base64url (`u`) and base58btc (`z`).
//!
//! base64url is what the W3C drafts for post-quantum keys write; base58btc is what the `did:key`
//! method asks for. Source: the multibase registry, RFC 4648 section 5, and the Bitcoin alphabet.

const BASE64URL: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE58BTC: [u8; 58] = *b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// base64url without padding.
#[must_use]
pub fn base64url_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..=chunk.len() {
            let index = (word >> (18 - 6 * place)) & 63;
            text.push(char::from(BASE64URL[index as usize]));
        }
    }
    text
}

/// The bytes of unpadded base64url text; `None` when a character is foreign, the length impossible
/// or a bit beyond the last byte set (each byte string has exactly one text).
#[must_use]
pub fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut word, mut bits) = (0u32, 0u32);
    for character in text.bytes() {
        let value = BASE64URL.iter().position(|symbol| *symbol == character)?;
        word = word << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(word >> bits & 0xff).ok()?);
            word &= (1 << bits) - 1;
        }
    }
    // One lone character carries six bits, which is no byte.
    (bits < 6 && word == 0).then_some(bytes)
}

/// base58 with the Bitcoin alphabet. Quadratic in the length: callers bound it.
#[must_use]
pub fn base58btc_encode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 138 / 100 + 1);
    for byte in bytes.iter().skip(zeros) {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = small(carry % 58);
            carry /= 58;
        }
        while carry > 0 {
            digits.push(small(carry % 58));
            carry /= 58;
        }
    }
    let leading = core::iter::repeat_n(BASE58BTC[0], zeros);
    leading.chain(digits.iter().rev().map(|digit| BASE58BTC[usize::from(*digit)])).map(char::from).collect()
}

/// The bytes of base58 text with the Bitcoin alphabet; `None` when a character is foreign.
#[must_use]
pub fn base58btc_decode(text: &str) -> Option<Vec<u8>> {
    let zeros = text.bytes().take_while(|character| *character == BASE58BTC[0]).count();
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for character in text.bytes().skip(zeros) {
        let mut carry = u32::try_from(BASE58BTC.iter().position(|symbol| *symbol == character)?).ok()?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = small(carry & 0xff);
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(small(carry & 0xff));
            carry >>= 8;
        }
    }
    bytes.extend(core::iter::repeat_n(0, zeros));
    bytes.reverse();
    Some(bytes)
}

/// A value that the caller has reduced below 256.
fn small(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_matches_rfc_4648() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url_encode(plain.as_bytes()), text);
            assert_eq!(base64url_decode(text).unwrap(), plain.as_bytes());
        }
        assert_eq!(base64url_encode(&[0xfb, 0xff]), "-_8");
        for wrong in ["Z", "Zh", "Zg==", "Z+", "Zm9vY"] {
            assert_eq!(base64url_decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn base58btc_matches_the_published_vectors() {
        // draft-msporny-base58-03, section 5.
        for (plain, text) in [
            (b"Hello World!".to_vec(), "2NEpo7TZRRrLZSi2U"),
            (
                b"The quick brown fox jumps over the lazy dog.".to_vec(),
                "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
            ),
            (vec![0x00, 0x00, 0x28, 0x7f, 0xb4, 0xcd], "11233QC4"),
        ] {
            assert_eq!(base58btc_encode(&plain), text);
            assert_eq!(base58btc_decode(text).unwrap(), plain);
        }
        assert_eq!(base58btc_decode("0OIl"), None);
    }

    #[test]
    fn every_length_round_trips() {
        for length in 0..200u8 {
            let bytes: Vec<u8> = (0..length).map(|place| place.wrapping_mul(37).wrapping_sub(length)).collect();
            assert_eq!(base64url_decode(&base64url_encode(&bytes)).unwrap(), bytes);
            assert_eq!(base58btc_decode(&base58btc_encode(&bytes)).unwrap(), bytes);
        }
    }
}
