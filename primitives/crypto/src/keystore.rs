//! Encrypted key files: one seed, sealed by a password.
//!
//! ```text
//!   password --argon2id(salt)--> 64 bytes = AES key (32) || check secret (32)
//!   check      = BLAKE2b-256(domain || check secret)            tells a wrong password
//!   ciphertext = AES-256-GCM(AES key, nonce, seed, AAD = header) tells a changed header
//!   checksum   = BLAKE2b-256(domain || everything above)         tells a damaged file, no password needed
//! ```
//!
//! # Correctness
//! * The whole header (version, role, public key, argon2id parameters, salt) is authenticated: a file
//!   whose fields were changed never opens, and what opens always has the public key in its header.
//! * The checksum has no key. It tells accidental damage from a wrong password before a second is
//!   spent on argon2id; an attacker can recompute it, and then meets the check and the tag. Whoever
//!   changes the salt and recomputes the checksum makes the right password look wrong: that cannot
//!   be told apart, and gives nothing away.
//! * Files are written with mode 0600, complete or not at all, and never replace an existing file.
//!
//! # Limits
//! See the `KEYSTORE_*` constants in `x0-limits`; they are checked before memory is allocated.

mod file;
#[cfg(test)]
mod tests;

use crate::{CryptoError, SEED_BYTES, Seed, SigningKey};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    constant_time, rand,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use x0_limits::{
    KEYSTORE_ARGON2_LANES_MAX, KEYSTORE_ARGON2_MEMORY_KIB_MAX, KEYSTORE_ARGON2_MEMORY_KIB_MIN,
    KEYSTORE_ARGON2_PASSES_MAX, KEYSTORE_FILE_BYTES_MAX, KEYSTORE_PASSWORD_BYTES_MAX, KEYSTORE_ROLE_BYTES_MAX,
};
use zeroize::Zeroizing;

/// The version of the format that this code writes and reads.
pub const KEYSTORE_VERSION: u32 = 1;

const HEADER_DOMAIN: &[u8] = b"x0/keystore/v1";
const CHECK_DOMAIN: &[u8] = b"x0/keystore-check/v1";
const CHECKSUM_DOMAIN: &[u8] = b"x0/keystore-checksum/v1";
const ALGORITHM: &str = "ML-DSA-65";
const KDF: &str = "argon2id";
const CIPHER: &str = "AES-256-GCM";
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// What can go wrong with a keystore file.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The password does not open this file.
    #[error("wrong password")]
    WrongPassword,
    /// The password is right, or not needed to see it, but the file was changed or damaged.
    #[error("the keystore file was changed or is damaged ({what})")]
    Tampered {
        /// Which protection does not fit.
        what: &'static str,
    },
    /// The file is not a keystore file of this kind.
    #[error("not a keystore file: {reason}")]
    Malformed {
        /// What does not fit.
        reason: String,
    },
    /// The file has a version that this program does not know.
    #[error("keystore version {found} is not supported, this program reads version {KEYSTORE_VERSION}")]
    Version {
        /// The version in the file.
        found: u64,
    },
    /// A parameter of argon2id is out of bounds.
    #[error("argon2id {parameter} = {found} is outside {min} to {max}")]
    KdfOutOfBounds {
        /// Name of the parameter.
        parameter: &'static str,
        /// Its value.
        found: u32,
        /// Smallest value allowed.
        min: u32,
        /// Largest value allowed.
        max: u32,
    },
    /// The password is empty or too long.
    #[error("a password has 1 to {KEYSTORE_PASSWORD_BYTES_MAX} bytes, found {found}")]
    PasswordLength {
        /// Bytes that were given.
        found: usize,
    },
    /// The name of the role is empty, too long or has letters other than a-z, 0-9 and the hyphen.
    #[error("{role:?} is no role name: 1 to {KEYSTORE_ROLE_BYTES_MAX} of a-z, 0-9 and -")]
    Role {
        /// The name that was given.
        role: String,
    },
    /// There is a file already; keys are never overwritten.
    #[error("{} exists already and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than any keystore file.
    #[error("{} is larger than {KEYSTORE_FILE_BYTES_MAX} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// Keys or randomness failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Argon2id or AES-GCM failed for a reason other than the input, for example without memory.
    #[error("the keystore cipher failed")]
    Cipher,
}

/// A password. Cleared when dropped, never printed. The bytes count as they are typed (UTF-8, no
/// normalisation).
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes a password.
    ///
    /// # Errors
    /// [`KeystoreError::PasswordLength`] when it is empty or longer than
    /// [`KEYSTORE_PASSWORD_BYTES_MAX`].
    pub fn new(password: impl Into<Vec<u8>>) -> Result<Self, KeystoreError> {
        let bytes = Zeroizing::new(password.into());
        if bytes.is_empty() || bytes.len() > KEYSTORE_PASSWORD_BYTES_MAX {
            return Err(KeystoreError::PasswordLength { found: bytes.len() });
        }
        Ok(Self(bytes))
    }
}

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Password(secret)")
    }
}

/// Cost of argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Default for KdfParams {
    /// 64 MiB, 3 passes, 1 lane: about a fifth of a second on a desktop, and possible in a browser.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

impl KdfParams {
    /// The cheapest parameters that are accepted: for development keys and tests.
    pub const DEVELOPMENT: Self = Self { memory_kib: KEYSTORE_ARGON2_MEMORY_KIB_MIN, passes: 1, lanes: 1 };

    /// Checks parameters.
    ///
    /// # Errors
    /// [`KeystoreError::KdfOutOfBounds`].
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, KeystoreError> {
        let bounded = |parameter, found, min, max| {
            if (min..=max).contains(&found) {
                Ok(())
            } else {
                Err(KeystoreError::KdfOutOfBounds { parameter, found, min, max })
            }
        };
        bounded("memory_kib", memory_kib, KEYSTORE_ARGON2_MEMORY_KIB_MIN, KEYSTORE_ARGON2_MEMORY_KIB_MAX)?;
        bounded("passes", passes, 1, KEYSTORE_ARGON2_PASSES_MAX)?;
        bounded("lanes", lanes, 1, KEYSTORE_ARGON2_LANES_MAX)?;
        Ok(Self { memory_kib, passes, lanes })
    }
}

/// A keystore file as it stands on disk. Binary fields are lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeystoreFile {
    version: u32,
    role: String,
    algorithm: String,
    public_key: String,
    kdf: KdfFields,
    cipher: CipherFields,
    check: String,
    checksum: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfFields {
    name: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CipherFields {
    name: String,
    nonce: String,
    ciphertext: String,
}

/// The binary fields of a file, decoded and of the right lengths.
struct Decoded {
    public: crate::PublicKey,
    params: KdfParams,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_LEN],
    ciphertext: [u8; SEED_BYTES + TAG_BYTES],
    check: [u8; 32],
}

/// What argon2id makes of a password.
struct Derived {
    cipher_key: LessSafeKey,
    check: [u8; 32],
}

/// Seals a seed. Takes as long as argon2id does: async code calls it on a blocking thread.
///
/// # Errors
/// [`KeystoreError::Role`], or [`KeystoreError::Crypto`] and [`KeystoreError::Cipher`] when a library
/// fails.
pub fn seal(seed: &Seed, password: &Password, role: &str, params: &KdfParams) -> Result<KeystoreFile, KeystoreError> {
    check_role(role)?;
    let public = SigningKey::from_seed(seed)?.public().clone();
    let mut salt = [0; SALT_BYTES];
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut salt).map_err(|_| CryptoError::Randomness)?;
    rand::fill(&mut nonce).map_err(|_| CryptoError::Randomness)?;
    let derived = derive(password, params, &salt)?;
    let mut file = KeystoreFile {
        version: KEYSTORE_VERSION,
        role: role.to_owned(),
        algorithm: ALGORITHM.to_owned(),
        public_key: hex::encode(public.as_bytes()),
        kdf: KdfFields {
            name: KDF.to_owned(),
            memory_kib: params.memory_kib,
            passes: params.passes,
            lanes: params.lanes,
            salt: hex::encode(salt),
        },
        cipher: CipherFields { name: CIPHER.to_owned(), nonce: hex::encode(nonce), ciphertext: String::new() },
        check: hex::encode(derived.check),
        checksum: String::new(),
    };
    let mut sealed = Zeroizing::new(*seed.expose());
    let tag = derived
        .cipher_key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(file.header()), &mut sealed[..])
        .map_err(|_| KeystoreError::Cipher)?;
    file.cipher.ciphertext = hex::encode([&sealed[..], tag.as_ref()].concat());
    file.checksum = hex::encode(file.compute_checksum());
    Ok(file)
}

/// Opens a file. Takes as long as argon2id does: async code calls it on a blocking thread.
///
/// # Errors
/// [`KeystoreError::WrongPassword`]; [`KeystoreError::Tampered`] when a protection does not fit;
/// [`KeystoreError::Malformed`], [`KeystoreError::Version`] or [`KeystoreError::KdfOutOfBounds`] when
/// the fields are not those of a keystore.
pub fn open(file: &KeystoreFile, password: &Password) -> Result<Seed, KeystoreError> {
    let decoded = file.decode()?;
    if hex::encode(file.compute_checksum()) != file.checksum {
        return Err(KeystoreError::Tampered { what: "checksum" });
    }
    let derived = derive(password, &decoded.params, &decoded.salt)?;
    if constant_time::verify_slices_are_equal(&derived.check, &decoded.check).is_err() {
        return Err(KeystoreError::WrongPassword);
    }
    let mut ciphertext = Zeroizing::new(decoded.ciphertext);
    let plain = derived
        .cipher_key
        .open_in_place(Nonce::assume_unique_for_key(decoded.nonce), Aad::from(file.header()), &mut ciphertext[..])
        .map_err(|_| KeystoreError::Tampered { what: "authentication tag" })?;
    let bytes: Zeroizing<[u8; SEED_BYTES]> =
        Zeroizing::new(plain[..].try_into().map_err(|_| KeystoreError::Tampered { what: "seed length" })?);
    let seed = Seed::from_bytes(*bytes);
    if *SigningKey::from_seed(&seed)?.public() != decoded.public {
        return Err(KeystoreError::Tampered { what: "public key" });
    }
    Ok(seed)
}

impl KeystoreFile {
    /// The role that the key was made for, as the header says. Authenticated only by [`open`].
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The public key, as the header says. Authenticated only by [`open`].
    ///
    /// # Errors
    /// [`KeystoreError::Malformed`] when it is no public key.
    pub fn public_key(&self) -> Result<crate::PublicKey, KeystoreError> {
        let bytes = hex::decode(&self.public_key)
            .map_err(|error| KeystoreError::Malformed { reason: format!("public_key: {error}") })?;
        crate::PublicKey::from_bytes(&bytes).map_err(|error| KeystoreError::Malformed { reason: error.to_string() })
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`KeystoreError::Version`] for a version that is not known, [`KeystoreError::Malformed`] for
    /// anything else that is not a keystore file.
    pub fn from_json(text: &[u8]) -> Result<Self, KeystoreError> {
        // The version decides which fields there are, so it is read first and alone.
        #[derive(Deserialize)]
        struct VersionOnly {
            version: u64,
        }
        let malformed = |error: serde_json::Error| KeystoreError::Malformed { reason: error.to_string() };
        let VersionOnly { version } = serde_json::from_slice(text).map_err(malformed)?;
        if version != u64::from(KEYSTORE_VERSION) {
            return Err(KeystoreError::Version { found: version });
        }
        let file: Self = serde_json::from_slice(text).map_err(malformed)?;
        file.decode()?;
        Ok(file)
    }

    /// The JSON form, indented, with a line feed at the end.
    ///
    /// # Errors
    /// [`KeystoreError::Malformed`] when serialising fails, which it does for no file of this type.
    pub fn to_json(&self) -> Result<String, KeystoreError> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| KeystoreError::Malformed { reason: error.to_string() })?;
        text.push('\n');
        Ok(text)
    }

    /// The authenticated header: a domain and each field behind its length.
    fn header(&self) -> Vec<u8> {
        let mut bytes = HEADER_DOMAIN.to_vec();
        let version = self.version.to_le_bytes();
        let memory_kib = self.kdf.memory_kib.to_le_bytes();
        let passes = self.kdf.passes.to_le_bytes();
        let lanes = self.kdf.lanes.to_le_bytes();
        let fields: [&[u8]; 10] = [
            &version,
            self.role.as_bytes(),
            self.algorithm.as_bytes(),
            self.public_key.as_bytes(),
            self.kdf.name.as_bytes(),
            &memory_kib,
            &passes,
            &lanes,
            self.kdf.salt.as_bytes(),
            self.cipher.name.as_bytes(),
        ];
        for field in fields {
            push_field(&mut bytes, field);
        }
        bytes
    }

    fn compute_checksum(&self) -> [u8; 32] {
        let mut bytes = self.header();
        for field in [&self.cipher.nonce, &self.cipher.ciphertext, &self.check] {
            push_field(&mut bytes, field.as_bytes());
        }
        crate::blake2b_256_of(&[CHECKSUM_DOMAIN, &bytes])
    }

    fn decode(&self) -> Result<Decoded, KeystoreError> {
        if self.version != KEYSTORE_VERSION {
            return Err(KeystoreError::Version { found: u64::from(self.version) });
        }
        check_role(&self.role)?;
        for (field, found, expected) in [
            ("algorithm", &self.algorithm, ALGORITHM),
            ("kdf.name", &self.kdf.name, KDF),
            ("cipher.name", &self.cipher.name, CIPHER),
        ] {
            if found != expected {
                return Err(KeystoreError::Malformed {
                    reason: format!("{field} is {found:?}, expected {expected:?}"),
                });
            }
        }
        Ok(Decoded {
            public: self.public_key()?,
            params: KdfParams::new(self.kdf.memory_kib, self.kdf.passes, self.kdf.lanes)?,
            salt: decode_hex("kdf.salt", &self.kdf.salt)?,
            nonce: decode_hex("cipher.nonce", &self.cipher.nonce)?,
            ciphertext: decode_hex("cipher.ciphertext", &self.cipher.ciphertext)?,
            check: decode_hex("check", &self.check)?,
        })
    }
}

/// Appends a field behind its length as 8 little-endian bytes.
fn push_field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
    bytes.extend_from_slice(field);
}

fn decode_hex<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|error| KeystoreError::Malformed { reason: format!("{field}: {error}") })?;
    Ok(bytes)
}

fn check_role(role: &str) -> Result<(), KeystoreError> {
    let letters = role.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if role.is_empty() || role.len() > KEYSTORE_ROLE_BYTES_MAX || !letters {
        // The name may come from a foreign file: only its beginning goes into messages.
        return Err(KeystoreError::Role { role: role.chars().take(KEYSTORE_ROLE_BYTES_MAX).collect() });
    }
    Ok(())
}

fn derive(password: &Password, params: &KdfParams, salt: &[u8; SALT_BYTES]) -> Result<Derived, KeystoreError> {
    let argon2_params = argon2::Params::new(params.memory_kib, params.passes, params.lanes, Some(64))
        .map_err(|_| KeystoreError::Cipher)?;
    let mut blocks = Vec::new();
    // A machine without this much memory gets an error instead of an abort.
    blocks.try_reserve_exact(argon2_params.block_count()).map_err(|_| KeystoreError::Cipher)?;
    blocks.resize(argon2_params.block_count(), argon2::Block::default());
    let mut blocks = Zeroizing::new(blocks);
    let mut output = Zeroizing::new([0; 64]);
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, argon2_params)
        .hash_password_into_with_memory(&password.0, salt, &mut output[..], &mut blocks[..])
        .map_err(|_| KeystoreError::Cipher)?;
    let (cipher_key, check_secret) = output.split_at(32);
    Ok(Derived {
        cipher_key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, cipher_key).map_err(|_| KeystoreError::Cipher)?),
        check: crate::blake2b_256_of(&[CHECK_DOMAIN, check_secret]),
    })
}
