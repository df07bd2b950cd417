//! Where a deal stands and why it ended.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Where a deal stands.
///
/// ```text
///   Requested -> Bidding -> Funded -> Active <-> Suspect      (Reclaiming in place of Active once the
///                                        |         |           provider has given notice)
///                                        v         v
///                                      Frozen -> Disputed
///                                        |         |
///                                        v         v
///   Expired | Completed | Cancelled | Reclaimed | Exhausted | Failed | Resolved
/// ```
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum DealState {
    /// The renter's deposit is held; the provider has not confirmed yet.
    Funded,
    /// Confirmed; good slots are billed from the slot after the confirmation's.
    Active,
    /// Active, and the last verdicts on the node were DOWN.
    Suspect,
    /// Over; amounts are fixed and the janitor pays them in the next block, or after the dispute window
    /// when the record is contested.
    Frozen,
    /// The term was served.
    Completed,
    /// The renter ended the deal.
    Cancelled,
    /// The deposit was used up before the term.
    Exhausted,
    /// The node failed: the renter was refunded and compensated.
    Failed,
    /// The provider did not confirm in time, or no bid was taken.
    Expired,
    /// The renter's deposit is held and no bid has come yet.
    Requested,
    /// The renter's deposit is held and bids stand.
    Bidding,
    /// Active, and the provider has given notice.
    Reclaiming,
    /// Over and contested: the undisputed part is paid, the validators may rule on the rest until a
    /// deadline.
    Disputed,
    /// The provider's notice ran out.
    Reclaimed,
    /// A dispute was decided, by the validators or by its deadline.
    Resolved,
}

impl DealState {
    /// Whether nothing can happen to the deal any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::Cancelled
                | Self::Exhausted
                | Self::Failed
                | Self::Expired
                | Self::Reclaimed
                | Self::Resolved
        )
    }

    /// Whether slots are measured for the deal.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Active | Self::Suspect | Self::Reclaiming)
    }

    /// Whether the deal waits for somebody to agree to it.
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Requested | Self::Bidding | Self::Funded)
    }

    /// Whether the deal is over and its amounts are fixed, but not all of them are paid.
    #[must_use]
    pub const fn is_fixed(self) -> bool {
        matches!(self, Self::Frozen | Self::Disputed)
    }
}

/// Why a deal ended. Each reason has a number that never changes: see [`CloseReason::code`].
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum CloseReason {
    /// The end slot closed.
    TermServed,
    /// The renter cancelled.
    CancelledByRenter,
    /// All slots that the deposit affords were good.
    DepositExhausted,
    /// The node was DOWN for the agreed run of slots, seen by more than two thirds.
    NodeDown,
    /// The confirm deadline passed.
    NotConfirmed,
    /// The node is not measured, so that nothing can be billed or blamed.
    NotMeasured,
    /// A window closed with less availability than promised.
    WindowMissed,
    /// The provider's notice ran out.
    ReclaimedByProvider,
    /// No bid was taken before the bid deadline.
    NoBidTaken,
    /// The renter took its request back before it took a bid.
    RequestWithdrawn,
    /// Validators found round trip or throughput worse than promised.
    ServiceMissed,
}

impl CloseReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::TermServed,
        Self::CancelledByRenter,
        Self::RequestWithdrawn,
        Self::DepositExhausted,
        Self::ReclaimedByProvider,
        Self::NotConfirmed,
        Self::NoBidTaken,
        Self::NodeDown,
        Self::WindowMissed,
        Self::ServiceMissed,
        Self::NotMeasured,
    ];

    /// The terminal state that this reason leads to, unless the deal is disputed.
    #[must_use]
    pub const fn terminal_state(self) -> DealState {
        match self {
            Self::TermServed => DealState::Completed,
            Self::CancelledByRenter | Self::NotMeasured | Self::RequestWithdrawn => DealState::Cancelled,
            Self::DepositExhausted => DealState::Exhausted,
            Self::NodeDown | Self::WindowMissed | Self::ServiceMissed => DealState::Failed,
            Self::NotConfirmed | Self::NoBidTaken => DealState::Expired,
            Self::ReclaimedByProvider => DealState::Reclaimed,
        }
    }

    /// Whether the provider broke its promise.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::NodeDown | Self::WindowMissed | Self::ServiceMissed)
    }

    /// The number of this reason, for machines: it keeps its meaning for ever. The first digit says on
    /// whose side it lies: 1 as agreed, 2 the renter, 3 the provider, 4 the node, 5 the network.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::TermServed => 100,
            Self::CancelledByRenter => 200,
            Self::RequestWithdrawn => 201,
            Self::DepositExhausted => 202,
            Self::ReclaimedByProvider => 300,
            Self::NotConfirmed => 301,
            Self::NoBidTaken => 302,
            Self::NodeDown => 400,
            Self::WindowMissed => 401,
            Self::ServiceMissed => 402,
            Self::NotMeasured => 500,
        }
    }

    /// The reason with this number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The name in events, logs and RPC answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TermServed => "TermServed",
            Self::CancelledByRenter => "CancelledByRenter",
            Self::DepositExhausted => "DepositExhausted",
            Self::NodeDown => "NodeDown",
            Self::NotConfirmed => "NotConfirmed",
            Self::NotMeasured => "NotMeasured",
            Self::WindowMissed => "WindowMissed",
            Self::ServiceMissed => "ServiceMissed",
            Self::ReclaimedByProvider => "ReclaimedByProvider",
            Self::NoBidTaken => "NoBidTaken",
            Self::RequestWithdrawn => "RequestWithdrawn",
        }
    }

    /// What happened, in a sentence for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::TermServed => "the term was served",
            Self::CancelledByRenter => "the renter cancelled",
            Self::DepositExhausted => "the deposit was used up before the term",
            Self::NodeDown => {
                "the node was down for the agreed run of slots, seen by more than two thirds of validators"
            }
            Self::NotConfirmed => "the provider did not confirm in time",
            Self::NotMeasured => "the node is not measured, so nothing can be billed or blamed",
            Self::WindowMissed => "a window closed with less availability than promised",
            Self::ServiceMissed => "validators found round trip or throughput worse than promised",
            Self::ReclaimedByProvider => "the provider took the node back after the agreed notice",
            Self::NoBidTaken => "no bid was taken before the bid deadline",
            Self::RequestWithdrawn => "the renter took the request back before a bid was taken",
        }
    }
}
