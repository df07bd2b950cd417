//! Whatever transactions come, replaying gives what building gave.

use super::support::*;
use crate::Admitted;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use x0_runtime::RuntimeCall;
use x0_types::account::UNIT;

static PEOPLE: LazyLock<Vec<Signer>> = LazyLock::new(|| ["alice", "bob", "charlie", "dave"].map(signer).to_vec());

#[derive(Clone, Debug)]
enum Action {
    Transfer { to: usize, value: u128 },
    TooMuch { to: usize },
    Remark(Vec<u8>),
    Batch(Vec<Action>),
    BatchAll(Vec<Action>),
    Forbidden,
}

fn action() -> impl Strategy<Value = Action> {
    let leaf = prop_oneof![
        (0..4usize, 0..5 * UNIT).prop_map(|(to, value)| Action::Transfer { to, value }),
        (0..4usize).prop_map(|to| Action::TooMuch { to }),
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(Action::Remark),
        Just(Action::Forbidden),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let actions = proptest::collection::vec(inner, 0..4);
        prop_oneof![actions.clone().prop_map(Action::Batch), actions.prop_map(Action::BatchAll)]
    })
}

fn call(action: &Action) -> RuntimeCall {
    let calls = |actions: &[Action]| actions.iter().map(call).collect();
    match action {
        Action::Transfer { to, value } => transfer(&PEOPLE[*to].account, *value),
        Action::TooMuch { to } => transfer(&PEOPLE[*to].account, u128::MAX / 2),
        Action::Remark(bytes) => remark(bytes),
        Action::Batch(actions) => batch(calls(actions)),
        Action::BatchAll(actions) => pallet_utility::Call::batch_all { calls: calls(actions) }.into(),
        Action::Forbidden => frame_system::Call::kill_storage { keys: vec![vec![1]] }.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Two nodes, one that builds and one that replays, agree on header, results and events for
    /// random transactions in random order, with gaps and repetitions of nonces, and no money
    /// appears or vanishes.
    #[test]
    fn replay_is_bit_identical_to_build(
        blocks in proptest::collection::vec(
            proptest::collection::vec((0..4usize, 0..3u32, action()), 0..12), 1..4)
    ) {
        let (builder, other) = (Node::new(), Node::new());
        let issuance = builder.read(x0_runtime::Balances::total_issuance);
        for block in blocks {
            let mut next: Vec<_> = PEOPLE.iter().map(|person| builder.nonce(&person.account)).collect();
            let offered: Vec<Arc<Admitted>> = block
                .iter()
                .filter_map(|(who, skip, action)| {
                    let nonce = next[*who] + u32::from(*skip == 2);
                    next[*who] += u32::from(*skip != 1);
                    let bytes = builder.sign(&PEOPLE[*who], nonce, call(action));
                    builder.executor.validate(&bytes, crate::TransactionSource::External).ok().map(Arc::new)
                })
                .collect();
            let built = builder.build_admitted(offered);
            let replayed = other.executor.replay_block(&built.encoded).unwrap();
            prop_assert_eq!(&replayed.header, &built.header);
            prop_assert_eq!(&replayed.encoded, &built.encoded);
            prop_assert_eq!(&replayed.results, &built.results);
            prop_assert_eq!(&replayed.events, &built.events);
            builder.executor.commit(built, vec![]).unwrap();
            other.executor.commit(replayed, vec![]).unwrap();
            builder.check();
            prop_assert_eq!(builder.read(x0_runtime::Balances::total_issuance), issuance);
        }
    }
}
