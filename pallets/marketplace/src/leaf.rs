//! What a light client proves about an ended deal.

use sp_runtime::SaturatedConversion as _;
use x0_types::{
    deal::{DealLeaf, LeafEvidence},
    market::DealId,
};

use crate::{Config, Deal, Leaves, Pallet};

impl<T: Config> Pallet<T> {
    /// The key in state under which the leaf of an ended deal stands: what a state proof is asked for.
    #[must_use]
    pub fn leaf_key(id: DealId) -> Vec<u8> {
        Leaves::<T>::hashed_key_for(id)
    }

    /// The leaf of a deal that is paid out.
    pub(crate) fn leaf_of(deal: &Deal<T::AccountId>) -> Option<DealLeaf<T::AccountId>> {
        let (frozen, outcome) = (deal.frozen.as_ref()?, deal.outcome?);
        let counts = frozen.counts;
        Some(DealLeaf {
            version: DealLeaf::<T::AccountId>::VERSION,
            renter: deal.renter.clone(),
            provider: deal.provider.clone(),
            node: deal.node.clone(),
            manifest_hash: deal.manifest_hash,
            rate: deal.rate,
            deposit: deal.deposit,
            bond: deal.posted_bond(),
            state: deal.state,
            reason_code: frozen.reason.code(),
            slot: frozen.slot,
            height: frozen.height,
            paid_height: frame_system::Pallet::<T>::block_number().saturated_into(),
            slots: [counts.slots, counts.bad, counts.unknown, counts.void],
            outcome,
            evidence: frozen.evidence.as_ref().map(|run| LeafEvidence {
                since_slot: run.since_slot,
                run: run.run,
                validators: run.validators,
                reporters: run.reporters.clone(),
            }),
        })
    }
}
