//! Owners decide on a network without a superuser, and nothing stops them.

use super::chain::{Chain, Signer, controller, signer};
use crate::{
    Balances, Governance, Measurement, Runtime, RuntimeCall, SafeMode, UncheckedExtrinsic,
    configs::{governance as rules, money},
    dry_run,
    filter::{AllowedCalls, TrackCalls},
    presets,
    settings::{self, FeeRates},
};
use frame_support::{
    storage::{TransactionOutcome, with_transaction},
    traits::{Contains, InstanceFilter},
};
use pallet_x0_governance::ProposalState;
use sp_runtime::{
    DispatchError, MultiAddress,
    transaction_validity::{InvalidTransaction, TransactionSource},
};
use x0_types::{
    account::UNIT,
    governance::{SealedVote, TrackFilter, TrackId},
    market::Meter,
};

fn owners() -> Vec<Signer> {
    presets::DEV_ACCOUNTS.iter().chain(presets::LOCAL_VALIDATORS).map(|name| signer(name)).collect()
}

fn set_fees(per_byte: u128) -> RuntimeCall {
    let expected = FeeRates::default();
    settings::Call::set_fees { expected, new: FeeRates { per_byte, ..expected } }.into()
}

fn state(chain: &mut Chain, proposal: u32) -> ProposalState {
    chain.read(|| pallet_x0_governance::Proposals::<Runtime>::get(proposal).unwrap().state)
}

/// Makes blocks until the proposal is in this state.
fn wait_for(chain: &mut Chain, proposal: u32, name: &str) {
    for _ in 0..3_000 {
        if state(chain, proposal).name() == name {
            return;
        }
        chain.block(Vec::new());
    }
    panic!("proposal {proposal} is {}", state(chain, proposal).name());
}

fn propose(chain: &mut Chain, by: &Signer, track: TrackId, call: RuntimeCall) -> Result<(), DispatchError> {
    let propose = pallet_x0_governance::Call::propose { track, call: Box::new(call), delay_slots: 0, dry_run: None };
    chain.call(by, propose)
}

fn vote_all(chain: &mut Chain, proposal: u32, votes: i8) {
    let batch: Vec<_> = owners()
        .iter()
        .map(|who| {
            let vote = pallet_x0_governance::Call::vote { proposal, votes, spam: false, reason: None };
            chain.sign(who, vote)
        })
        .collect();
    for result in chain.block(batch) {
        result.unwrap().unwrap();
    }
}

/// G1, G15, G16: a ballot of the owners changes what transactions cost, on a network without a superuser, and the
/// dry run said beforehand what it would change.
#[test]
fn a_ballot_changes_the_fees() {
    let mut chain = Chain::local();
    let alice = signer("alice");
    let simulation = chain.read(|| dry_run::simulate(TrackId::Parameters, &set_fees(7_000))).unwrap();
    assert_eq!((simulation.error.as_deref(), simulation.changes.len()), (None, 1));
    let key = frame_support::storage::storage_prefix(b"Settings", b"Fees");
    assert_eq!(simulation.changes[0].key.0, key.to_vec());
    assert_eq!(chain.read(settings::Fees::<Runtime>::get), FeeRates::default(), "a dry run changes nothing");
    propose(&mut chain, &alice, TrackId::Parameters, set_fees(7_000)).unwrap();
    wait_for(&mut chain, 0, "deciding");
    vote_all(&mut chain, 0, 3);
    wait_for(&mut chain, 0, "executed");
    assert_eq!(chain.read(settings::Fees::<Runtime>::get).per_byte, 7_000);
    let again = chain.read(|| dry_run::simulate(TrackId::Parameters, &set_fees(8_000))).unwrap();
    assert!(again.error.unwrap().contains("Module"), "the old value is another now");
    let fee = chain.read(|| crate::apis::query_length_to_fee(10));
    assert_eq!(fee, 70_000);
}

/// G8: what a track may decide, however it is wrapped.
#[test]
fn tracks_keep_to_their_calls() {
    let alice = signer("alice").account;
    let spend: RuntimeCall =
        pallet_treasury::Call::spend_local { amount: UNIT, beneficiary: MultiAddress::Id(alice.clone()) }.into();
    let take: RuntimeCall = pallet_balances::Call::force_transfer {
        source: MultiAddress::Id(alice.clone()),
        dest: MultiAddress::Id(money::treasury()),
        value: UNIT,
    }
    .into();
    let code: RuntimeCall = frame_system::Call::set_code { code: vec![1] }.into();
    let upgrade: RuntimeCall = crate::network::Call::schedule_upgrade { spec_version: 9, height: 9 }.into();
    let reinstate: RuntimeCall = pallet_x0_owners::Call::reinstate { owner: 0 }.into();
    let stop: RuntimeCall = pallet_safe_mode::Call::force_enter {}.into();
    let batch = |calls: Vec<RuntimeCall>| -> RuntimeCall { pallet_utility::Call::batch_all { calls }.into() };
    let mut chain = Chain::local();
    let mut allowed = |call: &RuntimeCall| -> Vec<&str> {
        let tracks = TrackId::ALL.into_iter().filter(|track| TrackCalls::allows(*track, call));
        chain.read(|| tracks.map(TrackId::name).collect())
    };
    assert_eq!(allowed(&set_fees(1_000)), ["root", "parameters"]);
    assert_eq!(allowed(&batch(vec![set_fees(1_000), set_fees(2_000)])), ["root", "parameters"]);
    assert_eq!(allowed(&batch(vec![set_fees(1_000), upgrade.clone()])), ["root"]);
    assert_eq!(allowed(&spend), ["root", "treasury"]);
    assert_eq!(allowed(&batch(vec![spend.clone(), spend])), [""; 0], "the limit is for one proposal");
    assert_eq!(allowed(&upgrade), ["root"]);
    assert_eq!(allowed(&reinstate), ["root", "membership"]);
    assert_eq!(allowed(&stop), ["root", "emergency"]);
    for never in
        [take.clone(), code.clone(), batch(vec![code]), pallet_sudo::Call::sudo { call: Box::new(take) }.into()]
    {
        assert_eq!(allowed(&never), [""; 0], "{never:?}");
    }
}

/// G8: the treasury's track spends from the treasury, up to its limit.
#[test]
fn the_treasury_is_spent_by_ballot() {
    let mut chain = Chain::local();
    let (alice, eve) = (signer("alice"), signer("eve"));
    let fill =
        pallet_balances::Call::transfer_keep_alive { dest: MultiAddress::Id(money::treasury()), value: 1_000 * UNIT };
    chain.call(&alice, fill).unwrap();
    let spend = |amount| -> RuntimeCall {
        pallet_treasury::Call::spend_local { amount, beneficiary: MultiAddress::Id(eve.account.clone()) }.into()
    };
    let mine = chain.call(&alice, spend(UNIT));
    assert_eq!(mine, Err(DispatchError::BadOrigin));
    for (number, amount) in [(0, 5 * UNIT), (1, rules::TREASURY_SPEND_MAX + 1)] {
        propose(&mut chain, &alice, TrackId::Treasury, spend(amount)).unwrap();
        wait_for(&mut chain, number, "deciding");
        vote_all(&mut chain, number, 3);
    }
    let issuance = chain.read(Balances::total_issuance);
    wait_for(&mut chain, 0, "executed");
    wait_for(&mut chain, 1, "enactment failed");
    for _ in 0..2 * rules::SPEND_BLOCKS {
        chain.block(Vec::new());
    }
    assert_eq!(chain.read(|| Balances::free_balance(&eve.account)), 5 * UNIT);
    assert_eq!(chain.read(Balances::total_issuance), issuance, "nothing is minted or burnt");
}

/// D15: while calls are stopped, reports, votes and what ballots decided go on; money does not move.
#[test]
fn nothing_stops_the_owners() {
    let mut chain = Chain::local();
    let alice = signer("alice");
    let filtered: DispatchError = frame_system::Error::<Runtime>::CallFiltered.into();
    let stop: RuntimeCall = pallet_safe_mode::Call::force_enter {}.into();
    let pay = pallet_balances::Call::transfer_keep_alive { dest: MultiAddress::Id(signer("bob").account), value: UNIT };
    assert_eq!(chain.call(&alice, stop.clone()), Err(DispatchError::BadOrigin));
    for n in 0..3 {
        let approve = pallet_x0_validators::Call::approve { number: 0, call: Box::new(stop.clone()) };
        chain.call(&controller(n), approve).unwrap();
    }
    assert!(chain.read(SafeMode::is_entered));
    assert_eq!(chain.call(&alice, pay.clone()), Err(filtered));
    let wrapped = pallet_utility::Call::batch_all { calls: vec![pay.clone().into()] };
    assert_eq!(chain.call(&alice, wrapped), Err(filtered));
    // A ballot goes on, and a batch that it decided is not filtered inside either.
    let resume: RuntimeCall =
        pallet_utility::Call::batch_all { calls: vec![pallet_safe_mode::Call::force_exit {}.into()] }.into();
    propose(&mut chain, &alice, TrackId::Emergency, resume).unwrap();
    wait_for(&mut chain, 0, "deciding");
    vote_all(&mut chain, 0, 1);
    wait_for(&mut chain, 0, "executed");
    assert!(!chain.read(SafeMode::is_entered));
    chain.call(&alice, pay.clone()).unwrap();
    // Single calls can be paused, but none of those that keep the chain honest.
    let name = |pallet: &str, call: &str| {
        (pallet.as_bytes().to_vec().try_into().unwrap(), call.as_bytes().to_vec().try_into().unwrap())
    };
    let mut number = 1;
    let mut pause = |chain: &mut Chain, full_name| {
        let call: RuntimeCall = pallet_tx_pause::Call::pause { full_name }.into();
        for n in 0..3 {
            chain
                .call(&controller(n), pallet_x0_validators::Call::approve { number, call: Box::new(call.clone()) })
                .unwrap();
        }
        number += 1;
    };
    for (pallet, call) in
        [("Measurement", "reveal_report"), ("Governance", "vote"), ("Janitor", "retry"), ("Owners", "attest")]
    {
        pause(&mut chain, name(pallet, call));
    }
    pause(&mut chain, name("Balances", "transfer_keep_alive"));
    assert_eq!(chain.call(&alice, pay), Err(filtered));
    assert_eq!(chain.read(|| pallet_tx_pause::PausedCalls::<Runtime>::iter().count()), 1);
}

/// A multisig carries no call that its signatories may not make.
#[test]
fn wrappers_of_multisigs_are_looked_into() {
    let code: RuntimeCall = frame_system::Call::set_code { code: vec![1] }.into();
    let other = vec![signer("bob").account];
    let burn: RuntimeCall = pallet_balances::Call::burn { value: 1, keep_alive: false }.into();
    let free: RuntimeCall = frame_system::Call::remark { remark: vec![1] }.into();
    for (call, expected) in [(code, false), (burn, false), (free, true)] {
        let batch: RuntimeCall = pallet_utility::Call::batch { calls: vec![call.clone()] }.into();
        for call in [call, batch] {
            let alone = pallet_multisig::Call::as_multi_threshold_1 {
                other_signatories: other.clone(),
                call: Box::new(call.clone()),
            };
            let together = pallet_multisig::Call::as_multi {
                threshold: 2,
                other_signatories: other.clone(),
                maybe_timepoint: None,
                call: Box::new(call),
                max_weight: Default::default(),
            };
            assert_eq!(AllowedCalls::contains(&alone.into()), expected);
            assert_eq!(AllowedCalls::contains(&together.into()), expected);
        }
    }
}

/// A proxy for votes votes and does nothing else.
#[test]
fn a_governance_proxy_votes_only() {
    use crate::configs::wrappers::ProxyType;
    let vote: RuntimeCall =
        pallet_x0_governance::Call::vote { proposal: 0, votes: 1, spam: false, reason: None }.into();
    let proposal: RuntimeCall = pallet_x0_governance::Call::propose {
        track: TrackId::Treasury,
        call: Box::new(set_fees(1)),
        delay_slots: 0,
        dry_run: None,
    }
    .into();
    assert!(ProxyType::Governance.filter(&vote) && ProxyType::NonTransfer.filter(&vote));
    assert!(!ProxyType::Governance.filter(&proposal) && !ProxyType::Market.filter(&vote));
}

/// G12: an opening without a signature enters a block once, pays nothing, and is checked like any transaction.
#[test]
fn a_sealed_vote_is_opened_without_a_signature() {
    let mut chain = Chain::local();
    let alice = signer("alice");
    let exit: RuntimeCall = pallet_x0_owners::Call::reinstate { owner: 0 }.into();
    propose(&mut chain, &alice, TrackId::Membership, exit).unwrap();
    wait_for(&mut chain, 0, "committing");
    let vote = SealedVote { proposal: 0, owner: 0, votes: 4, spam: false, salt: [5; 32] };
    let hash = chain.read(|| Governance::commitment_of(&vote));
    assert_eq!(hash, x0_types::Hash::from(sp_io::hashing::blake2_256(&vote.preimage(&chain.genesis))));
    chain.call(&alice, pallet_x0_governance::Call::commit_vote { proposal: 0, hash }).unwrap();
    wait_for(&mut chain, 0, "revealing");
    let bare = |vote: &SealedVote| {
        UncheckedExtrinsic::new_bare(pallet_x0_governance::Call::reveal_vote { vote: vote.clone() }.into())
    };
    let wrong = SealedVote { votes: 9, ..vote.clone() };
    let stale = InvalidTransaction::Stale.into();
    assert_eq!(chain.block(vec![bare(&wrong)]).pop().unwrap(), Err(stale));
    // As the pool asks: in the next block's view of the state, which is thrown away.
    let valid = chain.read(|| {
        with_transaction(|| {
            let valid = crate::apis::validate_transaction(TransactionSource::External, bare(&vote), Default::default());
            TransactionOutcome::Rollback(Ok::<_, DispatchError>(valid))
        })
    });
    assert_eq!(valid.unwrap().unwrap().provides.len(), 1);
    let results = chain.block(vec![bare(&vote), bare(&vote)]);
    assert_eq!((results[0], results[1]), (Ok(Ok(())), Err(stale)));
    let tally = chain.read(|| Governance::proposal_view(0).unwrap().ballots[0].tally);
    assert_eq!(tally.ayes, 4);
    assert!(chain.read(Measurement::current_slot) > 30);
}

/// All hooks of a block together leave three quarters of it to transactions.
#[test]
fn hooks_take_a_quarter_of_a_block_at_most() {
    use frame_support::traits::Get;
    use pallet_x0_janitor::WeightInfo as _;
    let block = crate::configs::system::Weights::get().max_block.ref_time();
    let janitor = <Runtime as pallet_x0_janitor::Config>::WeightInfo::entry()
        .saturating_mul(x0_limits::JANITOR_CAP.into())
        .ref_time();
    // Each module's own integrity test bounds its hook by its share.
    let governance = block / 10;
    let owners = block / 100;
    assert!(janitor <= block / 10);
    assert!(janitor + governance + owners <= block / 4, "{janitor} + {governance} + {owners} of {block}");
}

/// The rules of every preset's tracks are within their bounds.
#[test]
fn presets_have_valid_tracks() {
    for (id, track) in presets::standard_tracks().into_iter().chain(presets::quick_tracks()) {
        assert!(track.is_valid(), "{id:?}");
    }
    let mut chain = Chain::local();
    assert_eq!(chain.read(|| Governance::tracks().len()), TrackId::ALL.len());
}
