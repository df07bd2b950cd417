//! Random chains and random peers against a model that knows the whole chain.

use super::chain::{Chain, KEYS, Members, NOW, certificate, header};
use crate::{LightError, SetChangeProof, TrustedState, advance, verify_header};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn members() -> impl Strategy<Value = Members> {
    proptest::collection::btree_map(0..KEYS.len(), 1..100u64, 1..5).prop_map(|map| map.into_iter().collect())
}

/// Blocks of a chain: most change nothing, some announce another set, also in neighbouring blocks.
fn chains() -> impl Strategy<Value = Chain> {
    (members(), proptest::collection::vec(proptest::option::weighted(0.3, members()), 4..16)).prop_map(
        |(genesis, blocks)| {
            let mut chain = Chain::new(genesis);
            for announces in blocks {
                chain.push(announces);
            }
            chain
        },
    )
}

/// Signed power and total power of a height: the oracle counts by itself.
fn powers(members: &Members, signers: &BTreeSet<usize>) -> (u128, u128) {
    let sum = |only: &dyn Fn(&usize) -> bool| {
        members.iter().filter(|(key, _)| only(key)).map(|(_, power)| u128::from(*power)).sum::<u128>()
    };
    (sum(&|key| signers.contains(key)), sum(&|_| true))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A client that is given the set changes accepts any header of the chain exactly when more than
    /// two thirds of the power of the height's own set signed it and nobody else did.
    #[test]
    fn acceptance_is_exactly_the_quorum_rule(
        chain in chains(),
        at in 0.0..1.0f64,
        signers in proptest::collection::btree_set(0..KEYS.len(), 0..7),
        only_members in any::<bool>(),
        forged in any::<bool>(),
    ) {
        let mut state = chain.trust();
        let last = chain.blocks.len() - 1;
        let number = 1 + ((last - 1) as f64 * at) as u32;
        for block in chain.blocks.iter().filter(|block| block.announces.is_some() && block.number < number) {
            advance(&mut state, &chain.proof(block.number), NOW).unwrap();
        }
        let members = chain.members_at(number);
        let signers: BTreeSet<usize> = if only_members {
            signers.into_iter().map(|key| members[key % members.len()].0).collect()
        } else {
            signers
        };
        let own = &chain.blocks[number as usize];
        // A forged block follows its parent, so that only the signatures decide.
        let bytes = if forged {
            header(number, chain.blocks[number as usize - 1].hash, [200; 32], vec![])
        } else {
            own.header.clone()
        };
        let hash = x0_crypto::blake2b_256(&bytes);
        let list: Vec<_> = signers.iter().copied().collect();
        let certificate = certificate(&chain.genesis, number, hash, &list).encode();
        let outcome = verify_header(&mut state, &bytes, &certificate, NOW);

        let (signed, total) = powers(members, &signers);
        let strangers = signers.iter().any(|signer| !members.iter().any(|(key, _)| key == signer));
        prop_assert_eq!(outcome.is_ok(), !strangers && signed * 3 > total * 2, "{:?}", outcome);
    }

    /// A peer that leaves changes out never makes the client take a set that was not announced: the
    /// client either follows with sets of the chain, or refuses.
    #[test]
    fn left_out_changes_mislead_nobody(chain in chains(), hidden in proptest::collection::vec(any::<bool>(), 16)) {
        let mut state = chain.trust();
        for block in chain.blocks.iter().filter(|block| block.announces.is_some()) {
            if hidden[block.number as usize % 16] {
                continue;
            }
            if advance(&mut state, &chain.proof(block.number), NOW).is_err() {
                break;
            }
        }
        for number in 1..=chain.blocks.len() as u32 + 2 {
            if let Ok(set) = state.set_at(number) {
                prop_assert!(chain.sets.iter().any(|(_, members)| super::chain::set(members) == *set));
            }
        }
        prop_assert!(state.conflict().is_none());
    }

    /// No bytes make a reader panic, and what it accepts it writes back.
    #[test]
    fn bytes_never_panic(at in 0usize..20_000, flip in 1u8.., cut in 0usize..20_000, junk in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut chain = Chain::new(vec![(0, 1), (1, 2), (2, 1)]);
        chain.push(Some(vec![(3, 1), (4, 1)]));
        let proof = chain.proof(1);
        let good = proof.encode();
        prop_assert_eq!(SetChangeProof::decode(&good).unwrap(), proof);
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(proof) = SetChangeProof::decode(&bytes) {
            let mut state = chain.trust();
            // A changed round or signature bit is refused as well: everything is signed or hashed.
            prop_assert!(advance(&mut state, &proof, NOW).is_err());
        }
        prop_assert!(SetChangeProof::decode(&good[..cut % good.len()]).is_err());
        prop_assert!(SetChangeProof::decode(&[&good[..], &[0]].concat()).is_err());
        if let Ok(proof) = SetChangeProof::decode(&junk) {
            prop_assert_eq!(proof.encode(), junk.clone());
        }
        let stored = chain.trust().to_bytes();
        let mut bytes = stored.clone();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let _ = TrustedState::from_bytes(&bytes);
        prop_assert!(TrustedState::from_bytes(&stored[..cut % stored.len()]).is_err());
        prop_assert!(matches!(TrustedState::from_bytes(&[9]), Err(LightError::Stored(_))));
    }
}
