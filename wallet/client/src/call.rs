//! The calls of this chain, by name. Encoding goes through the chain's metadata, and the named calls
//! below also carry the bytes that this program expects: when the two differ, nothing is signed.

pub mod deals;
pub mod governance;
pub mod trust;

use codec::{Compact, Encode};
use scale_value::{Composite, Value};
use subxt::transactions::DynamicPayload;
use x0_crypto::PublicKey;
use x0_types::{
    AccountId, Balance, Hash, KeyProof, KeyRole,
    deal::{Attributes, Capacity, CongestionCurve, Rate, ServiceChecks, SlaTerms},
    market::{DealId, ListingId},
};

use crate::pins::place_of;

/// A call: pallet, name and named arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pallet: String,
    name: String,
    arguments: Vec<(String, Value<()>)>,
    expected: Option<Vec<u8>>,
    /// Whether the bytes stand for the arguments, which are then read from them.
    encoded: bool,
}

impl Call {
    /// Any call by name. Prefer the named constructors where there is one.
    #[must_use]
    pub fn new<'a>(pallet: &str, name: &str, arguments: impl IntoIterator<Item = (&'a str, Value<()>)>) -> Self {
        Self {
            pallet: pallet.to_owned(),
            name: name.to_owned(),
            arguments: arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            expected: None,
            encoded: false,
        }
    }

    /// A call whose place and arguments this program knows: it is encoded here, and read back with the chain's
    /// description before anything is signed. The arguments are SCALE types in the call's order.
    pub(crate) fn encoded(pallet: &str, name: &str, arguments: impl Encode) -> Self {
        Self { encoded: true, ..Self::known(pallet, name, [], arguments) }
    }

    /// The call's bytes, when they stand for the arguments.
    pub(crate) fn as_encoded(&self) -> Option<&[u8]> {
        self.expected.as_deref().filter(|_| self.encoded)
    }

    /// A call whose encoding is known here: the arguments once more, as SCALE types in their order.
    fn known<'a>(
        pallet: &str,
        name: &str,
        arguments: impl IntoIterator<Item = (&'a str, Value<()>)>,
        encoded: impl Encode,
    ) -> Self {
        let expected = place_of(pallet, name).map(|place| {
            let mut bytes = place.to_vec();
            encoded.encode_to(&mut bytes);
            bytes
        });
        Self { expected, ..Self::new(pallet, name, arguments) }
    }

    /// The bytes that this program expects, for calls that it knows.
    pub(crate) fn expected(&self) -> Option<&[u8]> {
        self.expected.as_deref()
    }

    /// Name of the pallet.
    #[must_use]
    pub fn pallet(&self) -> &str {
        &self.pallet
    }

    /// Name of the call.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn payload(&self) -> DynamicPayload<Composite<()>> {
        subxt::transactions::dynamic(self.pallet.clone(), self.name.clone(), Composite::Named(self.arguments.clone()))
    }

    /// This call as an argument of another.
    #[must_use]
    pub fn into_value(self) -> Value<()> {
        self.payload().into_value()
    }
}

/// What a provider offers: the arguments of `Marketplace.list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingTerms {
    /// The mesh node.
    pub node: AccountId,
    /// Price of the whole capacity.
    pub price: Rate,
    /// Whole capacity.
    pub capacity: Capacity,
    /// Region.
    pub region: String,
    /// Shortest term, slots.
    pub term_min_slots: u64,
    /// Longest term, slots.
    pub term_max_slots: u64,
    /// Bond for a deal over the whole capacity, base units.
    pub bond: Balance,
    /// What is promised.
    pub sla: SlaTerms,
}

/// What a renter asks for: the arguments of `Marketplace.rent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RentTerms {
    /// The listing.
    pub listing: ListingId,
    /// Version of its terms that the renter has read.
    pub version: u32,
    /// Capacity wanted.
    pub capacity: Capacity,
    /// Length, slots.
    pub term_slots: u64,
    /// Deposit, base units.
    pub deposit: Balance,
    /// The highest price of a good slot for that capacity.
    pub rate_max: Rate,
    /// The renter's mesh.
    pub mesh: Hash,
    /// The renter's agents.
    pub agents: Vec<AccountId>,
}

/// Variant of an address that holds an account.
const ADDRESS_ID: u8 = 0;

fn account(account: &AccountId) -> Value<()> {
    Value::from_bytes(account)
}

fn address(to: &AccountId) -> Value<()> {
    Value::unnamed_variant("Id", [account(to)])
}

fn number(value: impl Into<u128>) -> Value<()> {
    Value::u128(value.into())
}

fn role(role: KeyRole) -> Value<()> {
    Value::unnamed_variant(format!("{role:?}"), [])
}

fn public(key: &PublicKey) -> Value<()> {
    Value::unnamed_composite([Value::from_bytes(key.as_bytes())])
}

fn proof(proof: &KeyProof) -> Value<()> {
    // The type description splits the signature in three, because polkadot.js reads no array of
    // more than 2,048 elements (x0-types, `MlDsa65Signature`).
    let thirds = proof.signature.0.chunks(x0_types::key::SIGNATURE_BYTES / 3).map(Value::from_bytes);
    Value::named_composite([
        ("expires_at_ms", number(proof.expires_at_ms)),
        ("signature", Value::unnamed_composite([Value::unnamed_composite(thirds)])),
    ])
}

fn capacity(capacity: Capacity) -> Value<()> {
    Value::named_composite([
        ("bandwidth_kbps", number(capacity.bandwidth_kbps)),
        ("sessions", number(capacity.sessions)),
    ])
}

fn rate(rate: Rate) -> Value<()> {
    Value::named_composite([("num", number(rate.num)), ("den", number(rate.den))])
}

fn bytes(text: &str) -> Value<()> {
    Value::from_bytes(text.as_bytes())
}

/// Moves money; refuses to empty the sender below the existential deposit.
#[must_use]
pub fn transfer(to: &AccountId, amount: Balance) -> Call {
    let known = (ADDRESS_ID, to, Compact(amount));
    Call::known("Balances", "transfer_keep_alive", [("dest", address(to)), ("value", number(amount))], known)
}

/// Moves everything that is free and closes the account.
#[must_use]
pub fn transfer_all(to: &AccountId) -> Call {
    let known = (ADDRESS_ID, to, false);
    Call::known("Balances", "transfer_all", [("dest", address(to)), ("keep_alive", Value::bool(false))], known)
}

/// Names the account's own key on chain, so that shorter signatures and rotation become possible.
#[must_use]
pub fn register_account_key(key: &PublicKey, possession: &KeyProof) -> Call {
    let known = (key.as_bytes(), possession);
    Call::known("Did", "register_account_key", [("public", public(key)), ("proof", proof(possession))], known)
}

/// Replaces the account's own key; the account stays.
#[must_use]
pub fn rotate_account_key(key: &PublicKey, possession: &KeyProof) -> Call {
    let known = (key.as_bytes(), possession);
    Call::known("Did", "rotate_account_key", [("public", public(key)), ("proof", proof(possession))], known)
}

/// Registers a mesh agent under the caller's control.
#[must_use]
pub fn register_agent(key: &PublicKey, possession: &KeyProof, endpoint: &str) -> Call {
    Call::known(
        "Did",
        "register_agent",
        [("public", public(key)), ("proof", proof(possession)), ("endpoint", bytes(endpoint))],
        (key.as_bytes(), possession, endpoint.as_bytes()),
    )
}

/// Registers a further key of the caller in a role.
#[must_use]
pub fn add_key(key_role: KeyRole, key: &PublicKey, possession: &KeyProof) -> Call {
    let known = (key_role, key.as_bytes(), possession);
    let arguments = [("role", role(key_role)), ("public", public(key)), ("proof", proof(possession))];
    Call::known("Did", "add_key", arguments, known)
}

/// Replaces a key of a subject in a role.
#[must_use]
pub fn rotate_key(subject: &AccountId, key_role: KeyRole, key: &PublicKey, possession: &KeyProof) -> Call {
    Call::known(
        "Did",
        "rotate_key",
        [
            ("subject", account(subject)),
            ("role", role(key_role)),
            ("public", public(key)),
            ("proof", proof(possession)),
        ],
        (subject, key_role, key.as_bytes(), possession),
    )
}

/// Ends a key of a subject.
#[must_use]
pub fn revoke_key(subject: &AccountId, key_role: KeyRole) -> Call {
    Call::known("Did", "revoke_key", [("subject", account(subject)), ("role", role(key_role))], (subject, key_role))
}

/// Says where a subject's agent listens.
#[must_use]
pub fn set_endpoint(subject: &AccountId, endpoint: &str) -> Call {
    let known = (subject, endpoint.as_bytes());
    Call::known("Did", "set_endpoint", [("subject", account(subject)), ("endpoint", bytes(endpoint))], known)
}

/// Ends an identity for good.
#[must_use]
pub fn revoke(subject: &AccountId) -> Call {
    Call::known("Did", "revoke", [("subject", account(subject))], subject)
}

/// Bytes that are encoded already.
struct Encoded<'a>(&'a [u8]);

impl Encode for Encoded<'_> {
    fn encode_to<T: codec::Output + ?Sized>(&self, out: &mut T) {
        out.write(self.0);
    }
}

/// Approves a call that validators make together: opens the proposal when its number is the next one.
#[must_use]
pub fn approve(proposal: u32, inner: Call) -> Call {
    match inner.expected.clone() {
        Some(bytes) => approve_encoded(proposal, inner.into_value(), &bytes),
        None => Call::new("Validators", "approve", [("number", number(proposal)), ("call", inner.into_value())]),
    }
}

/// Approves an open proposal by the call that the chain keeps for it.
#[must_use]
pub fn approve_encoded(proposal: u32, inner: Value<()>, bytes: &[u8]) -> Call {
    let arguments = [("number", number(proposal)), ("call", inner)];
    Call::known("Validators", "approve", arguments, (proposal, Encoded(bytes)))
}

/// Takes an approval back.
#[must_use]
pub fn withdraw_approval(proposal: u32) -> Call {
    Call::known("Validators", "withdraw_approval", [("number", number(proposal))], proposal)
}

/// Leaves the set of validators.
#[must_use]
pub fn leave() -> Call {
    Call::known("Validators", "leave", [], ())
}

/// Votes with the consensus key that the identity names now.
#[must_use]
pub fn refresh_consensus_key() -> Call {
    Call::known("Validators", "refresh_consensus_key", [], ())
}

/// A call about one validator or candidate.
fn about(name: &str, controller: &AccountId) -> Call {
    Call::known("Validators", name, [("controller", account(controller))], controller)
}

/// Admits a node to the validators' links.
#[must_use]
pub fn admit_candidate(controller: &AccountId) -> Call {
    about("admit_candidate", controller)
}

/// Ends the admission of a candidate.
#[must_use]
pub fn dismiss_candidate(controller: &AccountId) -> Call {
    about("dismiss_candidate", controller)
}

/// Removes a validator.
#[must_use]
pub fn remove_validator(controller: &AccountId) -> Call {
    about("remove_validator", controller)
}

/// Lets a barred validator be added again.
#[must_use]
pub fn readmit(controller: &AccountId) -> Call {
    about("readmit", controller)
}

/// A call about a validator's power.
fn about_power(name: &str, controller: &AccountId, power: u64) -> Call {
    let arguments = [("controller", account(controller)), ("power", number(power))];
    Call::known("Validators", name, arguments, (controller, power))
}

/// Adds a validator.
#[must_use]
pub fn add_validator(controller: &AccountId, power: u64) -> Call {
    about_power("add_validator", controller, power)
}

/// Gives a validator another power.
#[must_use]
pub fn set_power(controller: &AccountId, power: u64) -> Call {
    about_power("set_power", controller, power)
}

/// Announces new rules.
#[must_use]
pub fn schedule_upgrade(spec_version: u32, height: u32) -> Call {
    let arguments = [("spec_version", number(spec_version)), ("height", number(height))];
    Call::known("Network", "schedule_upgrade", arguments, (spec_version, height))
}

/// Calls announced rules off.
#[must_use]
pub fn cancel_upgrade() -> Call {
    Call::known("Network", "cancel_upgrade", [], ())
}

fn sla(terms: &SlaTerms) -> Value<()> {
    Value::named_composite([
        ("policy", Value::unnamed_variant(format!("{:?}", terms.policy), [])),
        ("window_slots", number(terms.window_slots)),
        ("availability_ppm_min", number(terms.availability_ppm_min)),
        ("round_trip_ms_max", number(terms.round_trip_ms_max)),
        ("throughput_kbps_min", number(terms.throughput_kbps_min)),
        ("notice_slots", number(terms.notice_slots)),
        ("cancel_notice_slots", number(terms.cancel_notice_slots)),
        ("renewal", Value::bool(terms.renewal)),
    ])
}

/// Offers a node for rent.
#[must_use]
pub fn list(terms: &ListingTerms) -> Call {
    Call::known(
        "Marketplace",
        "list",
        [
            ("node", account(&terms.node)),
            (
                "offer",
                Value::named_composite([
                    ("price", rate(terms.price)),
                    ("capacity", capacity(terms.capacity)),
                    ("region", bytes(&terms.region)),
                    ("term_min_slots", number(terms.term_min_slots)),
                    ("term_max_slots", number(terms.term_max_slots)),
                    ("bond", number(terms.bond)),
                    ("attributes", Value::unnamed_composite([Value::unnamed_composite([])])),
                    ("sla", sla(&terms.sla)),
                    ("congestion", Value::unnamed_composite([])),
                ]),
            ),
        ],
        // The fields of an offer in their order, with neither attributes nor congestion steps.
        (
            (&terms.node, terms.price, terms.capacity, terms.region.as_bytes()),
            (terms.term_min_slots, terms.term_max_slots, terms.bond),
            (Attributes::default(), terms.sla, CongestionCurve::default()),
        ),
    )
}

/// Takes a listing off the market; running deals go on.
#[must_use]
pub fn retire(listing: ListingId) -> Call {
    Call::known("Marketplace", "retire", [("listing", number(listing))], listing)
}

/// Asks for a node and puts the deposit into escrow.
#[must_use]
pub fn rent(terms: &RentTerms) -> Call {
    Call::known(
        "Marketplace",
        "rent",
        [
            ("listing", number(terms.listing)),
            ("version", number(terms.version)),
            ("capacity", capacity(terms.capacity)),
            ("term_slots", number(terms.term_slots)),
            ("deposit", number(terms.deposit)),
            ("rate_max", rate(terms.rate_max)),
            (
                "manifest",
                Value::named_composite([
                    ("mesh", Value::from_bytes(terms.mesh)),
                    ("agents", Value::unnamed_composite(terms.agents.iter().map(account))),
                    ("checks", Value::unnamed_composite([])),
                ]),
            ),
        ],
        (
            (terms.listing, terms.version, terms.capacity, terms.term_slots, terms.deposit, terms.rate_max),
            (terms.mesh, &terms.agents, ServiceChecks::default()),
        ),
    )
}

/// The provider takes the deal with the manifest that has this hash, and posts its bond.
#[must_use]
pub fn confirm(deal: DealId, manifest_hash: Hash) -> Call {
    let arguments = [("deal", number(deal)), ("manifest_hash", Value::from_bytes(manifest_hash))];
    Call::known("Marketplace", "confirm", arguments, (deal, manifest_hash))
}

/// Pays the provider what has accrued.
#[must_use]
pub fn settle(deal: DealId) -> Call {
    Call::known("Marketplace", "settle", [("deal", number(deal))], deal)
}

/// The renter ends the deal.
#[must_use]
pub fn cancel(deal: DealId) -> Call {
    Call::known("Marketplace", "cancel", [("deal", number(deal))], deal)
}
