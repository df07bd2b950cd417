//! Two ends of a link and the wire between them, in simulated time.
#![allow(dead_code, reason = "each test binary uses its part")]

#[path = "../pair/mod.rs"]
pub mod pair;

use pair::Random;
use std::{cmp::Reverse, collections::BinaryHeap};
use x0_mesh::{
    Time,
    link::{Change, Duty, Link, LinkConfig, Received, State},
};
use x0_mesh_wire::{Flags, Header, Kind};

pub const MS: u64 = 1_000_000;

/// One direction of the wire.
#[derive(Clone, Debug)]
pub struct Wire {
    pub delay_ns: u64,
    pub jitter_ns: u64,
    pub loss_ppm: u64,
    /// Frames above this are lost.
    pub bytes_max: usize,
    pub cut: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Self { delay_ns: MS / 2, jitter_ns: 50_000, loss_ppm: 0, bytes_max: 1_500, cut: false }
    }
}

/// One end.
pub struct End {
    pub link: Link,
    /// What the kernel has received and the process has not read.
    queue: Vec<(Time, Vec<u8>)>,
    wake: Time,
    /// The process does not run before this moment.
    pub asleep_until: Time,
    pub changes: Vec<(Time, Change)>,
    pub data_every_ns: Option<u64>,
    pub data_bytes: usize,
    next_data: Time,
    pub data_received: u64,
    pub refused: u64,
    pub kernel: bool,
    /// The process judges before it reads: the worst that a loop can do.
    pub judges_first: bool,
    last_kernel: Option<Time>,
}

/// A frame on the wire: when it arrives, in which order it was sent, at which end, and its bytes.
type Flying = (Time, u64, usize, Vec<u8>);

/// The laboratory.
pub struct Lab {
    pub now: Time,
    pub ends: [End; 2],
    /// `wires[n]` carries what end n sends.
    pub wires: [Wire; 2],
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
    pub random: Random,
    /// Every frame that was sent, when asked for.
    pub tape: Option<Vec<(usize, Vec<u8>)>>,
}

impl Lab {
    pub fn new(seed: u8) -> Self {
        let (a, b) = pair::keys(seed);
        let config = LinkConfig { payload_bytes_max: 1_472 };
        let end = |keys| End {
            link: Link::new(keys, config, Time(0)),
            queue: vec![],
            wake: Time(0),
            asleep_until: Time(0),
            changes: vec![],
            data_every_ns: None,
            data_bytes: 400,
            next_data: Time(0),
            data_received: 0,
            refused: 0,
            kernel: false,
            judges_first: false,
            last_kernel: None,
        };
        Self {
            now: Time(0),
            ends: [end(a), end(b)],
            wires: [Wire::default(), Wire::default()],
            flying: BinaryHeap::new(),
            sent: 0,
            random: Random(u64::from(seed)),
            tape: None,
        }
    }

    /// Both ends active, and so long together that they know each other's loss.
    pub fn settled(seed: u8) -> Self {
        let mut lab = Self::new(seed);
        lab.duty(Duty::Active);
        lab.run_ms(3_000);
        assert_eq!(lab.states(), [State::Up; 2]);
        lab
    }

    pub fn duty(&mut self, duty: Duty) {
        for end in &mut self.ends {
            end.link.set_duty(duty);
            end.wake = self.now;
        }
    }

    pub fn states(&self) -> [State; 2] {
        [self.ends[0].link.state(), self.ends[1].link.state()]
    }

    pub fn cut(&mut self, cut: [bool; 2]) {
        self.wires[0].cut = cut[0];
        self.wires[1].cut = cut[1];
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now.plus_ms(ms));
    }

    pub fn run_until(&mut self, end: Time) {
        loop {
            let flying = self.flying.peek().map(|Reverse((at, ..))| *at);
            let wakes = self.ends.each_ref().map(|end| end.wake.max(end.asleep_until));
            let next = flying.into_iter().chain(wakes).min().unwrap();
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while let Some(Reverse((at, ..))) = self.flying.peek()
                && *at <= self.now
            {
                let Reverse((at, _, to, bytes)) = self.flying.pop().unwrap();
                let end = &mut self.ends[to];
                end.queue.push((at, bytes));
                end.last_kernel = Some(at);
                // The process wakes up for it a little later.
                end.wake = end.wake.min(at.plus_us(20));
            }
            for index in 0..2 {
                if self.ends[index].wake.max(self.ends[index].asleep_until) <= self.now {
                    self.process(index);
                }
            }
        }
    }

    fn process(&mut self, index: usize) {
        let now = self.now;
        let mut out = vec![];
        let end = &mut self.ends[index];
        let note = |changes: &mut Vec<(Time, Change)>, change: Option<Change>| {
            changes.extend(change.map(|change| (now, change)));
        };
        let kernel = end.last_kernel.filter(|_| end.kernel);
        if end.judges_first {
            let change = end.link.judge(now, kernel);
            note(&mut end.changes, change);
        }
        for (at, mut bytes) in end.queue.drain(..) {
            match end.link.receive(now, at, &mut bytes) {
                Ok(Received::Data(_)) => end.data_received += 1,
                Ok(_) => {}
                Err(_) => end.refused += 1,
            }
        }
        let change = end.link.judge(now, kernel);
        note(&mut end.changes, change);
        if let Some(every) = end.data_every_ns
            && now >= end.next_data
        {
            let mut frame = data(end.data_bytes);
            end.link.stamp(now, &mut frame).unwrap();
            out.push(frame);
            end.next_data = now.plus_ns(every);
        }
        let mut buffer = vec![0; 9_000];
        while let Some(due) = end.link.transmit(now, &mut buffer).unwrap() {
            out.push(buffer[..due.bytes].to_vec());
            assert!(out.len() < 20, "a link that never stops talking");
        }
        let due = end.link.deadline().unwrap();
        assert!(due > now, "nothing is due any more after everything was done: {due:?} at {now:?}");
        end.wake = if end.data_every_ns.is_some() { due.min(end.next_data) } else { due };
        for frame in out {
            self.send(index, frame);
        }
    }

    pub fn send(&mut self, from: usize, frame: Vec<u8>) {
        if let Some(tape) = &mut self.tape {
            tape.push((from, frame.clone()));
        }
        let wire = &self.wires[from];
        if wire.cut || frame.len() > wire.bytes_max || self.random.chance(wire.loss_ppm) {
            return;
        }
        let jitter = if wire.jitter_ns == 0 { 0 } else { self.random.below(wire.jitter_ns) };
        let at = self.now.plus_ns(wire.delay_ns + jitter);
        self.sent += 1;
        self.flying.push(Reverse((at, self.sent, 1 - from, frame)));
    }

    /// Hands a frame to an end now, as an attacker would.
    pub fn inject(&mut self, to: usize, frame: Vec<u8>) {
        let end = &mut self.ends[to];
        end.queue.push((self.now, frame));
        end.wake = end.wake.min(self.now);
    }

    /// How often both ends went to this state.
    pub fn entered(&self, state: State) -> usize {
        self.ends.iter().flat_map(|end| &end.changes).filter(|(_, change)| change.to == state).count()
    }

    pub fn forget_changes(&mut self) {
        for end in &mut self.ends {
            end.changes.clear();
        }
    }

    /// The first change of an end to this state.
    pub fn first(&self, end: usize, state: State) -> Option<(Time, Change)> {
        self.ends[end].changes.iter().find(|(_, change)| change.to == state).copied()
    }
}

/// A data frame as the node lays it out.
pub fn data(bytes: usize) -> Vec<u8> {
    let mut frame = vec![7; bytes];
    let header = Header {
        kind: Kind::Data,
        flags: Flags::NONE,
        labels: 0,
        pointer: 0,
        ttl: 8,
        link_tag: 0,
        link_seq: 0,
        hop_mac: [0; 8],
    };
    header.write(&mut frame).unwrap();
    frame
}
