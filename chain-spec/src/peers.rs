//! The form of a peer's address.

/// Hexadecimal digits of a peer key: BLAKE2b-256 of the ML-DSA-65 network key.
const KEY_DIGITS: usize = 64;
/// Longest host name (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Checks `<peer key>@<host>:<port>`. Whether the host exists is for the node to find out.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn check_peer(text: &str) -> Result<(), String> {
    let (key, address) = text.split_once('@').ok_or("must be <peer key>@<host>:<port>")?;
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if key.len() != KEY_DIGITS || !key.chars().all(digit) {
        return Err(format!("the peer key must be {KEY_DIGITS} lower-case hexadecimal digits"));
    }
    let (host, port) = address.rsplit_once(':').ok_or("the address has no port")?;
    if host.is_empty() || host.len() > HOST_BYTES_MAX || host.chars().any(|c| c.is_whitespace() || c == '@') {
        return Err(format!("the host must have 1 to {HOST_BYTES_MAX} characters and no spaces"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => Err(format!("{port:?} is no port")),
    }
}
