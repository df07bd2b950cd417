//! The pool against a model: random submissions, blocks, expiries and removals.

use super::*;
use proptest::prelude::*;

const ACCOUNTS: u8 = 4;
const LIMITS: Limits = Limits { count: 12, bytes: 300, per_account: 6 };

#[derive(Clone, Debug)]
enum Step {
    Submit {
        account: u8,
        nonce: Nonce,
        tip: Balance,
        priority: u64,
        bytes: usize,
        expires_at: BlockNumber,
    },
    /// A block with the first transactions of the ready list.
    Block {
        take: usize,
    },
    /// A block with transactions that came past this pool.
    Foreign {
        account: u8,
        count: Nonce,
    },
    Remove {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..ACCOUNTS, 0u32..12, 0u128..4, 0u64..5, 1usize..60, 1u32..30).prop_map(
            |(account, nonce, tip, priority, bytes, expires_at)| Step::Submit { account, nonce, tip, priority, bytes, expires_at }
        ),
        2 => (0usize..5).prop_map(|take| Step::Block { take }),
        1 => (0..ACCOUNTS, 1u32..3).prop_map(|(account, count)| Step::Foreign { account, count }),
        1 => any::<usize>().prop_map(|which| Step::Remove { which }),
    ]
}

fn account(index: u8) -> AccountId {
    AccountId::new([index; 32])
}

#[derive(Default)]
struct Model {
    nonces: BTreeMap<AccountId, Nonce>,
    waiting: BTreeMap<Hash, Queued<()>>,
    was_ready: BTreeSet<Hash>,
    number: BlockNumber,
}

impl Model {
    fn nonce(&self, account: &AccountId) -> Nonce {
        self.nonces.get(account).copied().unwrap_or(0)
    }

    fn of(&self, account: &AccountId) -> BTreeMap<Nonce, &Queued<()>> {
        self.waiting.values().filter(|tx| tx.sender == *account).map(|tx| (tx.nonce, tx)).collect()
    }

    /// The account's transactions without a gap from its nonce on.
    fn ready(&self, account: &AccountId) -> Vec<&Queued<()>> {
        let queue = self.of(account);
        (self.nonce(account)..).map_while(|nonce| queue.get(&nonce).copied()).collect()
    }

    /// Applies what the pool says, and checks that it may say so.
    fn follow(&mut self, events: &[Event], submitted: Option<&Queued<()>>) {
        for event in events {
            match event {
                Event::Ready(hash) => drop(self.was_ready.insert(*hash)),
                Event::Future(_) => {}
                Event::Usurped { old, by } => {
                    let (old, by) = (self.waiting.remove(old).unwrap(), submitted.unwrap().hash == *by);
                    let new = submitted.unwrap();
                    assert!(by && old.tip < new.tip && old.nonce == new.nonce && old.sender == new.sender);
                }
                Event::Evicted(hash) => {
                    let victim = self.waiting.remove(hash).unwrap();
                    let last = self.of(&victim.sender).last_key_value().map(|(nonce, _)| *nonce);
                    assert!(last < Some(victim.nonce), "only the last of an account is evicted");
                }
                Event::Expired(hash) => assert!(self.waiting.remove(hash).unwrap().expires_at <= self.number),
                Event::Stale(hash) => {
                    let gone = self.waiting.remove(hash).unwrap();
                    assert!(gone.nonce < self.nonce(&gone.sender));
                }
                Event::Included(hash) => drop(self.waiting.remove(hash).unwrap()),
            }
        }
    }
}

fn run(step: Step, pool: &mut Pool<()>, model: &mut Model) {
    let mut events = Vec::new();
    match step {
        Step::Submit { account: index, nonce, tip, priority, bytes, expires_at } => {
            let mut name = [0; 32];
            name[..6].copy_from_slice(&[index, nonce as u8, tip as u8, priority as u8, bytes as u8, expires_at as u8]);
            let expires_at = model.number + expires_at;
            let tx = Queued {
                hash: name.into(),
                sender: account(index),
                nonce,
                tip,
                priority,
                bytes,
                expires_at,
                payload: (),
            };
            let known = model.waiting.contains_key(&tx.hash);
            let state_nonce = model.nonce(&tx.sender);
            let rival = model.of(&tx.sender).get(&nonce).map(|rival| rival.tip);
            let result = pool.insert(tx.clone(), state_nonce, &mut events);
            model.follow(&events, Some(&tx));
            match result {
                Ok(()) => {
                    assert!(!known && nonce >= state_nonce && rival.is_none_or(|rival| tip > rival));
                    model.waiting.insert(tx.hash, tx);
                }
                Err(PoolError::AlreadyKnown) => assert!(known),
                Err(PoolError::Stale { .. }) => assert!(nonce < state_nonce),
                Err(PoolError::TooFarAhead { .. }) => {
                    assert!(nonce as usize >= state_nonce as usize + LIMITS.per_account)
                }
                Err(PoolError::Underpriced { .. }) => assert!(tip <= rival.unwrap()),
                Err(PoolError::AccountFull { .. }) => assert_eq!(model.of(&tx.sender).len(), LIMITS.per_account),
                Err(PoolError::Full { .. }) => {
                    let used: usize = model.waiting.values().map(|tx| tx.bytes).sum();
                    assert!(model.waiting.len() == LIMITS.count || used + bytes > LIMITS.bytes);
                }
            }
        }
        Step::Block { take } => {
            model.number += 1;
            let block: Vec<_> = pool.ready(usize::MAX, take).into_iter().cloned().collect();
            for tx in &block {
                assert_eq!(tx.nonce, model.nonce(&tx.sender), "the block builder met a gap");
                model.nonces.insert(tx.sender.clone(), tx.nonce + 1);
            }
            pool.included(&block.iter().map(|tx| tx.hash).collect(), &mut events);
            pool.expire(model.number, &mut events);
            model.follow(&events, None);
        }
        Step::Foreign { account: index, count } => {
            let nonce = model.nonce(&account(index)) + count;
            model.nonces.insert(account(index), nonce);
            pool.advance(&account(index), nonce, &mut events);
            model.follow(&events, None);
        }
        Step::Remove { which } => {
            let Some(hash) = model.waiting.keys().nth(which % model.waiting.len().max(1)).copied() else { return };
            assert_eq!(pool.remove(&hash).unwrap().hash, hash);
            model.waiting.remove(&hash);
        }
    }
}

fn check(pool: &Pool<()>, model: &Model) {
    let waiting: BTreeSet<_> = pool.iter().map(|tx| tx.hash).collect();
    assert_eq!(waiting, model.waiting.keys().copied().collect());
    assert_eq!(pool.len(), model.waiting.len());
    assert_eq!(pool.bytes(), model.waiting.values().map(|tx| tx.bytes).sum::<usize>());
    assert!(pool.len() <= LIMITS.count && pool.bytes() <= LIMITS.bytes);
    let ready = pool.ready(usize::MAX, usize::MAX);
    let mut nonces = model.nonces.clone();
    for (place, tx) in ready.iter().enumerate() {
        let next = nonces.entry(tx.sender.clone()).or_default();
        assert_eq!(tx.nonce, *next, "the ready list has a gap");
        *next += 1;
        assert!(model.was_ready.contains(&tx.hash), "a ready transaction was never announced");
        // No other account's next transaction has a higher priority than the one chosen.
        for other in (0..ACCOUNTS).map(account).filter(|other| *other != tx.sender) {
            let taken = ready[..place].iter().filter(|tx| tx.sender == other).count();
            let best = model.ready(&other).get(taken).map(|tx| tx.priority);
            assert!(best <= Some(tx.priority), "a better transaction was overtaken");
        }
    }
    let expected: usize = (0..ACCOUNTS).map(|index| model.ready(&account(index)).len()).sum();
    assert_eq!((ready.len(), pool.ready_len()), (expected, expected));
    let fitting = pool.ready(100, 3);
    assert!(fitting.len() <= 3 && fitting.iter().map(|tx| tx.bytes).sum::<usize>() <= 100);
    for index in 0..ACCOUNTS {
        let account = account(index);
        let queue = model.of(&account);
        assert!(queue.len() <= LIMITS.per_account);
        let free = (model.nonce(&account)..).find(|nonce| !queue.contains_key(nonce)).unwrap();
        assert_eq!(pool.next_nonce(&account, model.nonce(&account)), free);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    /// Whatever comes in: no gap in the ready list, no limit exceeded, nothing lost or invented,
    /// and the better transaction first.
    #[test]
    fn the_pool_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut pool, mut model) = (Pool::new(LIMITS), Model::default());
        for step in steps {
            run(step, &mut pool, &mut model);
            check(&pool, &model);
        }
    }
}

fn queued(index: u8, nonce: Nonce, tip: Balance, priority: u64) -> Queued<()> {
    let mut name = [7; 32];
    name[..4].copy_from_slice(&[index, nonce as u8, tip as u8, priority as u8]);
    Queued { hash: name.into(), sender: account(index), nonce, tip, priority, bytes: 10, expires_at: 100, payload: () }
}

#[test]
fn a_replacement_needs_a_higher_tip() {
    let mut pool = Pool::new(LIMITS);
    let mut events = Vec::new();
    pool.insert(queued(1, 0, 5, 1), 0, &mut events).unwrap();
    let equal = pool.insert(queued(1, 0, 5, 9), 0, &mut events);
    assert_eq!(equal, Err(PoolError::Underpriced { nonce: 0, waiting: 5, offered: 5 }));
    events.clear();
    pool.insert(queued(1, 0, 6, 1), 0, &mut events).unwrap();
    assert_eq!(events[0], Event::Usurped { old: queued(1, 0, 5, 1).hash, by: queued(1, 0, 6, 1).hash });
    assert_eq!(pool.len(), 1);
}

#[test]
fn a_full_pool_gives_up_its_worst_for_a_better_one_only() {
    let mut pool = Pool::new(Limits { count: 3, ..LIMITS });
    let mut events = Vec::new();
    pool.insert(queued(1, 0, 0, 5), 0, &mut events).unwrap();
    pool.insert(queued(2, 3, 0, 9), 0, &mut events).unwrap();
    pool.insert(queued(3, 0, 0, 4), 0, &mut events).unwrap();
    events.clear();
    // A transaction that cannot be included yet goes before one that can, whatever its priority.
    pool.insert(queued(0, 0, 0, 1), 0, &mut events).unwrap();
    assert_eq!(events[0], Event::Evicted(queued(2, 3, 0, 9).hash));
    let refused = pool.insert(queued(2, 0, 0, 1), 0, &mut events);
    assert!(matches!(refused, Err(PoolError::Full { count: 3, .. })), "an equal one does not displace");
    events.clear();
    pool.insert(queued(2, 0, 0, 2), 0, &mut events).unwrap();
    assert_eq!(events[0], Event::Evicted(queued(0, 0, 0, 1).hash));
}

#[test]
fn transactions_of_one_account_wait_for_the_missing_one() {
    let mut pool = Pool::new(LIMITS);
    let mut events = Vec::new();
    for nonce in [4, 3, 5] {
        pool.insert(queued(1, nonce, 0, 1), 2, &mut events).unwrap();
    }
    assert_eq!((pool.ready_len(), pool.next_nonce(&account(1), 2)), (0, 2));
    events.clear();
    pool.insert(queued(1, 2, 0, 1), 2, &mut events).unwrap();
    let expected: Vec<_> = (2..=5).map(|nonce| Event::Ready(queued(1, nonce, 0, 1).hash)).collect();
    assert_eq!(events, expected);
    assert_eq!((pool.ready_len(), pool.next_nonce(&account(1), 2)), (4, 6));
}

/// A full pool names the tip below which a newcomer needs no check; one that it would take is never held off.
#[test]
fn a_full_pool_names_the_price_of_entry() {
    let queued = |which: u8, nonce, tip: Balance| Queued {
        hash: Hash::from_low_u64_be(u64::from(which) << 32 | u64::from(nonce)),
        sender: account(which),
        nonce,
        tip,
        priority: u64::try_from(tip).unwrap(),
        bytes: 10,
        expires_at: 100,
        payload: (),
    };
    let mut pool = Pool::new(Limits { count: 3, bytes: 1_000, per_account: 6 });
    let mut events = Vec::new();
    for (which, tip) in [(0, 5), (1, 3)] {
        pool.insert(queued(which, 0, tip), 0, &mut events).unwrap();
        assert_eq!(pool.entry_tip(10), None, "there is room");
    }
    assert_eq!(pool.entry_tip(981), Some(3), "no room for so many bytes");
    pool.insert(queued(2, 0, 4), 0, &mut events).unwrap();
    assert_eq!(pool.entry_tip(10), Some(3));
    pool.insert(queued(3, 0, 3), 0, &mut events).unwrap_err();
    pool.insert(queued(3, 0, 9), 0, &mut events).unwrap();
    assert_eq!(pool.entry_tip(10), Some(4), "the worst one went");
    // One that cannot go into the next block makes room for any that can.
    let mut pool = Pool::new(Limits { count: 2, bytes: 1_000, per_account: 6 });
    pool.insert(queued(0, 0, 5), 0, &mut events).unwrap();
    pool.insert(queued(1, 1, 9), 0, &mut events).unwrap();
    assert_eq!(pool.entry_tip(10), None);
    pool.insert(queued(2, 0, 0), 0, &mut events).unwrap();
    assert_eq!(pool.entry_tip(10), Some(0));
}

/// A burst that is over leaves no tables behind.
#[test]
fn the_tables_shrink_after_a_burst() {
    let mut pool = Pool::new(Limits { count: 20_000, bytes: usize::MAX, per_account: 20_000 });
    let mut events = Vec::new();
    let hashes: HashSet<Hash> = (0u32..20_000)
        .map(|index| {
            let mut sender = [0; 32];
            sender[..4].copy_from_slice(&index.to_le_bytes());
            let hash = Hash::from(sender);
            let transaction = Queued {
                hash,
                sender: AccountId::new(sender),
                nonce: 0,
                tip: 0,
                priority: 0,
                bytes: 1,
                expires_at: 9,
                payload: (),
            };
            pool.insert(transaction, 0, &mut events).unwrap();
            hash
        })
        .collect();
    assert!(pool.by_hash.capacity() >= 20_000);
    pool.included(&hashes, &mut events);
    assert!(pool.is_empty());
    assert!(pool.by_hash.capacity() < 8_192 && pool.accounts.capacity() < 8_192);
}
