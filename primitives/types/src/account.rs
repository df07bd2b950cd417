//! Accounts, amounts and the token's units.

/// An account: BLAKE2b-256 of `x0/account/v1` and the first ML-DSA-65 public key of its owner.
pub type AccountId = sp_runtime::AccountId32;
/// An amount of base units; [`UNIT`] of them are one X0T.
pub type Balance = u128;
/// A block's height.
pub type BlockNumber = u32;
/// A count of an account's transactions.
pub type Nonce = u32;
/// A 32-byte hash (BLAKE2b-256 on this chain).
pub type Hash = sp_core::H256;
/// Milliseconds since the Unix epoch.
pub type Moment = u64;

/// Domain prefix of account ids.
pub const ACCOUNT_DOMAIN: &[u8] = b"x0/account/v1";
/// Decimals of the token.
pub const DECIMALS: u32 = 12;
/// Base units in one X0T.
pub const UNIT: Balance = 1_000_000_000_000;
/// Base units in one thousandth of an X0T.
pub const MILLI: Balance = UNIT / 1_000;
/// The token's symbol.
pub const SYMBOL: &str = "X0T";
/// SS58 prefix of development networks.
pub const SS58_PREFIX: u16 = 42;

/// Engine id under which a header names its proposer, by the account that answers for the validator.
/// It is the one whose bytes explorers show as a block's author.
pub const PROPOSER_ENGINE_ID: [u8; 4] = *b"pow_";

/// The account id that belongs to an ML-DSA-65 public key.
#[must_use]
pub fn account_id(public: &[u8; crate::key::PUBLIC_KEY_BYTES]) -> AccountId {
    let mut preimage = Vec::with_capacity(ACCOUNT_DOMAIN.len() + public.len());
    preimage.extend_from_slice(ACCOUNT_DOMAIN);
    preimage.extend_from_slice(public);
    AccountId::new(sp_io::hashing::blake2_256(&preimage))
}
