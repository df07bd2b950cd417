//! The model: walks through every slot of every deal and computes balances with plain arithmetic.

use super::*;

/// What the model says of a deal.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub reason: CloseReason,
    pub slot: Slot,
    pub billed: u64,
    pub deposit: u128,
    /// What others paid in.
    pub gifts: Vec<(u64, u128)>,
    pub unknown: u64,
    pub slots: u64,
    pub conflict_longest: u32,
}

/// One deal as the model walks through its slots.
struct Walk<'a> {
    deal: &'a Accepted,
    sla: SlaTerms,
    confirmed: Slot,
    deposit: u128,
    reserve: u128,
    end: Slot,
    noticed: bool,
    /// Good slots before the present term, and the slot before its first.
    base: (u64, Slot),
    good: u64,
    unknown: u64,
    run: (u32, u8),
    excused: u64,
    window: (u64, u64),
    window_end: Slot,
    confirmed_good: u64,
    conflict: (u32, u32, Slot),
    gifts: Vec<(u64, u128)>,
}

impl Walk<'_> {
    /// Price 7 for 1000 kbps a slot.
    fn cost_ceil(&self, slots: u64) -> u128 {
        (u128::from(slots) * 7 * self.deal.kbps).div_ceil(1_000)
    }

    fn afford(&self) -> u64 {
        u64::try_from(self.deposit * 1_000 / (7 * self.deal.kbps)).unwrap()
    }

    fn reachable(&self) -> u64 {
        self.base.0 + self.end - self.base.1
    }

    fn holds(&self) -> bool {
        let (good, bad) = self.window;
        u128::from(good) * 1_000_000 >= u128::from(self.sla.availability_ppm_min) * u128::from(good + bad)
    }

    fn has_windows(&self) -> bool {
        self.sla.availability_ppm_min > 0 || self.sla.policy == SlaPolicy::ForfeitWindow
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::TopUp { payer, amount } => {
                self.deposit += amount;
                self.gifts.push((payer, amount));
            }
            Change::Limit(limit) => {
                let lacking = self.cost_ceil(self.reachable()).saturating_sub(self.deposit).min(limit);
                self.deposit += lacking;
                self.reserve = limit - lacking;
            }
            Change::Notice(slot) => {
                self.noticed = true;
                self.end = slot + self.sla.notice_slots;
            }
            Change::Cancel => {}
        }
    }

    /// One slot; whether the node failed in it.
    fn see(&mut self, slot: Slot, seen: Seen) -> bool {
        match seen {
            Seen::Up => {
                self.good += 1;
                self.window.0 += 1;
                self.run = (0, 0);
            }
            Seen::Down(bits) => {
                let announced = MAINTENANCE.iter().any(|(from, to)| (*from..=*to).contains(&slot));
                let credits = (self.end - self.confirmed) / 10;
                if announced && self.excused < credits {
                    self.excused += 1;
                } else {
                    self.window.1 += 1;
                    self.run = (self.run.0 + 1, self.run.1 | bits);
                }
            }
            Seen::Unknown => self.unknown += 1,
            Seen::Conflict => {
                self.unknown += 1;
                let (run, longest, last) = self.conflict;
                let run = if last + 1 == slot { run + 1 } else { 1 };
                self.conflict = (run, longest.max(run), slot);
            }
        }
        self.run.0 >= 3 && self.run.1.count_ones() * 3 > 8
    }

    fn renews(&mut self, slot: Slot) -> bool {
        let need = self.cost_ceil(self.good + self.deal.term).saturating_sub(self.deposit);
        if !self.sla.renewal || self.noticed || self.run.0 > 0 || self.reserve == 0 || need > self.reserve {
            return false;
        }
        self.deposit += need;
        self.reserve -= need;
        self.base = (self.good, slot);
        self.end = slot + self.deal.term;
        true
    }

    fn ends(&self, slot: Slot, reason: CloseReason) -> Ending {
        let forfeits = self.sla.policy == SlaPolicy::ForfeitWindow && (reason.is_failure() || !self.holds());
        let paid = if forfeits { self.confirmed_good } else { self.good };
        let notice = if reason == CloseReason::CancelledByRenter && self.run.0 == 0 && !self.noticed {
            self.sla.cancel_notice_slots.min(self.end - slot.max(self.confirmed))
        } else {
            0
        };
        Ending {
            reason,
            slot,
            billed: (paid + notice).min(self.afford()),
            deposit: self.deposit,
            gifts: self.gifts.clone(),
            unknown: self.unknown,
            slots: slot.saturating_sub(self.confirmed),
            conflict_longest: self.conflict.1,
        }
    }
}

pub(super) fn replay(deal: &Accepted, script: &Script) -> Ending {
    let sla = PROMISES[deal.node];
    let confirmed = deal.confirmed.map_or(0, |(slot, ..)| slot);
    let mut walk = Walk {
        deal,
        sla,
        confirmed,
        deposit: deal.deposit,
        reserve: 0,
        end: confirmed + deal.term,
        noticed: false,
        base: (0, confirmed),
        good: 0,
        unknown: 0,
        run: (0, 0),
        excused: 0,
        window: (0, 0),
        window_end: confirmed + sla.window_slots,
        confirmed_good: 0,
        conflict: (0, 0, 0),
        gifts: Vec::new(),
    };
    if deal.confirmed.is_none() {
        return Ending { billed: 0, slots: 0, ..walk.ends(0, CloseReason::NotConfirmed) };
    }
    let mut changes = deal.changes.iter().peekable();
    for slot in confirmed + 1.. {
        while let Some((closed, change)) = changes.next_if(|(closed, _)| *closed < slot) {
            if matches!(change, Change::Cancel) {
                return walk.ends(*closed, CloseReason::CancelledByRenter);
            }
            walk.change(*change);
        }
        if !script.void.contains(&slot) && walk.see(slot, script.node(deal.node, slot)) {
            return walk.ends(slot, CloseReason::NodeDown);
        }
        if walk.good >= walk.afford() && walk.afford() < walk.reachable() {
            return walk.ends(slot, CloseReason::DepositExhausted);
        }
        if walk.has_windows() && slot == walk.window_end {
            if !walk.holds() {
                return walk.ends(slot, CloseReason::WindowMissed);
            }
            walk.window = (0, 0);
            walk.window_end += sla.window_slots;
            walk.confirmed_good = walk.good;
        }
        if slot == walk.end {
            // The renter may cancel after the last slot has closed only if the deal goes on.
            if !walk.renews(slot) {
                let reason = if walk.noticed { CloseReason::ReclaimedByProvider } else { CloseReason::TermServed };
                return walk.ends(slot, reason);
            }
        }
    }
    unreachable!("a deal ends")
}

fn is_contested(ending: &Ending) -> bool {
    !matches!(ending.reason, CloseReason::DepositExhausted | CloseReason::NotConfirmed)
        && (ending.conflict_longest >= 3 || ending.unknown * 4 > ending.slots)
}

pub(super) fn state_of(deal: &Accepted, ending: &Ending) -> DealState {
    let disputed = deal.disputed_by_renter.is_some() || ending.conflict_longest >= 3;
    if is_contested(ending) && disputed { DealState::Resolved } else { ending.reason.terminal_state() }
}

/// Steps on the slash ladder by node and slot, in the order in which failures are found: runs of DOWN
/// in the order of nodes, then windows in the order of deals.
fn ladder(deals: &[Accepted], endings: &[Ending]) -> BTreeMap<(Slot, usize), u128> {
    let mut failures: Vec<_> = deals
        .iter()
        .zip(endings)
        .enumerate()
        .filter(|(_, (_, ending))| ending.reason.is_failure())
        .map(|(id, (deal, ending))| {
            let missed = ending.reason == CloseReason::WindowMissed;
            (ending.slot, missed, if missed { id } else { deal.node }, deal.node)
        })
        .collect();
    failures.sort_unstable();
    let mut steps = BTreeMap::new();
    let mut count: BTreeMap<u64, usize> = BTreeMap::new();
    for (slot, _, _, node) in failures {
        steps.entry((slot, node)).or_insert_with(|| {
            let before = count.entry(NODES[node] / 100).or_default();
            *before += 1;
            [50_000, 200_000, 1_000_000][(*before - 1).min(2)]
        });
    }
    steps
}

pub(super) fn oracle(deals: &[Accepted], script: &Script) -> (Vec<u128>, Vec<(DealState, u64)>) {
    let endings: Vec<_> = deals.iter().map(|deal| replay(deal, script)).collect();
    let steps = ladder(deals, &endings);
    let mut money: BTreeMap<u64, i128> = ACCOUNTS.iter().map(|account| (*account, RICH.cast_signed())).collect();
    let mut treasury: i128 = 100;
    let mut ends = Vec::new();
    for (deal, ending) in deals.iter().zip(&endings) {
        let (_, fee_ppm, score) = deal.confirmed.unwrap_or_default();
        let afford = u64::try_from(ending.deposit * 1_000 / (7 * deal.kbps)).unwrap();
        let counted = deal.ruling.map_or(0, |ruling| ruling.counted_slots);
        let cost = |slots: u64| u128::from(slots.min(afford)) * 7 * deal.kbps / 1_000;
        let billed = (ending.billed + counted).min(afford);
        let gross = cost(billed);
        let fee = gross * u128::from(fee_ppm) / 1_000_000;
        let base = (100_000 * deal.kbps).div_ceil(1_000);
        let factor = 1_500_000 - 1_300_000 * u128::from(score) / 1_000_000;
        let bond = (base * factor).div_ceil(1_000_000);
        let failed = ending.reason.is_failure();
        let forgiven = deal.ruling.is_some_and(|ruling| !ruling.slash);
        let slash = if failed && !forgiven { bond * steps[&(ending.slot, deal.node)] / 1_000_000 } else { 0 };
        let compensation = slash * 800_000 / 1_000_000;
        let provider = NODES[deal.node] / 100;
        let mut pay = |who: u64, amount: i128| *money.get_mut(&who).unwrap() += amount;
        pay(provider, (gross - fee).cast_signed() - slash.cast_signed());
        pay(deal.renter, compensation.cast_signed() - gross.cast_signed());
        treasury += (fee + slash - compensation).cast_signed();
        for (payer, amount) in &ending.gifts {
            pay(*payer, -amount.cast_signed());
            pay(deal.renter, amount.cast_signed());
        }
        if let (Some(by_renter), Some(ruling)) = (deal.disputed_by_renter, deal.ruling)
            && ruling.counted_slots == 0
            && ruling.slash == failed
        {
            let worth = cost(ending.billed + ending.unknown) - cost(ending.billed);
            let stake = worth.div_ceil(10).max(50).cast_signed();
            let (from, to) = if by_renter { (deal.renter, provider) } else { (provider, deal.renter) };
            pay(from, -stake);
            pay(to, stake);
        }
        ends.push((state_of(deal, ending), billed));
    }
    // Storage deposits of the three listings stay held.
    *money.get_mut(&PROVIDER).unwrap() -= 2 * 5_000;
    *money.get_mut(&PROVIDER_2).unwrap() -= 5_000;
    let all = ACCOUNTS.iter().map(|account| money[account]).chain([treasury]);
    (all.map(|amount| u128::try_from(amount).unwrap()).collect(), ends)
}
