//! Questions to the node's own RPC namespaces and to the state, with typed answers.

use codec::DecodeAll as _;
use futures::Stream;
use scale_value::{Composite, Primitive, Value, ValueDef};
use serde::{Deserialize, Serialize};
use x0_crypto::PublicKey;
use x0_rpc_types::{
    Amount, Number,
    chain::{History, HistoryCursor},
    did::{DidResolution, Identity, Multikey},
    governance::{Cost, Credits, Delegation, Owner, Proposal, Simulation, TallyPoint, Track},
    market::{Capacity, Deal, DealFilter, DealMeter, Listing, ListingFilter, MeasurementStatus, PAGE_MAX, Solvency},
    notices::{NoticeFilter, Notices},
    offers::{CloseReason, Quote, RefundProof, Request as AskedRequest, Search, SearchPage},
    trust::{Auditor, Explanation},
    validators::ValidatorsStatus,
};
use x0_types::{AccountId, Hash, KeyRole, Nonce, deal::DealTerms, governance::TrackId};

use crate::{
    Client, ClientError,
    client::params,
    text::{hex_text, parse_hex},
};

/// A part of a balance that is not free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who holds it and why, for example `Escrow.DealEscrow`.
    pub reason: String,
    /// Base units.
    pub amount: Amount,
}

/// An account's money and counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountInfo {
    /// The account.
    pub account: AccountId,
    /// Transactions that are final.
    pub nonce: Nonce,
    /// Free balance, base units.
    pub free: Amount,
    /// Held balance, base units: the sum of the holds.
    pub held: Amount,
    /// The holds, by reason.
    pub holds: Vec<Hold>,
}

impl Client {
    /// The money of an account; zero for one that does not exist.
    ///
    /// # Errors
    /// [`ClientError::Decode`] when the state has another shape, and those of [`Client::storage`].
    pub async fn account(&self, account: &AccountId) -> Result<AccountInfo, ClientError> {
        use scale_value::At;
        let key = || vec![Value::from_bytes(account)];
        let state = self.storage("System", "Account", key()).await?;
        let field = |path: &[&str]| {
            path.iter()
                .fold(state.as_ref(), |value, name| value.and_then(|value| value.at(*name)))
                .and_then(unsigned)
                .unwrap_or(0)
        };
        let holds = match self.storage("Balances", "Holds", key()).await? {
            Some(value) => read_holds(&value)?,
            None => Vec::new(),
        };
        let nonce = Nonce::try_from(field(&["nonce"]))
            .map_err(|error| ClientError::Decode { what: "an account's nonce".into(), reason: error.to_string() })?;
        Ok(AccountInfo {
            account: account.clone(),
            nonce,
            free: Amount(field(&["data", "free"])),
            held: Amount(field(&["data", "reserved"])),
            holds,
        })
    }

    /// An identity; `None` when the chain has none for this subject.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn identity(&self, subject: &AccountId) -> Result<Option<Identity>, ClientError> {
        self.identity_at(subject, None).await
    }

    /// An identity as of a block; `None` when the chain had none for this subject.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn identity_at(&self, subject: &AccountId, at: Option<Hash>) -> Result<Option<Identity>, ClientError> {
        absent(self.call("did_identity", params![subject, at]).await)
    }

    /// When slot 0 began and how long a slot is, both in milliseconds. Read by their raw keys, so that an
    /// agent, which is to stay small, never loads the chain's whole description.
    ///
    /// # Errors
    /// [`ClientError::Metadata`] when this chain does not measure, and those of [`Client::request`].
    pub async fn slot_times_ms(&self) -> Result<(u64, u64), ClientError> {
        Ok((self.measurement_time_ms("GenesisTimeMs").await?, self.measurement_time_ms("SlotMs").await?))
    }

    async fn measurement_time_ms(&self, entry: &str) -> Result<u64, ClientError> {
        let wrong =
            |reason: &str| ClientError::Metadata { what: format!("Measurement.{entry}"), reason: reason.to_owned() };
        let key = subxt::ext::frame_decode::storage::encode_storage_key_prefix("Measurement", entry);
        let stored: Option<String> = self.call("state_getStorage", params![hex_text(key)]).await?;
        let bytes = parse_hex("a time", &stored.ok_or_else(|| wrong("there is no value"))?)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| wrong("it is not a time"))
    }

    /// A DID's document with its metadata.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn resolve(&self, did: &str) -> Result<DidResolution, ClientError> {
        self.call("did_resolve", params![did]).await
    }

    /// The key that the chain names for an account; `None` when the account's own first key counts.
    ///
    /// # Errors
    /// [`ClientError::Decode`] when the key does not read, and those of [`Client::request`].
    pub async fn account_key(&self, account: &AccountId) -> Result<Option<PublicKey>, ClientError> {
        let Some(identity) = self.identity(account).await? else { return Ok(None) };
        let unreadable = |reason: String| ClientError::Decode { what: "the account's key on chain".into(), reason };
        let Some(key) = identity.keys.iter().find(|key| key.role == KeyRole::Account) else { return Ok(None) };
        match Multikey::from_text(&key.public_key_multibase) {
            Ok(Multikey::MlDsa65(bytes)) => Ok(Some(PublicKey::from(bytes))),
            Ok(Multikey::MlKem768(_)) => Err(unreadable("it is an ML-KEM key".into())),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// The account for which the chain takes signatures of a key now, if it names one: another than the
    /// key's own after a rotation.
    ///
    /// # Errors
    /// Those of [`Client::account_key`].
    pub async fn signs_for(&self, key: &PublicKey) -> Result<Option<AccountId>, ClientError> {
        #[derive(Deserialize)]
        struct Owner {
            subject: AccountId,
            role: KeyRole,
        }
        let owner: Option<Owner> = self.call("did_keyOwner", params![Hash::from(key.fingerprint())]).await?;
        let Some(owner) = owner.filter(|owner| owner.role == KeyRole::Account) else { return Ok(None) };
        // A key that was replaced since stays known, and signs for nobody.
        let current = self.account_key(&owner.subject).await?;
        Ok(current.filter(|current| current == key).map(|_| owner.subject))
    }

    /// The validators, and what they decide together.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn validators(&self) -> Result<ValidatorsStatus, ClientError> {
        self.call("validators_status", params![]).await
    }

    /// Listings that match, in the order of their numbers, all pages.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn listings(&self, filter: &ListingFilter) -> Result<Vec<Listing>, ClientError> {
        let mut filter = filter.clone();
        let mut all = Vec::new();
        loop {
            let page: Vec<Listing> = self.call("market_listings", params![filter]).await?;
            let full = page.len() >= page_length(filter.limit);
            filter.after = page.last().map(|listing| listing.id);
            all.extend(page);
            if !full || filter.limit.is_some() {
                return Ok(all);
            }
        }
    }

    /// One listing.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and those of [`Client::request`].
    pub async fn listing(&self, listing: u64) -> Result<Listing, ClientError> {
        absent(self.call("market_listing", params![Number(listing)]).await)?
            .ok_or_else(|| ClientError::NotFound { what: format!("listing {listing}") })
    }

    /// The smallest deposit of a deal, base units.
    ///
    /// # Errors
    /// [`ClientError::Metadata`] when this chain has no market.
    pub async fn deal_deposit_min(&self) -> Result<u128, ClientError> {
        let (pallet, name) = ("Marketplace", "DealDepositMin");
        unsigned(&self.constant(pallet, name).await?).ok_or_else(|| ClientError::Metadata {
            what: format!("{pallet}.{name}"),
            reason: "it is not a number".into(),
        })
    }

    /// Deals that match, in the order of their numbers, all pages, now.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn deals(&self, filter: &DealFilter) -> Result<Vec<Deal>, ClientError> {
        self.deals_at(filter, None).await
    }

    /// Deals that match, in the order of their numbers, all pages, as of a block.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn deals_at(&self, filter: &DealFilter, at: Option<Hash>) -> Result<Vec<Deal>, ClientError> {
        let mut filter = filter.clone();
        let mut all = Vec::new();
        loop {
            let page: Vec<Deal> = self.call("market_deals", params![filter, at]).await?;
            let full = page.len() >= page_length(filter.limit);
            filter.after = page.last().map(|deal| deal.id);
            all.extend(page);
            if !full || filter.limit.is_some() {
                return Ok(all);
            }
        }
    }

    /// One deal.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and those of [`Client::request`].
    pub async fn deal(&self, deal: u64) -> Result<Deal, ClientError> {
        absent(self.call("market_deal", params![Number(deal)]).await)?
            .ok_or_else(|| ClientError::NotFound { what: format!("deal {deal}") })
    }

    /// What a deal has accrued; `None` before its confirmation.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn deal_meter(&self, deal: u64) -> Result<Option<DealMeter>, ClientError> {
        absent(self.call("market_dealMeter", params![Number(deal)]).await)
    }

    /// Follows what happens in the market from now on, block by block. Ends when the line breaks.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn notices(
        &self,
        filter: &NoticeFilter,
    ) -> Result<impl Stream<Item = Result<Notices, ClientError>> + Send + Unpin + use<>, ClientError> {
        self.subscribe("market_subscribe", params![filter], "market_unsubscribe").await
    }

    /// Listings that match, one page.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn search(&self, search: &Search) -> Result<SearchPage, ClientError> {
        self.call("market_search", params![search]).await
    }

    /// What a part of a listing costs now.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and those of [`Client::request`].
    pub async fn quote(
        &self,
        listing: u64,
        capacity: &Capacity,
        term_slots: Option<u64>,
    ) -> Result<Quote, ClientError> {
        let term = term_slots.map(Number);
        absent(self.call("market_quote", params![Number(listing), capacity, term]).await)?
            .ok_or_else(|| ClientError::NotFound { what: format!("such a capacity of listing {listing}") })
    }

    /// Requests that wait for bids or for the renter's choice, one page.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn requests(&self) -> Result<Vec<AskedRequest>, ClientError> {
        self.call("market_requests", params![]).await
    }

    /// All reasons for which a deal ends.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn close_reasons(&self) -> Result<Vec<CloseReason>, ClientError> {
        self.call("market_closeReasons", params![]).await
    }

    /// The record of an ended deal, with its proof.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and those of [`Client::request`].
    pub async fn refund_proof(&self, deal: u64, at: Option<Hash>) -> Result<RefundProof, ClientError> {
        absent(self.call("market_refundProof", params![Number(deal), at]).await)?
            .ok_or_else(|| ClientError::NotFound { what: format!("the record of deal {deal}") })
    }

    /// Whether the market holds what it owes.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn solvency(&self) -> Result<Solvency, ClientError> {
        self.call("market_solvency", params![]).await
    }

    /// Slots and measured nodes.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn measurement(&self) -> Result<MeasurementStatus, ClientError> {
        self.call("measurement_status", params![]).await
    }

    /// An account's transactions, newest first.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn history(
        &self,
        account: &AccountId,
        before: Option<HistoryCursor>,
        limit: u32,
    ) -> Result<History, ClientError> {
        self.call("account_history", params![account, before, limit]).await
    }

    /// The owner of an account; `None` for an account that nobody has registered.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn owner(&self, account: &AccountId) -> Result<Option<Owner>, ClientError> {
        absent(self.call("gov_owner", params![account]).await)
    }

    /// The credits of an account's owner in this epoch.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] for an account without an owner, and those of [`Client::request`].
    pub async fn credits(&self, account: &AccountId) -> Result<Credits, ClientError> {
        absent(self.call("gov_credits", params![account]).await)?.ok_or_else(|| no_owner(account))
    }

    /// What votes on a proposal would cost an account's owner.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and those of [`Client::request`].
    pub async fn vote_cost(&self, account: &AccountId, proposal: u32, votes: i8) -> Result<Cost, ClientError> {
        absent(self.call("gov_costPreview", params![account, proposal, votes]).await)?
            .ok_or_else(|| ClientError::NotFound { what: format!("proposal {proposal}, or an owner of this account") })
    }

    /// Proposals from a number on, one page.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn proposals(&self, from: u32) -> Result<Vec<Proposal>, ClientError> {
        self.call("gov_proposals", params![from]).await
    }

    /// One proposal.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and those of [`Client::request`].
    pub async fn proposal(&self, proposal: u32) -> Result<Proposal, ClientError> {
        absent(self.call("gov_proposal", params![proposal]).await)?
            .ok_or_else(|| ClientError::NotFound { what: format!("proposal {proposal}") })
    }

    /// The course of a ballot.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and those of [`Client::request`].
    pub async fn tally_timeline(&self, proposal: u32, round: u8) -> Result<Vec<TallyPoint>, ClientError> {
        absent(self.call("gov_tallyTimeline", params![proposal, round]).await)?
            .ok_or_else(|| ClientError::NotFound { what: format!("proposal {proposal}") })
    }

    /// The delegations of an account's owner.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] for an account without an owner, and those of [`Client::request`].
    pub async fn delegations(&self, account: &AccountId) -> Result<Vec<Delegation>, ClientError> {
        absent(self.call("gov_delegations", params![account]).await)?.ok_or_else(|| no_owner(account))
    }

    /// The rules of all tracks.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn tracks(&self) -> Result<Vec<Track>, ClientError> {
        self.call("gov_tracks", params![]).await
    }

    /// What a call would do by a track's origin.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn simulate(&self, track: TrackId, call: &[u8]) -> Result<Simulation, ClientError> {
        self.call("gov_simulate", params![track, hex_text(call)]).await
    }

    /// Why a node has its trust score; `None` for one of which nothing is known.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn explain_trust(&self, node: &AccountId) -> Result<Option<Explanation>, ClientError> {
        absent(self.call("trust_explain", params![node]).await)
    }

    /// All auditors.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn auditors(&self) -> Result<Vec<Auditor>, ClientError> {
        self.call("trust_auditors", params![]).await
    }

    /// The parameters of future deals.
    ///
    /// # Errors
    /// [`ClientError::Decode`] when they do not read, and those of [`Client::request`].
    pub async fn deal_terms(&self) -> Result<DealTerms, ClientError> {
        let key = subxt::ext::frame_decode::storage::encode_storage_key_prefix("Marketplace", "Parameters");
        let stored: Option<String> = self.call("state_getStorage", params![hex_text(key)]).await?;
        let unreadable = |reason: String| ClientError::Decode { what: "the market's parameters".into(), reason };
        let Some(stored) = stored else { return Ok(DealTerms::default()) };
        let bytes = parse_hex("the market's parameters", &stored)?;
        DealTerms::decode_all(&mut bytes.as_slice()).map_err(|error| unreadable(error.to_string()))
    }
}

fn no_owner(account: &AccountId) -> ClientError {
    ClientError::NotFound { what: format!("owner of account {}", crate::text::account_text(account)) }
}

/// How many elements a full page has.
fn page_length(limit: Option<u32>) -> usize {
    usize::try_from(limit.unwrap_or(PAGE_MAX)).unwrap_or(usize::MAX)
}

/// Reads "not found" as an answer.
fn absent<T>(answer: Result<Option<T>, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(ClientError::Rpc { code: x0_rpc_types::error::NOT_FOUND, .. }) => Ok(None),
        other => other,
    }
}

/// An unsigned number, or one inside a wrapper.
fn unsigned(value: &Value<()>) -> Option<u128> {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => Some(*number),
        ValueDef::Composite(Composite::Unnamed(values)) => match values.as_slice() {
            [only] => unsigned(only),
            _ => None,
        },
        _ => None,
    }
}

/// Reads the list of holds of an account.
fn read_holds(value: &Value<()>) -> Result<Vec<Hold>, ClientError> {
    use scale_value::At;
    let wrong =
        || ClientError::Decode { what: "an account's holds".into(), reason: "another shape than expected".into() };
    let ValueDef::Composite(list) = &value.value else { return Err(wrong()) };
    // A bounded list is a wrapper around the list; a list of holds has named fields inside.
    let elements: Vec<&Value<()>> = match list.values().next() {
        Some(first) if list.len() == 1 && first.at("amount").is_none() => {
            let ValueDef::Composite(inner) = &first.value else { return Err(wrong()) };
            inner.values().collect()
        }
        _ => list.values().collect(),
    };
    elements
        .into_iter()
        .map(|hold| {
            let amount = hold.at("amount").and_then(unsigned).ok_or_else(wrong)?;
            let reason = hold.at("id").and_then(hold_reason).ok_or_else(wrong)?;
            Ok(Hold { reason, amount: Amount(amount) })
        })
        .collect()
}

/// The name of a hold's reason: `Pallet.Reason`.
fn hold_reason(value: &Value<()>) -> Option<String> {
    let ValueDef::Variant(pallet) = &value.value else { return None };
    let inner = pallet.values.values().next().and_then(|inner| match &inner.value {
        ValueDef::Variant(reason) => Some(reason.name.clone()),
        _ => None,
    });
    Some(inner.map_or_else(|| pallet.name.clone(), |reason| format!("{}.{reason}", pallet.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(pallet: &str, reason: &str, amount: u128) -> Value<()> {
        Value::named_composite([
            ("id", Value::unnamed_variant(pallet, [Value::unnamed_variant(reason, [])])),
            ("amount", Value::u128(amount)),
        ])
    }

    #[test]
    fn holds_read_with_and_without_the_wrapper_of_a_bounded_list() {
        let expected = vec![Hold { reason: "Escrow.DealEscrow".into(), amount: Amount(7) }];
        let list = Value::unnamed_composite([hold("Escrow", "DealEscrow", 7)]);
        assert_eq!(read_holds(&list).unwrap(), expected);
        assert_eq!(read_holds(&Value::unnamed_composite([list])).unwrap(), expected);
        assert_eq!(read_holds(&Value::unnamed_composite([])).unwrap(), vec![]);
        let two = Value::unnamed_composite([hold("Did", "Key", 1), hold("Escrow", "DealBond", 2)]);
        assert_eq!(read_holds(&Value::unnamed_composite([two])).unwrap().len(), 2);
        assert_eq!(read_holds(&Value::unnamed_composite([Value::unnamed_composite([])])).unwrap(), vec![]);
    }

    #[test]
    fn another_shape_is_an_error_not_an_empty_list() {
        assert!(read_holds(&Value::u128(1)).is_err());
        assert!(read_holds(&Value::unnamed_composite([Value::unnamed_composite([Value::u128(1)])])).is_err());
    }
}
