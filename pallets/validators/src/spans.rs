//! Which consensus key a validator had at which height, so that it can be held to what it signed.

use crate::{Config, Error, KeySpan, KeySpans, Pallet, Proposer, Proposers, Spans, Validator};
use frame_support::ensure;
use sp_runtime::DispatchResult;
use x0_types::{AccountId, BlockNumber, MlDsa65PublicKey};

impl<T: Config> Pallet<T> {
    /// The consensus key that a validator had at a height up to the present one; `None` if it did not
    /// stand in the set then, or if that is longer ago than [`x0_limits::EVIDENCE_AGE_BLOCKS_MAX`].
    #[must_use]
    pub fn consensus_key_at(controller: &AccountId, height: BlockNumber) -> Option<MlDsa65PublicKey> {
        let now = Self::height();
        if height > now || height < oldest(now) {
            return None;
        }
        Spans::<T>::get(controller)
            .into_iter()
            .find(|span| span.from <= height && span.until.is_none_or(|until| height < until))
            .map(|span| span.key)
    }

    /// Refuses changes that would push a key out of the memory before its time.
    pub(crate) fn ensure_spans_fit(members: &[Validator]) -> DispatchResult {
        let latest = Self::latest();
        // Each height of the delay can still end a span and begin another.
        let room = x0_limits::KEY_SPANS_MAX.saturating_sub(x0_limits::VALIDATOR_SET_DELAY_BLOCKS);
        for member in members {
            let stays = |before: &Validator| {
                before.controller == member.controller && before.consensus_key == member.consensus_key
            };
            if !latest.iter().any(stays) {
                let mut spans = Spans::<T>::get(&member.controller);
                forget_old(&mut spans, Self::height());
                ensure!(spans.len() < room as usize, Error::<T>::TooManyKeyChanges);
            }
        }
        Ok(())
    }

    /// Ends and begins spans as a set comes into force in the place of another.
    pub(crate) fn note_spans(old: &[Validator], new: &[Validator]) {
        let now = Self::height();
        let same = |set: &[Validator], one: &Validator| {
            set.iter().any(|other| other.controller == one.controller && other.consensus_key == one.consensus_key)
        };
        for member in old.iter().filter(|member| !same(new, member)) {
            Spans::<T>::mutate(&member.controller, |spans| {
                if let Some(last) = spans.last_mut() {
                    last.until = Some(now);
                }
            });
        }
        for member in new.iter().filter(|member| !same(old, member)) {
            Spans::<T>::mutate(&member.controller, |spans| {
                forget_old(spans, now);
                if spans.is_full() {
                    // Changes are refused while there is no room, so this does not happen.
                    spans.remove(0);
                }
                let span = KeySpan { key: member.consensus_key.clone(), from: now, until: None };
                // There is room now.
                drop(spans.try_push(span));
            });
        }
    }

    /// Begins to count the blocks of validators that are new.
    pub(crate) fn note_proposers(members: &[Validator]) {
        let since = Self::height();
        for member in members.iter().filter(|member| !Proposers::<T>::contains_key(&member.controller)) {
            Proposers::<T>::insert(&member.controller, Proposer { since, blocks: 0, last: 0 });
        }
    }
}

/// The oldest height that evidence may be about.
const fn oldest(now: BlockNumber) -> BlockNumber {
    now.saturating_sub(x0_limits::EVIDENCE_AGE_BLOCKS_MAX)
}

/// Drops spans that ended before evidence about them counts.
fn forget_old(spans: &mut KeySpans, now: BlockNumber) {
    spans.retain(|span| span.until.is_none_or(|until| until > oldest(now)));
}
