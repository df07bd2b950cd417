//! Catching up with decided blocks: a small model of the engine's synchronisation.
//!
//! It asks one peer at a time for the blocks from its own height on, turns away for a while from peers that do not
//! answer or answer wrongly, and feeds what it gets to the real engine, which checks the certificates. The
//! engine's own synchronisation core picks peers by the order of a hash map, which no seed governs.

use super::{Node, Proc, edge::peer_key};
use crate::event::{Env, Out, Task};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use malachite_codec::Codec as _;
use malachite_core_consensus::Input;
use malachite_peer::PeerId;
use malachite_sync::{RawDecidedValue, Request, Response, ValueRequest, ValueResponse};
use rand::{Rng as _, seq::IndexedRandom as _};
use std::collections::BTreeMap;
use x0_consensus::{
    Certificate,
    context::{ChainContext, Height},
    wire::{ChainCodec, extended},
};
use x0_limits::SYNC_BATCH_BLOCKS_MAX;
use x0_network::Channel;

/// Microseconds between two statuses, for a request, and for which a peer that failed is left alone.
const STATUS_US: u64 = 500_000;
const PATIENCE_US: u64 = 5_000_000;
const SHUN_US: u64 = 10_000_000;
/// Blocks of one request.
const BATCH: u64 = 5;
const TAG_STATUS: u8 = 0;
/// Code and length of a multihash of 32 bytes, as the engine names peers.
const MULTIHASH_PREFIX: [u8; 2] = [0x12, 0x20];

fn peer_id(identity: usize) -> Option<PeerId> {
    PeerId::from_bytes(&[&MULTIHASH_PREFIX[..], &peer_key(identity).0].concat()).ok()
}

/// What a node knows of its peers' heights.
#[derive(Default)]
pub(super) struct Sync {
    tips: BTreeMap<usize, u64>,
    shunned: BTreeMap<usize, u64>,
    /// The request under way: its number and its peer.
    pending: Option<(u64, usize)>,
    next: u64,
    /// Blocks of later heights, with the peer that gave them.
    ahead: BTreeMap<u64, (usize, RawDecidedValue<ChainContext>)>,
}

impl Node {
    /// The peer that gave a wrong block is left alone for a while.
    pub(super) fn peer_fault(&mut self, env: &mut Env, peer: &PeerId) {
        let identities = 0..env.plan.powers.len();
        if let Some(identity) = identities.into_iter().find(|identity| peer_id(*identity).as_ref() == Some(peer)) {
            self.volatile.sync.shun(env, identity);
        }
    }
}

impl Sync {
    fn shun(&mut self, env: &Env, identity: usize) {
        self.shunned.insert(identity, env.now_us + SHUN_US);
        self.ahead.retain(|_, (from, _)| *from != identity);
    }
}

impl Proc {
    /// Tells the peers of the height, and asks for blocks if they are ahead.
    pub(super) fn status(&mut self, env: &mut Env) {
        let mut tip = self.node.disk.chain.height();
        if self.node.twin && env.plan.lying {
            tip = env.rng.random_range(0..=tip + 1_000);
        }
        let mut frame = BytesMut::with_capacity(17);
        frame.put_u8(TAG_STATUS);
        frame.put_u64(tip);
        frame.put_u64(1);
        env.out.push(Out::Broadcast(Channel::Status, frame.freeze()));
        env.out.push(Out::Task(Task::Status, STATUS_US));
        self.request(env);
    }

    pub(super) fn status_of(&mut self, env: &mut Env, from: usize, tip: u64) {
        self.node.volatile.sync.tips.insert(from, tip);
        self.request(env);
    }

    fn request(&mut self, env: &mut Env) {
        let height = self.state.as_ref().map_or(0, |state| state.height().0);
        let decided = self.node.volatile.awaiting.is_some_and(|(at, _)| at >= height);
        let sync = &mut self.node.volatile.sync;
        if sync.pending.is_some() || decided || sync.ahead.contains_key(&height) {
            return;
        }
        sync.shunned.retain(|_, until| *until > env.now_us);
        let able: Vec<_> =
            sync.tips.iter().filter(|(peer, tip)| **tip >= height && !sync.shunned.contains_key(peer)).collect();
        let Some((peer, tip)) = able.choose(&mut env.rng).map(|(peer, tip)| (**peer, **tip)) else { return };
        let number = sync.next;
        let range = Height(height)..=Height(tip.min(height + BATCH - 1));
        let request: Request<ChainContext> = Request::ValueRequest(ValueRequest::new(range));
        let Ok(body) = ChainCodec.encode(&request) else { return };
        sync.next += 1;
        sync.pending = Some((number, peer));
        let mut frame = BytesMut::with_capacity(8 + body.len());
        frame.put_u64(number);
        frame.put_slice(&body);
        env.out.push(Out::Send(peer, Channel::SyncRequest, frame.freeze()));
        env.out.push(Out::Task(Task::Impatience(number), PATIENCE_US));
    }

    pub(super) fn impatience(&mut self, env: &mut Env, number: u64) {
        let sync = &mut self.node.volatile.sync;
        if let Some((pending, peer)) = sync.pending
            && pending == number
        {
            sync.pending = None;
            sync.shun(env, peer);
            self.request(env);
        }
    }

    /// Answers a request with decided blocks; a liar with what it likes.
    pub(super) fn asked(&mut self, env: &mut Env, from: usize, mut frame: Bytes) {
        if frame.len() < 8 {
            return;
        }
        let number = frame.get_u64();
        let request: Result<Request<ChainContext>, _> = ChainCodec.decode(frame);
        let Ok(Request::ValueRequest(request)) = request else { return };
        let (first, last) = (request.range.start().0, request.range.end().0.min(self.node.disk.chain.height()));
        let mut values = Vec::new();
        for height in (first..=last).take(SYNC_BATCH_BLOCKS_MAX) {
            let Some(decided) = self.node.disk.chain.at(height) else { break };
            let Ok(certificate) = Certificate::decode(&decided.certificate) else { break };
            values.push(RawDecidedValue::new(decided.encoded.clone(), extended(certificate)));
        }
        if self.node.twin && env.plan.lying {
            lie(env, &mut values);
        }
        let response: Response<ChainContext> = Response::ValueResponse(ValueResponse::new(Height(first), values));
        let Ok(body) = ChainCodec.encode(&response) else { return };
        let mut answer = BytesMut::with_capacity(8 + body.len());
        answer.put_u64(number);
        answer.put_slice(&body);
        env.out.push(Out::Send(from, Channel::SyncResponse, answer.freeze()));
    }

    pub(super) fn answered(&mut self, env: &mut Env, from: usize, mut frame: Bytes) {
        let sync = &mut self.node.volatile.sync;
        if frame.len() < 8 || sync.pending != Some((frame.get_u64(), from)) {
            return;
        }
        sync.pending = None;
        let response: Result<Response<ChainContext>, _> = ChainCodec.decode(frame);
        let values = match response {
            Ok(Response::ValueResponse(response)) => response.values,
            Err(_) => Vec::new(),
        };
        if values.is_empty() {
            sync.shun(env, from);
        }
        let height = self.state.as_ref().map_or(0, |state| state.height().0);
        for value in values {
            if value.height().0 >= height {
                sync.ahead.insert(value.height().0, (from, value));
            }
        }
        self.sync_started(env, height);
    }

    /// Hands the engine the block of the height that it has reached.
    pub(super) fn sync_started(&mut self, env: &mut Env, height: u64) {
        let sync = &mut self.node.volatile.sync;
        sync.ahead.retain(|of, _| *of >= height);
        match sync.ahead.remove(&height) {
            Some((from, value)) => {
                if let Some(peer) = peer_id(from) {
                    env.out.push(Out::Task(Task::Mail(Box::new(Input::SyncValueResponse(value.to_core(peer)))), 0));
                }
            }
            None => self.request(env),
        }
    }
}

fn lie(env: &mut Env, values: &mut Vec<RawDecidedValue<ChainContext>>) {
    match env.rng.random_range(0..5u8) {
        0 => values.clear(),
        1 => values.iter_mut().for_each(|value| value.value_bytes = Bytes::from_static(b"rubbish")),
        2 => values.iter_mut().for_each(|value| value.certificate.commit_signatures.truncate(1)),
        3 => values.iter_mut().for_each(|value| value.certificate.round = value.certificate.round.increment()),
        _ => values.reverse(),
    }
}
