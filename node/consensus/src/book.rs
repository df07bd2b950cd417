//! The validator sets of the heights at hand.

use crate::{
    chain::{Chain, ChainError},
    context::{Address, ValidatorSet},
};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use x0_limits::FUTURE_HEIGHTS_MAX;

struct Page {
    set: ValidatorSet,
    controllers: HashMap<Address, [u8; 32]>,
}

/// Sets by height, for the heights that are not final yet and whose sets the chain knows.
#[derive(Default)]
pub(crate) struct Book(RwLock<BTreeMap<u64, Page>>);

impl Book {
    /// Reads the sets that the state of the block at `head` knows, and forgets decided heights.
    pub(crate) async fn refresh(&self, chain: &dyn Chain, head: u64) -> Result<(), ChainError> {
        let mut pages = Vec::new();
        for height in head.saturating_add(1)..=head.saturating_add(FUTURE_HEIGHTS_MAX) {
            let validators = chain.validators(height).await?;
            let voters: Vec<_> = validators.iter().map(|validator| validator.voter.clone()).collect();
            let controllers = validators
                .iter()
                .map(|validator| (Address(validator.voter.public.fingerprint()), validator.controller))
                .collect();
            pages.push((height, Page { set: ValidatorSet::new(&voters)?, controllers }));
        }
        let mut book = self.0.write();
        book.extend(pages);
        book.retain(|height, _| *height > head);
        Ok(())
    }

    /// The set of a height.
    pub(crate) fn set(&self, height: u64) -> Option<ValidatorSet> {
        self.0.read().get(&height).map(|page| page.set.clone())
    }

    /// The account that answers for a validator at a height.
    pub(crate) fn controller(&self, height: u64, address: &Address) -> Option<[u8; 32]> {
        self.0.read().get(&height).and_then(|page| page.controllers.get(address).copied())
    }
}
