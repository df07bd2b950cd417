//! What must hold after every block.

use crate::{
    Approvals, Barred, Candidates, Config, Current, KeySpan, NextProposal, OpenProposals, Pallet, Powers, Proposals,
    Proposers, Spans, Upcoming, Validator,
};
use std::collections::BTreeSet;

impl<T: Config> Pallet<T> {
    /// Checks every rule that the storage of this module keeps. For tests and for try-runtime.
    ///
    /// # Errors
    /// The broken rule, in words.
    pub fn check_invariants() -> Result<(), &'static str> {
        let current = Current::<T>::get();
        let powers: Vec<_> = current.iter().map(|one| (one.controller.clone(), one.power)).collect();
        if powers != Powers::<T>::get().into_inner() {
            return Err("validators: powers differ from the current set");
        }
        Self::check_set(&current)?;
        let mut last = Self::height();
        for set in Upcoming::<T>::get() {
            if set.from <= last {
                return Err("validators: upcoming sets are out of order or overdue");
            }
            last = set.from;
            Self::check_set(&set.validators)?;
        }
        if last > Self::height().saturating_add(x0_limits::VALIDATOR_SET_DELAY_BLOCKS) {
            return Err("validators: a set lies further ahead than the delay");
        }
        Self::check_members()?;
        Self::check_spans(&current)?;
        Self::check_proposals()
    }

    fn check_members() -> Result<(), &'static str> {
        let latest = Self::latest();
        if latest.iter().any(|member| Barred::<T>::contains_key(&member.controller)) {
            return Err("validators: a barred validator is to stand in the set");
        }
        let candidates = Candidates::<T>::get();
        let unique: BTreeSet<_> = candidates.iter().collect();
        if unique.len() != candidates.len() {
            return Err("validators: a candidate is listed twice");
        }
        if candidates.iter().any(|one| latest.iter().any(|member| member.controller == *one)) {
            return Err("validators: a validator is listed as a candidate");
        }
        if Powers::<T>::get().iter().any(|(controller, _)| !Proposers::<T>::contains_key(controller)) {
            return Err("validators: a validator's blocks are not counted");
        }
        Ok(())
    }

    fn check_spans(current: &[Validator]) -> Result<(), &'static str> {
        for member in current {
            let spans = Spans::<T>::get(&member.controller);
            if spans.last().is_none_or(|span| span.until.is_some() || span.key != member.consensus_key) {
                return Err("validators: the last span of a validator does not hold its key");
            }
        }
        for (controller, spans) in Spans::<T>::iter() {
            let ended = |span: &KeySpan| span.until.is_some_and(|until| span.from < until);
            let is_member = current.iter().any(|member| member.controller == controller);
            let (last, before) = spans.split_last().ok_or("validators: an account with no span")?;
            if !before.iter().all(ended) || (!is_member && !ended(last)) {
                return Err("validators: a span that is over does not end");
            }
            let in_order =
                |pair: &[KeySpan]| matches!(pair, [left, right] if left.until.is_some_and(|until| until <= right.from));
            if !spans.windows(2).all(in_order) {
                return Err("validators: spans overlap");
            }
        }
        Ok(())
    }

    fn check_proposals() -> Result<(), &'static str> {
        let open = OpenProposals::<T>::get();
        let powers = Powers::<T>::get();
        if !open.windows(2).all(|pair| matches!(pair, [a, b] if a.number < b.number && a.expires_at <= b.expires_at)) {
            return Err("validators: open proposals are out of order");
        }
        if Proposals::<T>::iter().count() != open.len() || Approvals::<T>::iter().count() != open.len() {
            return Err("validators: the open proposals are not the listed ones");
        }
        for entry in &open {
            let proposal = Proposals::<T>::get(entry.number).ok_or("validators: a listed proposal is not open")?;
            if proposal.opener != entry.opener || proposal.expires_at != entry.expires_at {
                return Err("validators: a proposal differs from its entry in the list");
            }
            if entry.number >= NextProposal::<T>::get() {
                return Err("validators: a proposal has a number of the future");
            }
            let approvals = Approvals::<T>::get(entry.number);
            let unique: BTreeSet<_> = approvals.iter().collect();
            if approvals.is_empty() || unique.len() != approvals.len() {
                return Err("validators: a proposal without approvals, or with one twice");
            }
            if approvals.iter().any(|one| !powers.iter().any(|(controller, _)| controller == one)) {
                return Err("validators: an approval of somebody outside the set");
            }
            let own = open.iter().filter(|other| other.opener == entry.opener).count();
            if own > x0_limits::PROPOSALS_PER_VALIDATOR_MAX as usize {
                return Err("validators: a validator opened too many proposals");
            }
        }
        Ok(())
    }

    fn check_set(set: &[Validator]) -> Result<(), &'static str> {
        if set.is_empty() {
            return Err("validators: an empty set");
        }
        let mut keys = BTreeSet::new();
        let mut controllers = BTreeSet::new();
        let mut total = 0u64;
        for one in set {
            if !keys.insert(one.consensus_key.fingerprint()) || !controllers.insert(one.controller.clone()) {
                return Err("validators: a key or a controller stands twice in a set");
            }
            if one.power == 0 || one.power > x0_limits::VALIDATOR_POWER_MAX {
                return Err("validators: a power is out of range");
            }
            total = total.checked_add(one.power).ok_or("validators: the sum of powers overflows")?;
        }
        if total > i64::MAX.unsigned_abs() {
            return Err("validators: the sum of powers leaves no room for thirds");
        }
        Ok(())
    }
}
