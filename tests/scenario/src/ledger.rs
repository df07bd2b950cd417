//! The ledger as raw storage says: balances, holds and issuance, decoded independently.
//!
//! Storage keys and layouts are restated from the formats of System and Balances, so that an error
//! in the product's own reading cannot hide here.

use crate::rpc::Rpc;
use anyhow::{Context, Result, bail};
use codec::Decode;
use sp_io::hashing::{blake2_128, twox_128};
use std::{collections::BTreeMap, fmt::Write as _};
use x0_types::AccountId;

/// Balances of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Freely disposable.
    pub free: u128,
    /// Held: deposits, escrow, bonds.
    pub held: u128,
}

impl Amounts {
    /// Everything that the account owns.
    #[must_use]
    pub const fn total(&self) -> u128 {
        self.free + self.held
    }
}

/// `AccountInfo<u32, AccountData<u128>>` of System.
#[derive(Decode)]
struct AccountInfo {
    _nonce: u32,
    _consumers: u32,
    _providers: u32,
    _sufficients: u32,
    free: u128,
    reserved: u128,
    _frozen: u128,
    _flags: u128,
}

/// The whole ledger at one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Height of the block.
    pub number: u32,
    /// Every account of the chain.
    pub accounts: BTreeMap<AccountId, Amounts>,
    /// Total issuance as Balances records it.
    pub issuance: u128,
}

/// First part of the storage keys of a pallet's item.
pub(crate) fn prefix(pallet: &str, item: &str) -> Vec<u8> {
    [twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat()
}

/// Storage key of an account's record in System.
#[must_use]
pub fn account_key(account: &AccountId) -> Vec<u8> {
    let bytes: &[u8] = account.as_ref();
    [prefix("System", "Account").as_slice(), &blake2_128(bytes), bytes].concat()
}

impl Ledger {
    /// Reads every account at the finalised block.
    pub async fn read(rpc: &Rpc) -> Result<Self> {
        let (hash, number) = rpc.finalised().await?;
        let issuance = rpc.storage(&prefix("Balances", "TotalIssuance"), Some(&hash)).await?.context("issuance")?;
        let prefix = prefix("System", "Account");
        let mut accounts = BTreeMap::new();
        let mut start: Option<String> = None;
        loop {
            let page: Vec<String> = rpc
                .call(
                    "state_getKeysPaged",
                    &[
                        format!("0x{}", hex::encode(&prefix)).into(),
                        500.into(),
                        start.clone().into(),
                        hash.clone().into(),
                    ],
                )
                .await?;
            for key in &page {
                let key = hex::decode(key.trim_start_matches("0x"))?;
                let id: [u8; 32] = key.get(prefix.len() + 16..).context("an account key ends in the id")?.try_into()?;
                let value = rpc.storage(&key, Some(&hash)).await?.context("a listed key has a value")?;
                let info = AccountInfo::decode(&mut &value[..])?;
                accounts.insert(AccountId::new(id), Amounts { free: info.free, held: info.reserved });
            }
            match page.last() {
                Some(last) if page.len() == 500 => start = Some(last.clone()),
                _ => break,
            }
        }
        Ok(Self { number, accounts, issuance: u128::decode(&mut &issuance[..])? })
    }

    /// Balances of one account; zero for an unknown one.
    #[must_use]
    pub fn of(&self, account: &AccountId) -> Amounts {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    /// The sum over all accounts is the issuance: nothing was minted or burned.
    pub fn check_issuance(&self) -> Result<()> {
        let sum: u128 = self.accounts.values().map(Amounts::total).sum();
        if sum != self.issuance {
            bail!("accounts hold {sum}, issuance says {}", self.issuance);
        }
        Ok(())
    }

    /// A table of named accounts, to the last base unit.
    #[must_use]
    pub fn table(&self, names: &[(&str, AccountId)]) -> String {
        let mut text = format!("  block {:<6} {:>32} {:>32}\n", self.number, "free", "held");
        for (name, account) in names {
            let amounts = self.of(account);
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "  {name:<12} {:>32} {:>32}", units(amounts.free), units(amounts.held));
        }
        let _infallible = writeln!(text, "  {:<12} {:>32}", "issuance", units(self.issuance));
        text
    }
}

/// An amount in X0T with all twelve decimals, grouped for the eye.
#[must_use]
pub fn units(amount: u128) -> String {
    let whole = (amount / x0_types::account::UNIT).to_string();
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{:012} X0T", amount % x0_types::account::UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_to_the_last_unit() {
        assert_eq!(units(0), "0.000000000000 X0T");
        assert_eq!(units(1_234_567_000_000_000_001), "1 234 567.000000000001 X0T");
    }

    #[test]
    fn a_missing_unit_is_noticed() {
        let account = AccountId::new([1; 32]);
        let mut ledger =
            Ledger { number: 1, accounts: BTreeMap::from([(account, Amounts { free: 7, held: 3 })]), issuance: 10 };
        assert!(ledger.check_issuance().is_ok());
        ledger.issuance = 11;
        assert!(ledger.check_issuance().is_err());
    }
}
