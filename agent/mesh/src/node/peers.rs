//! Whom the authority knows, by name, by overlay address and by a small number.

use super::{
    AuthorityView, Peer, Rights,
    filter::{Bucket, Filter, Judgement},
    overlay::overlay_address,
};
use crate::{NodeId, Time};
use std::net::Ipv6Addr;

/// Most peers that a node knows.
pub const PEERS_MAX: usize = 1024;
/// Most addresses of one peer.
pub const PEER_ADDRESSES_MAX: usize = 8;

/// Why a view of the authority is not taken over. The last one goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The view follows from an older block than the current one.
    #[error("a view of block {found}, the current one is of block {current}")]
    Older {
        /// Height of the view.
        found: u64,
        /// Height of the current view.
        current: u64,
    },
    /// Too many peers.
    #[error("{found} peers, at most {PEERS_MAX} are known")]
    TooManyPeers {
        /// Peers in the view.
        found: usize,
    },
    /// Too many addresses of a peer.
    #[error("{peer} has {found} addresses, at most {PEER_ADDRESSES_MAX} are kept")]
    TooManyAddresses {
        /// The peer.
        peer: NodeId,
        /// Its addresses in the view.
        found: usize,
    },
    /// A peer stands in the view twice.
    #[error("{peer} stands in the view twice")]
    Duplicate {
        /// The peer.
        peer: NodeId,
    },
    /// Two peers whose names share the bits that make the overlay address.
    #[error("{first} and {second} would have one overlay address")]
    SameAddress {
        /// One of them.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
}

/// Number of a peer while it is known: an index into [`Peers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerIx(pub(super) usize);

/// A peer that is known.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) peer: Peer,
    pub(super) address: Ipv6Addr,
    pub(super) judgement: Judgement,
    pub(super) bucket: Option<Bucket>,
}

impl Known {
    /// What the peer may do: the authority's rights less what rules take away.
    pub(super) fn rights(&self) -> Rights {
        let Rights { link, session, relay } = self.peer.rights;
        let passes = !self.judgement.denied && !self.judgement.quarantined;
        Rights { link: link && !self.judgement.denied, session: session && passes, relay: relay && passes }
    }
}

/// What a new view changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Peers that are gone or whose key changed, with their old numbers.
    pub(super) gone: Vec<(PeerIx, NodeId)>,
}

/// All known peers. Numbers are stable until the peer goes.
#[derive(Debug, Default)]
pub(super) struct Peers {
    height: Option<u64>,
    slots: Vec<Option<Known>>,
    /// Sorted by name.
    by_name: Vec<(NodeId, PeerIx)>,
    /// Sorted by overlay address.
    by_address: Vec<(Ipv6Addr, PeerIx)>,
}

impl Peers {
    /// Checks a view against every bound.
    fn check(&self, me: &NodeId, mesh_id: &[u8; 32], view: &AuthorityView) -> Result<(), AuthorityError> {
        if let Some(current) = self.height.filter(|height| view.height < *height) {
            return Err(AuthorityError::Older { found: view.height, current });
        }
        if view.peers.len() > PEERS_MAX {
            return Err(AuthorityError::TooManyPeers { found: view.peers.len() });
        }
        for peer in &view.peers {
            if peer.addresses.len() > PEER_ADDRESSES_MAX {
                return Err(AuthorityError::TooManyAddresses { peer: peer.id, found: peer.addresses.len() });
            }
        }
        let mut names: Vec<NodeId> = view.peers.iter().map(|peer| peer.id).chain([*me]).collect();
        names.sort_unstable();
        // The authority may name this node too; it is skipped later.
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1] && pair[0] != *me) {
            return Err(AuthorityError::Duplicate { peer: pair[0] });
        }
        names.dedup();
        // Sorted names with a common start stand side by side.
        let address = |name: &NodeId| overlay_address(mesh_id, name);
        match names.windows(2).find(|pair| address(&pair[0]) == address(&pair[1])) {
            Some(pair) => Err(AuthorityError::SameAddress { first: pair[0], second: pair[1] }),
            None => Ok(()),
        }
    }

    /// Takes over a view.
    pub(super) fn update(
        &mut self,
        me: &NodeId,
        mesh_id: &[u8; 32],
        view: AuthorityView,
        filter: &Filter,
        now: Time,
    ) -> Result<Changes, AuthorityError> {
        self.check(me, mesh_id, &view)?;
        self.height = Some(view.height);
        let mut changes = Changes::default();
        let mut keep = vec![false; self.slots.len()];
        let mut fresh = Vec::new();
        for peer in view.peers.into_iter().filter(|peer| peer.id != *me) {
            match self.find(&peer.id).and_then(|ix| self.slots.get_mut(ix.0).map(|slot| (ix, slot))) {
                Some((ix, Some(known))) if known.peer.key == peer.key => {
                    known.peer = peer;
                    keep[ix.0] = true;
                }
                _ => fresh.push(peer),
            }
        }
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if let Some(known) = slot.take_if(|_| !keep[number]) {
                changes.gone.push((PeerIx(number), known.peer.id));
            }
        }
        for peer in fresh {
            let address = overlay_address(mesh_id, &peer.id);
            let judgement = filter.judge(&peer.id);
            let bucket = judgement.limit.map(|(rate, burst)| Bucket::new(rate, burst, now));
            let known = Known { peer, address, judgement, bucket };
            match self.slots.iter().position(|slot| slot.is_none()) {
                Some(free) => self.slots[free] = Some(known),
                None => self.slots.push(Some(known)),
            }
        }
        self.sort();
        Ok(changes)
    }

    fn sort(&mut self) {
        self.by_name = self.iter().map(|(ix, known)| (known.peer.id, ix)).collect();
        self.by_name.sort_unstable();
        self.by_address = self.iter().map(|(ix, known)| (known.address, ix)).collect();
        self.by_address.sort_unstable();
    }

    /// Applies rules anew. A limit that did not change keeps its bucket, so that setting rules again
    /// does not refill it.
    pub(super) fn apply(&mut self, filter: &Filter, now: Time) {
        for known in self.slots.iter_mut().flatten() {
            let judgement = filter.judge(&known.peer.id);
            if judgement.limit != known.judgement.limit {
                known.bucket = judgement.limit.map(|(rate, burst)| Bucket::new(rate, burst, now));
            }
            known.judgement = judgement;
        }
    }

    /// The peer with this name.
    pub(super) fn find(&self, name: &NodeId) -> Option<PeerIx> {
        let at = self.by_name.binary_search_by_key(name, |(name, _)| *name).ok()?;
        self.by_name.get(at).map(|(_, ix)| *ix)
    }

    /// The peer with this overlay address.
    pub(super) fn at(&self, address: &Ipv6Addr) -> Option<PeerIx> {
        let at = self.by_address.binary_search_by_key(address, |(address, _)| *address).ok()?;
        self.by_address.get(at).map(|(_, ix)| *ix)
    }

    /// What is known of a peer.
    pub(super) fn get(&self, ix: PeerIx) -> Option<&Known> {
        self.slots.get(ix.0)?.as_ref()
    }

    /// As [`Peers::get`], to change.
    pub(super) fn get_mut(&mut self, ix: PeerIx) -> Option<&mut Known> {
        self.slots.get_mut(ix.0)?.as_mut()
    }

    /// Everybody, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerIx, &Known)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| slot.as_ref().map(|known| (PeerIx(number), known)))
    }

    /// Height of the current view.
    pub(super) fn height(&self) -> Option<u64> {
        self.height
    }

    /// Whether a frame of this many bytes from a peer keeps to its rate limit.
    pub(super) fn within_limit(&mut self, ix: PeerIx, bytes: usize, now: Time) -> bool {
        let bucket = self.get_mut(ix).and_then(|known| known.bucket.as_mut());
        bucket.is_none_or(|bucket| bucket.take(bytes, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_crypto::{Seed, SigningKey};

    const ME: NodeId = NodeId([0; 32]);

    fn peer(name: u8, seed: u8) -> Peer {
        let key = SigningKey::from_seed(&Seed::from_bytes([seed; 32])).unwrap().public().clone();
        Peer { id: NodeId([name; 32]), key, addresses: Vec::new(), trust_q16: 65_536, rights: Rights::ALL }
    }

    fn update(peers: &mut Peers, height: u64, list: Vec<Peer>) -> Result<Vec<NodeId>, AuthorityError> {
        let view = AuthorityView { height, peers: list };
        let changes = peers.update(&ME, &[7; 32], view, &Filter::default(), Time(0))?;
        Ok(changes.gone.into_iter().map(|(_, name)| name).collect())
    }

    #[test]
    fn a_peer_keeps_its_number_until_it_goes_and_a_new_key_is_a_new_peer() {
        let mut peers = Peers::default();
        update(&mut peers, 1, vec![peer(1, 1), peer(2, 2)]).unwrap();
        let second = peers.find(&NodeId([2; 32])).unwrap();
        assert_eq!(update(&mut peers, 2, vec![peer(2, 2), peer(3, 3)]).unwrap(), [NodeId([1; 32])]);
        assert_eq!(peers.find(&NodeId([2; 32])), Some(second));
        assert_eq!(peers.find(&NodeId([1; 32])), None);
        assert_eq!(update(&mut peers, 2, vec![peer(2, 9), peer(3, 3)]).unwrap(), [NodeId([2; 32])]);
        let address = peers.get(peers.find(&NodeId([2; 32])).unwrap()).unwrap().address;
        assert_eq!(peers.at(&address), peers.find(&NodeId([2; 32])));
        assert_eq!(peers.at(&overlay_address(&[7; 32], &NodeId([1; 32]))), None);
    }

    #[test]
    fn a_view_that_breaks_a_bound_changes_nothing() {
        let mut peers = Peers::default();
        update(&mut peers, 5, vec![peer(1, 1)]).unwrap();
        let mut alike = peer(1, 2);
        alike.id.0[31] = 9;
        let mut far = peer(3, 3);
        far.addresses = vec![(crate::node::UnderlayId(0), "127.0.0.1:1".parse().unwrap()); PEER_ADDRESSES_MAX + 1];
        let cases = [
            (4, vec![], AuthorityError::Older { found: 4, current: 5 }),
            (6, vec![peer(2, 2), peer(2, 3)], AuthorityError::Duplicate { peer: NodeId([2; 32]) }),
            (
                6,
                vec![peer(1, 1), alike.clone()],
                AuthorityError::SameAddress { first: NodeId([1; 32]), second: alike.id },
            ),
            (6, vec![far], AuthorityError::TooManyAddresses { peer: NodeId([3; 32]), found: PEER_ADDRESSES_MAX + 1 }),
            (6, vec![peer(1, 1); PEERS_MAX + 1], AuthorityError::TooManyPeers { found: PEERS_MAX + 1 }),
        ];
        for (height, list, error) in cases {
            assert_eq!(update(&mut peers, height, list).unwrap_err(), error);
            assert_eq!((peers.iter().count(), peers.height()), (1, Some(5)));
        }
    }

    #[test]
    fn this_node_is_no_peer_of_its_own() {
        let mut peers = Peers::default();
        update(&mut peers, 1, vec![peer(0, 1), peer(1, 1)]).unwrap();
        assert_eq!(peers.find(&ME), None);
        assert_eq!(peers.iter().count(), 1);
    }

    #[test]
    fn rules_take_rights_away_and_never_give_them() {
        let mut peers = Peers::default();
        let rights = Rights { link: true, session: false, relay: true };
        update(&mut peers, 1, vec![Peer { rights, trust_q16: 32_768, ..peer(1, 1) }]).unwrap();
        let at = peers.find(&NodeId([1; 32])).unwrap();
        let id = NodeId([1; 32]);
        assert_eq!(peers.get(at).unwrap().rights(), rights);
        let judged = |rule| {
            let mut peers = Peers::default();
            update(&mut peers, 1, vec![Peer { rights, ..peer(1, 1) }]).unwrap();
            peers.apply(&Filter::from_rules(&[rule]).unwrap(), Time(0));
            peers.get(at).unwrap().rights()
        };
        assert_eq!(judged(crate::node::Rule::Deny { peer: id }), Rights::default());
        assert_eq!(judged(crate::node::Rule::Quarantine { peer: id }), Rights { link: true, ..Rights::default() });
        assert_eq!(judged(crate::node::Rule::Prefer { peer: id, weight: 0 }), rights);
    }
}
