//! The validator sets of the heights at hand.

use crate::{
    chain::{Chain, ChainError},
    context::{Address, Height, ValidatorSet, proposer},
    turns,
};
use malachite_core_types::{Round, Validator as _};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use x0_limits::{FUTURE_HEIGHTS_MAX, WITNESS_HEIGHTS_KEPT};

struct Page {
    set: ValidatorSet,
    controllers: HashMap<Address, [u8; 32]>,
}

#[derive(Default)]
struct Pages {
    head: u64,
    by_height: BTreeMap<u64, Page>,
}

/// Sets by height: of the heights that are not final yet and whose sets the chain knows, and of the last final ones,
/// for late proof of contradictions.
#[derive(Default)]
pub(crate) struct Book(RwLock<Pages>);

impl Book {
    /// Reads the sets that the state of the block at `head` knows, and forgets old heights.
    pub(crate) async fn refresh(&self, chain: &dyn Chain, head: u64) -> Result<(), ChainError> {
        let mut read = Vec::new();
        for height in head.saturating_add(1)..=head.saturating_add(FUTURE_HEIGHTS_MAX) {
            let validators = chain.validators(height).await?;
            let voters: Vec<_> = validators.iter().map(|validator| validator.voter.clone()).collect();
            let mut set = ValidatorSet::new(&voters)?;
            // Whose turns count at a height follows from the block before it, so that only the next height's turns are known.
            if height == head.saturating_add(1) {
                let authors = chain.authors(turns::window(validators.len())).await?;
                let controllers: Vec<_> = validators.iter().map(|validator| validator.controller).collect();
                set = set.with_benched(&turns::benched(height, &controllers, &authors));
            }
            let controllers = validators
                .iter()
                .map(|validator| (Address(validator.voter.public.fingerprint()), validator.controller))
                .collect();
            read.push((height, Page { set, controllers }));
        }
        let mut pages = self.0.write();
        pages.head = head;
        pages.by_height.extend(read);
        pages.by_height.retain(|height, _| *height > head.saturating_sub(WITNESS_HEIGHTS_KEPT));
        Ok(())
    }

    /// The set of a height that is not final.
    pub(crate) fn set(&self, height: u64) -> Option<ValidatorSet> {
        let pages = self.0.read();
        pages.by_height.get(&height).filter(|_| height > pages.head).map(|page| page.set.clone())
    }

    /// The set of any height at hand, final or not.
    pub(crate) fn any_set(&self, height: u64) -> Option<ValidatorSet> {
        self.0.read().by_height.get(&height).map(|page| page.set.clone())
    }

    /// Whether this validator may propose in this round. At heights whose turns are not known yet every validator
    /// may, as far as this node can tell.
    pub(crate) fn may_propose(&self, height: u64, round: Round, address: &Address) -> bool {
        let pages = self.0.read();
        let Some(page) = pages.by_height.get(&height).filter(|_| height > pages.head) else { return false };
        if pages.head.checked_add(1) == Some(height) {
            proposer(&page.set, Height(height), round).address() == address
        } else {
            page.set.contains(address)
        }
    }

    /// The account that answers for a validator at a height at hand.
    pub(crate) fn controller(&self, height: u64, address: &Address) -> Option<[u8; 32]> {
        self.0.read().by_height.get(&height).and_then(|page| page.controllers.get(address).copied())
    }
}
