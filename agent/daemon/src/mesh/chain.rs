//! What the mesh needs of the chain: running deals, agents' keys and addresses, scores of rented nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use x0_agent_core::DealView;
use x0_client::{
    Client, ClientError, Head,
    rpc_types::{
        did::{Identity, Multikey},
        market::DealFilter,
    },
};
use x0_crypto::PublicKey;
use x0_types::{AccountId, KeyRole};

use super::view::{Person, RunningDeal};

/// Identities that are read for one block. More take turns, so that keys and revocations are some blocks late there.
const PEOPLE_PER_BLOCK: usize = 64;
/// Requests at once.
const REQUESTS_AT_ONCE: usize = 16;
/// How long a score is used before it is read again: scores change with epochs.
const SCORE_LIFE: Duration = Duration::from_secs(60);

/// Reads for one agent, and remembers whose turn it is.
#[derive(Debug, Default)]
pub struct Reader {
    scores: BTreeMap<AccountId, (u32, Instant)>,
    /// The last account that was read.
    last: Option<AccountId>,
}

/// The running deals of this node, and those whose manifest names it.
///
/// # Errors
/// Those of the client.
pub async fn running_deals(
    client: &Client,
    head: Head,
    me: &AccountId,
    own: Option<&Identity>,
    on_this_node: &[DealView],
) -> Result<Vec<RunningDeal>, ClientError> {
    let mut deals: BTreeMap<u64, RunningDeal> =
        on_this_node.iter().filter(|deal| deal.node == *me).filter_map(running).collect();
    // An agent's renter is who controls it: deals of others that name it are no wish of its owner.
    if let Some(own) = own.filter(|own| !own.revoked) {
        let filter = DealFilter { renter: Some(own.controller.clone()), live: true, ..DealFilter::default() };
        for deal in client.deals_at(&filter, Some(head.hash)).await? {
            let view = crate::follow::deal_view(deal)?;
            deals.extend(running(&view).filter(|(_, deal)| deal.agents.contains(me)));
        }
    }
    Ok(deals.into_values().collect())
}

fn running(deal: &DealView) -> Option<(u64, RunningDeal)> {
    let DealView { id, node, state, mesh, agents } = deal;
    let running = RunningDeal { id: *id, node: node.clone(), mesh: mesh.0, agents: agents.clone() };
    state.is_running().then_some((*id, running))
}

impl Reader {
    /// Brings what is known of these accounts up to date, and forgets everybody else.
    ///
    /// # Errors
    /// Those of the client.
    pub async fn refresh(
        &mut self,
        client: &Client,
        head: Head,
        wanted: &BTreeSet<AccountId>,
        rented: &BTreeSet<AccountId>,
        people: &mut BTreeMap<AccountId, Person>,
    ) -> Result<(), ClientError> {
        people.retain(|account, _| wanted.contains(account));
        self.scores.retain(|account, _| wanted.contains(account));
        let turn = self.turn(wanted, people);
        for accounts in turn.chunks(REQUESTS_AT_ONCE) {
            let read = accounts.iter().map(|account| client.identity_at(account, Some(head.hash)));
            for (account, identity) in accounts.iter().zip(try_join_all(read).await?) {
                match identity.and_then(|identity| person(&identity)) {
                    Some(person) => drop(people.insert(account.clone(), person)),
                    None => drop(people.remove(account)),
                }
            }
        }
        for (account, person) in people.iter_mut() {
            if rented.contains(account) {
                person.score_ppm = self.score(client, account).await?;
            }
        }
        Ok(())
    }

    /// Whose identity is read now: everybody whose key is missing first, then the others in turn.
    fn turn(&mut self, wanted: &BTreeSet<AccountId>, people: &BTreeMap<AccountId, Person>) -> Vec<AccountId> {
        let missing = wanted.iter().filter(|account| !people.contains_key(*account));
        let known = |account: &&AccountId| people.contains_key(*account);
        let after = wanted.iter().filter(|account| self.last.as_ref().is_none_or(|last| *account > last)).filter(known);
        let before =
            wanted.iter().filter(|account| self.last.as_ref().is_some_and(|last| *account <= last)).filter(known);
        let turn: Vec<AccountId> = missing.chain(after).chain(before).take(PEOPLE_PER_BLOCK).cloned().collect();
        self.last = turn.iter().rfind(|account| people.contains_key(*account)).cloned().or(self.last.take());
        turn
    }

    async fn score(&mut self, client: &Client, account: &AccountId) -> Result<u32, ClientError> {
        if let Some((score, read)) = self.scores.get(account)
            && read.elapsed() < SCORE_LIFE
        {
            return Ok(*score);
        }
        let explained = client.explain_trust(account).await?;
        let score = explained.map_or(0, |explained| explained.reading.score_ppm);
        self.scores.insert(account.clone(), (score, Instant::now()));
        Ok(score)
    }
}

/// An identity's agent; none when it is revoked or has no agent key that reads.
fn person(identity: &Identity) -> Option<Person> {
    let key = identity.keys.iter().find(|key| key.role == KeyRole::Agent).filter(|_| !identity.revoked)?;
    let key = match Multikey::from_text(&key.public_key_multibase) {
        Ok(Multikey::MlDsa65(bytes)) => PublicKey::from(bytes),
        Ok(Multikey::MlKem768(_)) | Err(_) => return None,
    };
    let endpoint = identity.endpoint.as_ref().and_then(|endpoint| endpoint.parse().ok());
    Some(Person { key, endpoint, score_ppm: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_crypto::SigningKey;

    /// Everybody is read again and again, however many there are, and who is missing first.
    #[test]
    fn identities_take_turns() {
        let key = SigningKey::generate().unwrap().public().clone();
        let person = Person { key, endpoint: None, score_ppm: 0 };
        let wanted: BTreeSet<AccountId> = (0..150u8).map(|byte| AccountId::new([byte; 32])).collect();
        let mut people: BTreeMap<_, _> = wanted.iter().map(|account| (account.clone(), person.clone())).collect();
        let lost = AccountId::new([149; 32]);
        people.remove(&lost);
        let mut reader = Reader::default();
        let mut read = BTreeSet::new();
        for _ in 0..3 {
            let turn = reader.turn(&wanted, &people);
            assert_eq!((turn.len(), &turn[0]), (PEOPLE_PER_BLOCK, &lost));
            read.extend(turn);
        }
        assert_eq!(read, wanted);
    }
}
