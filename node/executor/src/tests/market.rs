//! The main job on the real runtime: list, rent, confirm, measure, fail, refund. Figures are worked
//! out here by hand and compared to the last unit.

use super::support::*;
use crate::{Executed, Head};
use bytes::Bytes;
use codec::Encode;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use x0_runtime::{Runtime, RuntimeCall, configs::money};
use x0_types::{
    AccountId, Balance, KeyProof, KeyRole, MlDsa65Signature,
    account::UNIT,
    deal::{Capacity, DealState, Manifest, Offer, Rate},
    key::PossessionStatement,
    market::{Observation, pack_observations},
    receipt::report_commitment,
};

/// The salt of all commitments of these tests.
const SALT: [u8; 32] = [5; 32];

const SLOT_MS: u64 = 1_000;
/// Slot 0 began a second before `T0`, so `T0` begins slot 1.
const FIRST_SLOT: u64 = 1;

fn time_of(slot: u64) -> u64 {
    T0 + (slot - FIRST_SLOT) * SLOT_MS
}

fn manifest() -> Manifest<AccountId> {
    Manifest { mesh: Default::default(), agents: Default::default(), checks: Default::default() }
}

struct Market {
    node: Node,
    provider: Signer,
    renter: Signer,
    reporter: Signer,
    agent: AccountId,
}

impl Market {
    fn new() -> Self {
        let node = Node::new();
        let reporter_key = key(x0_runtime::presets::DEV_VALIDATOR, "reporter");
        let reporter = Signer { account: public(&reporter_key).account_id(), key: reporter_key, registered: false };
        let agent = public(&key("agent-1", "agent")).account_id();
        Self { node, provider: signer("bob"), renter: signer("charlie"), reporter, agent }
    }

    /// One committed block at a time, with the calls of these signers.
    fn block(&self, time_ms: u64, calls: Vec<(&Signer, RuntimeCall)>) -> Executed {
        let executor = &self.node.executor;
        let transactions: Vec<Bytes> =
            calls.into_iter().map(|(who, call)| self.node.sign(who, self.node.nonce(&who.account), call)).collect();
        let admitted: Vec<_> = transactions.iter().map(|bytes| Arc::new(self.node.admit(bytes))).collect();
        let Head { hash, .. } = executor.head();
        let deadline = Instant::now() + Duration::from_secs(600);
        let built = executor.build_block(hash, time_ms, proposer(), admitted.into_iter(), deadline).unwrap();
        assert_eq!(built.rejected, vec![]);
        for outcome in &built.results {
            assert_eq!(outcome.result, Ok(()));
        }
        let replayed = executor.replay_block(&built.encoded).unwrap();
        executor.commit(replayed, vec![]).unwrap();
        self.node.check();
        built
    }

    fn register_agent(&self) -> RuntimeCall {
        let agent_key = key("agent-1", "agent");
        let expires_at_ms = T0 + 60_000;
        let statement = PossessionStatement {
            role: KeyRole::Agent,
            subject: self.agent.clone(),
            controller: self.provider.account.clone(),
            expires_at_ms,
        };
        let signature = agent_key.sign_possession(&self.node.executor.genesis_hash().0, &statement.encode()).unwrap();
        pallet_x0_did::Call::register_agent {
            public: public(&agent_key),
            proof: KeyProof { expires_at_ms, signature: MlDsa65Signature(signature.to_boxed()) },
            endpoint: b"127.0.0.1:4000".to_vec().try_into().unwrap(),
        }
        .into()
    }

    fn list(&self, price: Rate, bond: Balance) -> RuntimeCall {
        pallet_x0_marketplace::Call::list {
            node: self.agent.clone(),
            offer: Offer::plain(
                price,
                Capacity { bandwidth_kbps: 1_000, sessions: 10 },
                b"eu-central".to_vec().try_into().unwrap(),
                10..=1_000,
                bond,
            ),
        }
        .into()
    }

    fn rent(&self, deposit: Balance) -> RuntimeCall {
        let (listing, version) = self.node.read(|| {
            let id = pallet_x0_marketplace::ListingOf::<Runtime>::get(&self.agent).unwrap();
            (id, pallet_x0_marketplace::Listings::<Runtime>::get(id).unwrap().version)
        });
        pallet_x0_marketplace::Call::rent {
            listing,
            version,
            capacity: Capacity { bandwidth_kbps: 1_000, sessions: 10 },
            term_slots: 100,
            deposit,
            rate_max: Rate { num: Balance::MAX, den: 1 },
            manifest: manifest(),
        }
        .into()
    }

    /// What the validator saw of the agent, as it is committed to and shown.
    fn commit(&self, slot: u64, observation: Observation) -> RuntimeCall {
        let validator = proposer();
        let packed = pack_observations(&[observation]);
        let commitment = report_commitment(&validator, slot, &packed, &Default::default(), &SALT);
        pallet_x0_measurement::Call::commit_report { slot, commitment }.into()
    }

    fn reveal(&self, slot: u64, observation: Observation) -> RuntimeCall {
        pallet_x0_measurement::Call::reveal_report {
            slot,
            observations: pack_observations(&[observation]).try_into().unwrap(),
            receipts_root: Default::default(),
            salt: SALT,
        }
        .into()
    }

    /// Two blocks in the slot after this one: the first takes the commitment on the slot; the second, whose parent lies
    /// in the later slot, takes the report on the slot before.
    fn report(&self, slot: u64, seen: impl Fn(u64) -> Observation) -> Executed {
        self.block(time_of(slot + 1), vec![(&self.reporter, self.commit(slot, seen(slot)))]);
        let shown = slot.checked_sub(1).filter(|shown| *shown >= FIRST_SLOT);
        let calls = shown.map(|shown| (&self.reporter, self.reveal(shown, seen(shown))));
        self.block(time_of(slot + 1) + 10, calls.into_iter().collect())
    }

    fn state(&self, deal: u64) -> DealState {
        self.node.read(|| pallet_x0_marketplace::Deals::<Runtime>::get(deal).unwrap().state)
    }

    /// Free and held balance.
    fn total(&self, account: &AccountId) -> Balance {
        self.node.read(|| {
            use frame_support::traits::fungible::Inspect as _;
            x0_runtime::Balances::total_balance(account)
        })
    }
}

/// A node serves five slots and goes down: after three DOWN slots the deal fails at that height, and
/// in the next block, with nobody asking, the renter has the unused deposit and the compensation.
#[test]
fn a_failed_node_refunds_its_renter() {
    let market = Market::new();
    let issuance = market.node.read(x0_runtime::Balances::total_issuance);
    let treasury = money::treasury();
    let price = Rate { num: UNIT, den: 3 };
    let (deposit, bond) = (50 * UNIT, 20 * UNIT);

    market.block(time_of(1), vec![(&market.provider, market.register_agent())]);
    market.block(time_of(1) + 10, vec![(&market.provider, market.list(price, bond))]);
    market.block(time_of(1) + 20, vec![(&market.renter, market.rent(deposit))]);
    let deal = market.node.read(pallet_x0_marketplace::NextDeal::<Runtime>::get) - 1;
    market.block(
        time_of(1) + 30,
        vec![(
            &market.provider,
            pallet_x0_marketplace::Call::confirm { deal, manifest_hash: manifest().hash() }.into(),
        )],
    );
    assert_eq!(market.state(deal), DealState::Active);

    let renter_before = market.total(&market.renter.account);
    let provider_before = market.total(&market.provider.account);
    let treasury_before = market.total(&treasury);
    let reporter_before = market.total(&market.reporter.account);

    // The slot of the confirmation, five good ones, then DOWN for as long as it takes.
    let mut slot = FIRST_SLOT;
    let mut failed_at = None;
    while failed_at.is_none() {
        assert!(slot < 30, "the deal does not fail");
        let seen = |slot| if slot <= FIRST_SLOT + 5 { Observation::Up } else { Observation::Down };
        let block = market.report(slot, seen);
        if market.state(deal) == DealState::Frozen {
            failed_at = Some((slot, block.number));
        }
        slot += 1;
    }
    let (_, height) = failed_at.unwrap();
    let paid_out = market.block(time_of(slot + 1), vec![]);
    assert_eq!(paid_out.number, height + 1);
    assert_eq!(market.state(deal), DealState::Failed);

    // By hand: 5 good slots at a third of an X0T, floored once; of this 2.5 % to the treasury, floored;
    // a node without trust posts half as much again; 5 % of that slashed at the first failure, 80 % of
    // the slash to the renter.
    let gross: Balance = 1_666_666_666_666;
    let fee: Balance = 41_666_666_666;
    let slash: Balance = 1_500_000_000_000;
    let compensation: Balance = 1_200_000_000_000;
    assert_eq!(market.total(&market.renter.account), renter_before - gross + compensation);
    assert_eq!(market.total(&market.provider.account), provider_before + gross - fee - slash);
    assert_eq!(market.total(&treasury), treasury_before + fee + slash - compensation);
    assert_eq!(market.total(&market.reporter.account), reporter_before, "first reports are free");
    assert_eq!(market.node.read(x0_runtime::Balances::total_issuance), issuance);
}

/// Whatever a release changes in the state when its rules begin: on a chain on which a deal runs, every
/// invariant holds afterwards, and the deal goes on.
#[test]
fn migrations_keep_what_runs() {
    use x0_runtime::{check_invariants, migrations, version::FIRST_SPEC};
    let market = Market::new();
    market.block(time_of(1), vec![(&market.provider, market.register_agent())]);
    market.block(time_of(1) + 10, vec![(&market.provider, market.list(Rate { num: UNIT, den: 3 }, 20 * UNIT))]);
    market.block(time_of(1) + 20, vec![(&market.renter, market.rent(50 * UNIT))]);
    market.block(
        time_of(1) + 30,
        vec![(
            &market.provider,
            pallet_x0_marketplace::Call::confirm { deal: 0, manifest_hash: manifest().hash() }.into(),
        )],
    );
    for slot in FIRST_SLOT..FIRST_SLOT + 5 {
        market.report(slot, |slot| if slot == FIRST_SLOT + 2 { Observation::Down } else { Observation::Up });
    }
    let before = market.node.read(|| pallet_x0_marketplace::Pallet::<Runtime>::meter(0));
    let after = market.node.read(|| {
        migrations::run(migrations::ALL, FIRST_SPEC, u32::MAX);
        check_invariants().map(|()| pallet_x0_marketplace::Pallet::<Runtime>::meter(0))
    });
    assert_eq!(after, Ok(before));
    assert!(before.is_some_and(|reading| reading.good > 0));
}

/// A chain that starts years after slot 0 closes all of them in one block, and is ready.
#[test]
fn a_late_start_closes_the_past_at_once() {
    let market = Market::new();
    let years_ms = 3 * 365 * 24 * 3_600_000;
    market.block(T0, vec![]);
    market.block(T0 + years_ms, vec![]);
    // A loop over 94 million slots would not end within a test run. The windows of the past also wait for
    // blocks by enough validators.
    for slots in 1..=6 {
        market.block(T0 + years_ms + slots * SLOT_MS, vec![]);
    }
    let closed = market.node.read(pallet_x0_measurement::ClosedSlot::<Runtime>::get);
    assert!(closed >= years_ms / SLOT_MS, "{closed} slots closed");
}
