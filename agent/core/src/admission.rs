//! Whom this node serves, derived from the deals on chain.

use std::collections::BTreeSet;
use x0_limits::{AGENT_DEALS_MAX, MANIFEST_AGENTS_MAX};
use x0_types::{
    AccountId, Hash,
    deal::DealState,
    market::DealId,
    probe::{Admission, admissions_hash},
};

/// What the chain says about the deals of a node as of one finalised block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainView {
    /// Height of the finalised block.
    pub height: u32,
    /// Deals of this node. Deals of other nodes and deals that are over may be among them.
    pub deals: Vec<DealView>,
}

/// What the agent needs to know of one deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealView {
    /// The deal.
    pub id: DealId,
    /// The node that is rented.
    pub node: AccountId,
    /// Where the deal stands.
    pub state: DealState,
    /// The renter's mesh.
    pub mesh: Hash,
    /// The renter's agents.
    pub agents: Vec<AccountId>,
}

/// Why a view of the chain is not taken over. The chain keeps these bounds itself, so a view that
/// breaks one comes from a server that is broken or lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The node has more running deals than the chain allows.
    #[error("{found} running deals on this node, the chain allows {AGENT_DEALS_MAX}")]
    TooManyDeals {
        /// Running deals in the view.
        found: usize,
    },
    /// A deal names more agents than the chain allows.
    #[error("deal {deal} names {found} agents, the chain allows {MANIFEST_AGENTS_MAX}")]
    TooManyAgents {
        /// The deal.
        deal: DealId,
        /// Agents that it names.
        found: usize,
    },
    /// The view holds a running deal twice.
    #[error("deal {deal} stands in the view twice")]
    DuplicateDeal {
        /// The deal.
        deal: DealId,
    },
}

/// The deals whose agents this node admits now, in canonical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionList {
    admissions: Vec<Admission>,
    agents: BTreeSet<AccountId>,
    hash: Hash,
}

impl Default for AdmissionList {
    /// Admits nobody.
    fn default() -> Self {
        Self::from_admissions(Vec::new())
    }
}

impl AdmissionList {
    /// The admission list of `node` by this view: its deals that are Active or Suspect.
    ///
    /// # Errors
    /// [`ViewError`] when the view breaks a bound of the chain.
    pub fn from_view(node: &AccountId, view: &ChainView) -> Result<Self, ViewError> {
        let running: Vec<&DealView> =
            view.deals.iter().filter(|deal| deal.node == *node && deal.state.is_running()).collect();
        if running.len() > AGENT_DEALS_MAX {
            return Err(ViewError::TooManyDeals { found: running.len() });
        }
        let agents_max = usize::try_from(MANIFEST_AGENTS_MAX).unwrap_or(usize::MAX);
        let mut admissions = Vec::with_capacity(running.len());
        for deal in running {
            if deal.agents.len() > agents_max {
                return Err(ViewError::TooManyAgents { deal: deal.id, found: deal.agents.len() });
            }
            let agents: BTreeSet<AccountId> = deal.agents.iter().cloned().collect();
            admissions.push(Admission { deal: deal.id, mesh: deal.mesh, agents: agents.into_iter().collect() });
        }
        admissions.sort_unstable_by_key(|admission| admission.deal);
        if let Some(pair) = admissions.windows(2).find(|pair| pair[0].deal == pair[1].deal) {
            return Err(ViewError::DuplicateDeal { deal: pair[0].deal });
        }
        Ok(Self::from_admissions(admissions))
    }

    fn from_admissions(admissions: Vec<Admission>) -> Self {
        let agents = admissions.iter().flat_map(|admission| admission.agents.iter().cloned()).collect();
        let hash = admissions_hash(&admissions);
        Self { admissions, agents, hash }
    }

    /// Whether this agent may peer and relay now.
    #[must_use]
    pub fn admits(&self, agent: &AccountId) -> bool {
        self.agents.contains(agent)
    }

    /// One entry for each running deal, sorted by deal; agents sorted, each once.
    #[must_use]
    pub fn admissions(&self) -> &[Admission] {
        &self.admissions
    }

    /// The hash that receipts carry: [`admissions_hash`] of the list.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATES: [DealState; 9] = [
        DealState::Funded,
        DealState::Active,
        DealState::Suspect,
        DealState::Frozen,
        DealState::Completed,
        DealState::Cancelled,
        DealState::Exhausted,
        DealState::Failed,
        DealState::Expired,
    ];

    fn account(byte: u8) -> AccountId {
        AccountId::new([byte; 32])
    }

    fn deal(id: DealId, node: u8, state: DealState, agents: &[u8]) -> DealView {
        DealView {
            id,
            node: account(node),
            state,
            mesh: Hash::repeat_byte(1),
            agents: agents.iter().map(|byte| account(*byte)).collect(),
        }
    }

    #[test]
    fn an_agent_is_admitted_from_confirmation_to_end_and_at_no_other_time() {
        for state in STATES {
            let view = ChainView { height: 1, deals: vec![deal(1, 9, state, &[1, 2])] };
            let list = AdmissionList::from_view(&account(9), &view).unwrap();
            let expected = matches!(state, DealState::Active | DealState::Suspect);
            assert_eq!(list.admits(&account(1)), expected, "{state:?}");
            assert_eq!(list.admissions().len(), usize::from(expected));
        }
    }

    #[test]
    fn a_view_that_breaks_a_bound_of_the_chain_is_refused() {
        let many = |count: u64| ChainView {
            height: 1,
            deals: (0..count).map(|id| deal(id, 9, DealState::Active, &[1])).collect(),
        };
        assert!(AdmissionList::from_view(&account(9), &many(32)).is_ok());
        assert_eq!(AdmissionList::from_view(&account(9), &many(33)), Err(ViewError::TooManyDeals { found: 33 }));
        let crowd: Vec<u8> = (0..17).collect();
        let view = ChainView { height: 1, deals: vec![deal(5, 9, DealState::Active, &crowd)] };
        assert_eq!(AdmissionList::from_view(&account(9), &view), Err(ViewError::TooManyAgents { deal: 5, found: 17 }));
        let twice = deal(5, 9, DealState::Active, &[1]);
        let view = ChainView { height: 1, deals: vec![twice.clone(), twice] };
        assert_eq!(AdmissionList::from_view(&account(9), &view), Err(ViewError::DuplicateDeal { deal: 5 }));
    }

    proptest! {
        /// The list says what a plain search over the deals says, in whatever order they come.
        #[test]
        fn the_list_agrees_with_a_plain_search(
            deals in proptest::collection::vec((0u8..3, 0usize..9, proptest::collection::vec(0u8..12, 0..6)), 0..12),
            turn in 0usize..12,
        ) {
            let mut deals: Vec<DealView> = deals
                .iter()
                .enumerate()
                .map(|(id, (node, state, agents))| deal(id as u64, *node, STATES[*state], agents))
                .collect();
            let list = AdmissionList::from_view(&account(1), &ChainView { height: 1, deals: deals.clone() }).unwrap();
            for agent in 0..12 {
                let expected = deals.iter().any(|deal| {
                    deal.node == account(1)
                        && (deal.state == DealState::Active || deal.state == DealState::Suspect)
                        && deal.agents.contains(&account(agent))
                });
                prop_assert_eq!(list.admits(&account(agent)), expected);
            }
            let middle = turn.min(deals.len());
            deals.rotate_left(middle);
            for deal in &mut deals {
                deal.agents.reverse();
            }
            prop_assert_eq!(list, AdmissionList::from_view(&account(1), &ChainView { height: 2, deals }).unwrap());
        }
    }
}
