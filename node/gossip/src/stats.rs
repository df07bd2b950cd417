//! Counters.

/// What the spreading of transactions counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GossipStats {
    /// Peers with a link.
    pub peers: u64,
    /// Transactions sent whole, without being asked.
    pub pushed: u64,
    /// Transactions sent whole to peers that asked.
    pub served: u64,
    /// Transactions that peers asked for and that are not sent: gone, or above the peer's share.
    pub not_served: u64,
    /// Hashes told to peers.
    pub announced: u64,
    /// Hashes asked of peers.
    pub asked: u64,
    /// Questions that stayed without an answer.
    pub unanswered: u64,
    /// Transactions that came in whole.
    pub received: u64,
    /// Of these, the ones that were known here already.
    pub received_known: u64,
    /// Of these, the ones that entered the mempool.
    pub admitted: u64,
    /// Of these, the ones that the mempool refused for a reason of the moment.
    pub refused: u64,
    /// Of these, the ones whose signature does not verify.
    pub bad_signatures: u64,
    /// Of these, the ones that were dropped because too many waited for their check.
    pub dropped: u64,
    /// Frames that did not decode.
    pub malformed: u64,
    /// Times that this part fell behind its mempool and told everything again.
    pub fell_behind: u64,
}
