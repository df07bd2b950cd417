//! Why the chain refused a call, in words, with the bounds that the call broke.
//!
//! The name of an error is for programs; its words come from the chain's own description of its errors,
//! and the bounds from the chain's constants, so that they are those of the chain asked.

use subxt::{ArcMetadata, error::DispatchError};
use x0_limits::{DEAL_TERM_SLOTS_MAX, DEAL_TERM_SLOTS_MIN, DEALS_PER_NODE_MAX, LISTINGS_PER_PROVIDER_MAX};

use crate::{amount::format_amount, text::hex_text};

/// An error of the chain: its name, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `Pallet.Error`, or the name of a general error, as the node's own RPC writes it.
    pub(crate) name: String,
    /// A sentence without its full stop; empty when there is none.
    pub(crate) words: String,
}

/// Reads an encoded dispatch error.
pub(crate) fn read(bytes: &[u8], metadata: &ArcMetadata) -> Refusal {
    let general = |name: String, words: &str| Refusal { name, words: words.to_owned() };
    match DispatchError::decode_from(bytes, metadata.clone()) {
        Ok(DispatchError::Module(module)) => {
            let name = module.details_string().replace("::", ".");
            let words = module.details().map(|details| {
                let docs = sentence(&details.variant.docs);
                let constant = |name: &str| details.pallet.constant_by_name(name).map(|constant| constant.value());
                match bounds(&name, constant) {
                    Some(bounds) => format!("{docs} ({bounds})"),
                    None => docs,
                }
            });
            Refusal { name, words: words.unwrap_or_default() }
        }
        Ok(DispatchError::Token(token)) => {
            let word = format!("{token:?}");
            let words = token_words(&word);
            general(format!("Token.{word}"), words)
        }
        Ok(DispatchError::Arithmetic(arithmetic)) => general(
            format!("Arithmetic.{arithmetic:?}"),
            "the amounts do not add up, for example because the account has less than that",
        ),
        Ok(DispatchError::Transactional(transactional)) => general(format!("Transactional.{transactional:?}"), ""),
        Ok(DispatchError::BadOrigin) => general("BadOrigin".to_owned(), "this account may not make this call"),
        Ok(other) => general(format!("{other:?}"), ""),
        Err(error) => general(format!("an error that does not decode ({error}): {}", hex_text(bytes)), ""),
    }
}

/// The first paragraph of a documentation comment as one sentence without its full stop.
fn sentence(docs: &[String]) -> String {
    let lines = docs.iter().map(|line| line.trim()).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// The bounds that an error is about.
fn bounds<'a>(name: &str, constant: impl Fn(&str) -> Option<&'a [u8]>) -> Option<String> {
    let amount = |name: &str| {
        let bytes: [u8; 16] = constant(name)?.try_into().ok()?;
        Some(format_amount(u128::from_le_bytes(bytes)))
    };
    match name {
        "Marketplace.DepositTooSmall" => amount("DealDepositMin").map(|least| format!("the smallest is {least}")),
        "Marketplace.BondTooSmall" => amount("BondMin").map(|least| format!("the smallest is {least}")),
        "Marketplace.ListingDepositNotCovered" => amount("ListingDeposit").map(|held| format!("{held} are held")),
        "Marketplace.InvalidTerm" => Some(format!("terms have {DEAL_TERM_SLOTS_MIN} to {DEAL_TERM_SLOTS_MAX} slots")),
        "Marketplace.TooManyListings" => Some(format!("at most {LISTINGS_PER_PROVIDER_MAX}")),
        "Marketplace.TooManyDeals" => Some(format!("at most {DEALS_PER_NODE_MAX}")),
        "Balances.ExistentialDeposit" => amount("ExistentialDeposit").map(|least| format!("the least is {least}")),
        _ => None,
    }
}

/// What the general errors about money mean.
fn token_words(word: &str) -> &'static str {
    match word {
        "FundsUnavailable" => "the account has less free money than that",
        "OnlyProvider" | "NotExpendable" => "the account has to keep what holds it alive",
        "BelowMinimum" | "CannotCreate" => "an account cannot begin with so little",
        "Frozen" => "the money is frozen",
        "CannotCreateHold" => "the money cannot be held",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_chain() {
        let constant = |name: &str| {
            (name == "BondMin").then_some(&[0u8, 0x10, 0xa5, 0xd4, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..])
        };
        assert_eq!(bounds("Marketplace.BondTooSmall", constant).as_deref(), Some("the smallest is 1 X0T"));
        assert_eq!(bounds("Marketplace.DepositTooSmall", constant), None, "a chain without this constant");
        assert_eq!(bounds("Did.KeyUsed", constant), None);
    }

    #[test]
    fn a_sentence_is_the_first_paragraph() {
        let docs = [" The bond is", " below the smallest.", "", " More."].map(str::to_owned);
        assert_eq!(sentence(&docs), "The bond is below the smallest");
        assert_eq!(sentence(&[]), "");
    }
}
