use super::*;
use crate::DealView;
use proptest::prelude::*;
use x0_types::deal::DealState;

const GENESIS_TIME_MS: u64 = 1_700_000_000_000;
const SLOT_MS: u64 = 1_000;
const NODE: [u8; 32] = [9; 32];

fn account(byte: u8) -> AccountId {
    AccountId::new([byte; 32])
}

fn at(monotonic_ms: u64) -> Now {
    Now { monotonic_ms, unix_ms: GENESIS_TIME_MS + 100 * SLOT_MS + monotonic_ms }
}

fn serving() -> Agent {
    let mut agent = Agent::new(AccountId::new(NODE), SlotClock::new(GENESIS_TIME_MS, SLOT_MS));
    agent.handle(Event::Enrolled).unwrap();
    agent.handle(Event::ListenerReady).unwrap();
    agent
}

fn view(height: u32, state: DealState) -> ChainView {
    let deal = DealView { id: 3, node: account(9), state, mesh: Hash::repeat_byte(5), agents: vec![account(1)] };
    ChainView { height, deals: vec![deal] }
}

fn alive(slot: Slot) -> ProbeRequest {
    ProbeRequest::Alive { slot, nonce: [7; 32] }
}

#[test]
fn admission_follows_the_deal_on_chain() {
    let mut agent = serving();
    assert!(!agent.admits(&account(1), 0), "before the deal");
    agent.observe(&view(1, DealState::Funded), 0).unwrap();
    assert!(!agent.admits(&account(1), 0), "before the confirmation");
    assert_eq!(agent.observe(&view(2, DealState::Active), 1).unwrap(), ViewOutcome::Taken { changed: true });
    assert!(agent.admits(&account(1), 1) && !agent.admits(&account(2), 1));
    assert_eq!(agent.observe(&view(3, DealState::Suspect), 2).unwrap(), ViewOutcome::Taken { changed: false });
    assert!(agent.admits(&account(1), 2), "a suspect deal still runs");
    agent.observe(&view(4, DealState::Frozen), 3).unwrap();
    assert!(!agent.admits(&account(1), 3), "after the end");
}

#[test]
fn a_late_view_does_not_bring_an_ended_deal_back() {
    let mut agent = serving();
    agent.observe(&view(8, DealState::Completed), 0).unwrap();
    assert_eq!(agent.observe(&view(7, DealState::Active), 1).unwrap(), ViewOutcome::Older { newest: 8 });
    assert!(!agent.admits(&account(1), 1));
    assert_eq!(agent.view_height(), Some(8));
}

#[test]
fn without_news_from_the_chain_nobody_is_admitted_but_probes_are_answered() {
    let mut agent = serving();
    agent.observe(&view(1, DealState::Active), 0).unwrap();
    assert!(agent.admits(&account(1), AGENT_VIEW_LIFE_MS));
    let late = AGENT_VIEW_LIFE_MS + 1;
    assert!(!agent.admits(&account(1), late));
    let slot = 100 + late / SLOT_MS;
    let Answer::Sign(receipt) = agent.answer(&Hash::zero(), &alive(slot), at(late)) else { panic!() };
    assert_eq!(receipt.admissions, AdmissionList::default().hash());
    // The same view, seen again, counts again.
    assert_eq!(agent.observe(&view(1, DealState::Active), late).unwrap(), ViewOutcome::Taken { changed: true });
    assert!(agent.admits(&account(1), late));
}

#[test]
fn a_broken_view_leaves_the_one_in_force() {
    let mut agent = serving();
    agent.observe(&view(1, DealState::Active), 0).unwrap();
    let mut broken = view(2, DealState::Active);
    broken.deals.extend(view(2, DealState::Active).deals);
    assert_eq!(agent.observe(&broken, 1), Err(ViewError::DuplicateDeal { deal: 3 }));
    assert!(agent.admits(&account(1), 1));
    assert_eq!(agent.view_height(), Some(1));
}

#[test]
fn only_a_serving_agent_answers() {
    let mut agent = Agent::new(AccountId::new(NODE), SlotClock::new(GENESIS_TIME_MS, SLOT_MS));
    let expect = |agent: &mut Agent, phase: Phase| {
        let answer = agent.answer(&Hash::zero(), &alive(100), at(0));
        match phase {
            Phase::Serving => assert!(matches!(answer, Answer::Sign(_)), "{answer:?}"),
            phase => assert_eq!(answer, Answer::Refuse(Refusal::NotServing { phase })),
        }
        assert_eq!(agent.phase(), phase);
    };
    expect(&mut agent, Phase::Starting);
    for (event, phase) in [
        (Event::Enrolled, Phase::Enrolled),
        (Event::ListenerReady, Phase::Serving),
        (Event::StopRequested, Phase::Draining),
        (Event::Drained, Phase::Stopped),
    ] {
        assert_eq!(agent.handle(event).unwrap(), phase);
        expect(&mut agent, phase);
    }
    assert_eq!(agent.counters(), Counters { receipts: 1, refusals: 4, ..Counters::default() });
}

#[test]
fn the_admission_list_that_is_sent_is_the_one_whose_hash_is_signed() {
    let mut agent = serving();
    agent.observe(&view(1, DealState::Active), 0).unwrap();
    let Answer::Reply(ProbeResponse::Admissions(list)) = agent.answer(&Hash::zero(), &ProbeRequest::Admissions, at(0))
    else {
        panic!()
    };
    assert_eq!(list, [Admission { deal: 3, mesh: Hash::repeat_byte(5), agents: vec![account(1)] }]);
    let Answer::Sign(receipt) = agent.answer(&Hash::zero(), &alive(100), at(0)) else { panic!() };
    assert_eq!(receipt.admissions, x0_types::probe::admissions_hash(&list));
}

#[test]
fn a_signed_receipt_counts_for_its_chain_only() {
    let key = SigningKey::generate().unwrap();
    let Answer::Sign(receipt) = serving().answer(&Hash::zero(), &alive(100), at(0)) else { panic!() };
    let signed = sign_receipt(&key, &[1; 32], receipt.clone()).unwrap();
    assert_eq!(signed.receipt, receipt);
    let signature = x0_crypto::Signature::from(signed.signature.0);
    assert!(key.public().verify_receipt(&[1; 32], &receipt.signed_body(), &signature).is_ok());
    assert!(key.public().verify_receipt(&[2; 32], &receipt.signed_body(), &signature).is_err());
}

#[test]
fn a_prober_that_asks_too_often_is_turned_away_and_others_are_not() {
    let mut agent = serving();
    let greedy = Hash::repeat_byte(1);
    let answers: Vec<Answer> = (0..100).map(|_| agent.answer(&greedy, &alive(100), at(0))).collect();
    let served = answers.iter().filter(|answer| matches!(answer, Answer::Sign(_))).count();
    assert_eq!(served, usize::try_from(PROBE_REQUEST_BURST).unwrap());
    assert_eq!(answers[99], Answer::Refuse(Refusal::TooManyRequests));
    assert!(matches!(agent.answer(&Hash::repeat_byte(2), &alive(100), at(0)), Answer::Sign(_)));
    assert!(matches!(agent.answer(&greedy, &alive(101), at(1_000)), Answer::Sign(_)));
}

proptest! {
    /// A receipt repeats the question, names the prober, and is for about now; anything else is refused.
    #[test]
    fn a_receipt_is_for_the_question_and_for_about_now(
        offset in -200i64..200, nonce: [u8; 32], prober: [u8; 32], elapsed in 0u64..86_400_000,
    ) {
        let mut agent = serving();
        let now = at(elapsed);
        let current = (now.unix_ms - GENESIS_TIME_MS) / SLOT_MS;
        let slot = current.checked_add_signed(offset).unwrap_or(0);
        let prober = Hash::from(prober);
        match agent.answer(&prober, &ProbeRequest::Alive { slot, nonce }, now) {
            Answer::Sign(receipt) => {
                prop_assert!(receipt.answers(&account(9), slot, &nonce, &prober).is_ok());
                prop_assert_eq!(receipt.agent_time_ms, now.unix_ms);
                // 2 slots and 2 seconds to either side, slots of one second.
                prop_assert!(slot.abs_diff(current) <= 4 + 1);
            }
            Answer::Refuse(Refusal::SlotOutOfRange { asked, earliest, latest }) => {
                prop_assert_eq!(asked, slot);
                prop_assert!(slot < earliest || slot > latest);
                prop_assert!(slot.abs_diff(current) >= 4);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

/// A node signs of its use what an agent of the deal says, and never worse than it saw itself.
#[test]
fn a_usage_is_agreed_on_by_what_both_sides_saw() {
    let mut agent = serving();
    agent.observe(&view(1, DealState::Active), 0).unwrap();
    let seen = LinkUse { bytes: 100_000, duration_ms: 200, round_trip_ms: 9 };
    let usage = Usage {
        deal: 3,
        node: account(9),
        agent: account(1),
        slot: 100,
        bytes: 100_000,
        duration_ms: 200,
        round_trip_ms: 9,
    };
    let judge =
        |agent: &mut Agent, peer: u8, usage: &Usage| agent.agree(&Hash::zero(), &account(peer), usage, &seen, at(0));
    assert_eq!(judge(&mut agent, 1, &usage), Ok(()));
    assert_eq!(judge(&mut agent, 1, &Usage { duration_ms: 150, round_trip_ms: 1, ..usage.clone() }), Ok(()));
    for (peer, other, refusal) in [
        (2, usage.clone(), Refusal::NotOfTheDeal),
        (1, Usage { agent: account(2), ..usage.clone() }, Refusal::NotOfTheDeal),
        (1, Usage { deal: 4, ..usage.clone() }, Refusal::NotOfTheDeal),
        (1, Usage { node: account(8), ..usage.clone() }, Refusal::UsageDiffers),
        (1, Usage { slot: 1_000, ..usage.clone() }, Refusal::UsageDiffers),
        (1, Usage { bytes: 99_999, ..usage.clone() }, Refusal::UsageDiffers),
        (1, Usage { duration_ms: 201, ..usage.clone() }, Refusal::UsageDiffers),
        (1, Usage { duration_ms: 0, ..usage.clone() }, Refusal::UsageDiffers),
        (1, Usage { round_trip_ms: 10, ..usage.clone() }, Refusal::UsageDiffers),
    ] {
        assert_eq!(judge(&mut agent, peer, &other), Err(refusal), "{other:?}");
    }
    agent.observe(&view(2, DealState::Failed), 0).unwrap();
    assert_eq!(judge(&mut agent, 1, &usage), Err(Refusal::NotOfTheDeal), "the deal is over");
    assert_eq!(agent.counters().usages, 2);
}
