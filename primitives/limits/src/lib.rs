//! Every limit of the product as a named constant, with its unit and its reason.
//!
//! A limit that two crates must agree on lives here and nowhere else. Relations between limits are
//! checked at compile time at the end of this file.
#![cfg_attr(not(test), no_std)]

mod governance;
mod market;

pub use governance::*;
pub use market::*;

// ---- transactions and calls

/// Deepest nesting of a call that any entry of the node decodes. Decoding recurses, and a recursion
/// without a bound ends the process, so each entry checks this before anything else reads the bytes.
pub const CALL_DEPTH_MAX: u32 = 64;
/// Largest encoded extrinsic, bytes.
pub const EXTRINSIC_BYTES_MAX: usize = 256 * 1024;
/// Largest block body, bytes.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most extrinsics in one block, the timestamp included.
pub const BLOCK_EXTRINSICS_MAX: usize = 20_000;
/// Blocks for which the chain keeps hashes, which bounds the era of a transaction.
pub const BLOCK_HASH_COUNT: u32 = 65_536;
/// Smallest distance between the timestamps of two blocks, milliseconds.
pub const TIMESTAMP_STEP_MS_MIN: u64 = 1;
/// How far a proposed timestamp may lie ahead of a voter's clock, milliseconds.
pub const TIMESTAMP_DRIFT_MS_MAX: u64 = 30_000;

// ---- network definition

/// Largest chain specification file, bytes: keys of a hundred validators and many balances fit.
pub const CHAIN_SPEC_BYTES_MAX: u64 = 16 * 1024 * 1024;

// ---- mempool

/// Most transactions that wait at one node.
pub const MEMPOOL_TRANSACTIONS_MAX: usize = 32_768;
/// Most bytes of waiting transactions at one node: four full blocks.
pub const MEMPOOL_BYTES_MAX: usize = 4 * BLOCK_BYTES_MAX;
/// Most transactions of one account that wait at one node.
pub const MEMPOOL_PER_ACCOUNT_MAX: usize = 8_192;
/// Most submissions that wait for their signature check at one node.
pub const ADMISSION_QUEUE_MAX: usize = 4_096;
/// Most bytes of submissions that wait for their signature check at one node.
pub const ADMISSION_BYTES_MAX: usize = BLOCK_BYTES_MAX;
/// Submissions that one thread of the mempool judges together.
pub const ADMISSION_BATCH_MAX: usize = 16;
/// Statuses that wait for one watcher of a transaction. No transaction passes through as many, so
/// a watcher loses none; one that reads nothing holds no more than this.
pub const MEMPOOL_WATCH_MAX: usize = 16;
/// Transactions that are judged again after one block because the builder passed them over.
pub const MEMPOOL_REVALIDATED_MAX: usize = 256;
/// Most hashes of included transactions that the node remembers for an honest "already included".
pub const MEMPOOL_RECENT_MAX: usize = 65_536;
/// Transactions by which a follower of the mempool may fall behind before it misses some.
pub const MEMPOOL_FOLLOW_MAX: usize = 4_096;

// ---- consensus

/// Most validators in a set.
pub const VALIDATORS_MAX: u32 = 100;
/// Heights between the block that changes the validator set and the first block of the new set.
pub const VALIDATOR_SET_DELAY_BLOCKS: u32 = 2;
/// Largest voting power of one validator; the sum over a set stays far below 2^63.
pub const VALIDATOR_POWER_MAX: u64 = 1 << 40;
/// Size of one part of a proposal, bytes.
pub const PROPOSAL_PART_BYTES: usize = 128 * 1024;
/// Most parts of one proposal: the whole body in full parts, one short part and the opening part.
pub const PROPOSAL_PARTS_MAX: usize = BLOCK_BYTES_MAX / PROPOSAL_PART_BYTES + 2;
/// Most unfinished proposal streams that a node keeps for one publisher.
pub const PROPOSAL_STREAMS_PER_PEER_MAX: usize = 4;
/// Bytes of unfinished proposals that a node holds over all peers; the peer with most gives way.
pub const ASSEMBLY_BYTES_MAX: usize = 6 * BLOCK_BYTES_MAX;
/// Proposals of one round that a node looks at: the engine, too, keeps no more of a proposer that contradicts itself.
pub const PROPOSALS_PER_ROUND_MAX: usize = 2;
/// Rounds ahead of its own of which a node takes proposals.
pub const FUTURE_ROUNDS_MAX: u32 = 2;
/// Whole blocks that wait for their execution.
pub const JUDGING_BLOCKS_MAX: usize = 4;
/// Whole blocks that wait for the block before them.
pub const EARLY_BLOCKS_MAX: usize = 2;
/// Heights whose commit certificates a node keeps (certificates at set changes stay for ever).
pub const CERTIFICATES_KEPT: u64 = 10_000;
/// Distance between two blocks while there is work, milliseconds.
pub const BLOCK_INTERVAL_BUSY_MS: u64 = 150;
/// Longest wait for work before an empty block, milliseconds.
pub const BLOCK_INTERVAL_IDLE_MS: u64 = 6_000;
/// The same on development chains, milliseconds.
pub const BLOCK_INTERVAL_IDLE_DEV_MS: u64 = 2_000;

/// Signatures of one (height, round) that the last-signed guard keeps in one slot file before it
/// moves to the other slot. The rule "only forward" protects everything older.
pub const GUARD_RECORDS_PER_SLOT_MAX: usize = 512;
/// Largest file with an exported guard record, bytes: two slots' worth of signatures in hex, and room.
pub const GUARD_EXPORT_BYTES_MAX: usize = 2 * GUARD_RECORDS_PER_SLOT_MAX * 8 * 1024;
/// Largest message between a node and its remote signer, bytes: a pair of signatures, and room.
pub const SIGNER_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Connections that a remote signer keeps open: a validator's node, its successor, and room for mistakes.
pub const SIGNER_CONNECTIONS_MAX: usize = 8;
/// Longest handshake with a remote signer, milliseconds.
pub const SIGNER_HANDSHAKE_MS: u64 = 5_000;
/// Longest wait for one answer of a remote signer, milliseconds.
pub const SIGNER_ANSWER_MS: u64 = 3_000;
/// How long a node goes on asking a remote signer that is away before it gives up, milliseconds. Meanwhile it votes
/// on nothing, and the other validators go on without it.
pub const SIGNER_PATIENCE_MS: u64 = 10_000;
/// How long a remote signer keeps a connection without a request, milliseconds.
pub const SIGNER_IDLE_MS: u64 = 600_000;
/// Final heights whose statements a node still compares: a validator that contradicts itself late is found, too.
pub const WITNESS_HEIGHTS_KEPT: u64 = 4;
/// Statements of one validator at one height that a node compares: eight rounds of a correct one.
pub const WITNESS_STATEMENTS_MAX: usize = 32;
/// Groups of statements that a node tells a peer, and keeps of one, about one decided height.
pub const ACCOUNT_GROUPS_MAX: usize = 256;
/// Statements that a node sends to one peer because of what the peer told about one height: one for each validator that
/// may be dishonest.
pub const ACCOUNT_ANSWERS_MAX: usize = VALIDATORS_MAX as usize / 3 + 1;
/// Proofs of contradictions that wait to be put on chain.
pub const EVIDENCE_WAITING_MAX: usize = 256;
/// How long the tip stands still behind the peers before synchronisation starts over, milliseconds.
pub const STUCK_TIP_MS: u64 = 15_000;
/// How long until the node ends itself, to be restarted, milliseconds.
pub const STUCK_TIP_EXIT_MS: u64 = 120_000;
/// Verified signatures that a node remembers, so that a vote is checked once although the engine asks three times.
pub const VERIFIED_SIGNATURES_KEPT: usize = 16_384;
/// Heights above the last committed one of which a node takes in messages: their validator sets are known.
pub const FUTURE_HEIGHTS_MAX: u64 = VALIDATOR_SET_DELAY_BLOCKS as u64;
/// Decided blocks in one answer to a node that catches up.
pub const SYNC_BATCH_BLOCKS_MAX: usize = 8;
/// Largest answer to a node that catches up, bytes: one full block and its certificate fit.
pub const SYNC_RESPONSE_BYTES_MAX: usize = BLOCK_BYTES_MAX + 4 * 1024 * 1024;
/// Largest liveness message, bytes: a round certificate with two votes of every validator.
pub const LIVENESS_FRAME_BYTES_MAX: usize = 2 * VALIDATORS_MAX as usize * 3_456 + 1_024;
/// Largest vote or proposal on the wire, bytes.
pub const CONSENSUS_FRAME_BYTES_MAX: usize = 4 * 1024;
/// Largest proposal part on the wire, bytes.
pub const PART_FRAME_BYTES_MAX: usize = PROPOSAL_PART_BYTES + 4 * 1024;
/// Largest status, wake-up or sync request on the wire, bytes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 256;
/// Frames of votes, liveness or control messages that wait for one peer; the oldest gives way.
pub const LINK_QUEUE_FRAMES_MAX: usize = 2_048;
/// Proposal parts that wait for one peer: two whole blocks.
pub const LINK_QUEUE_PARTS_MAX: usize = 2 * PROPOSAL_PARTS_MAX;
/// Sync answers that wait for one peer.
pub const LINK_QUEUE_SYNC_MAX: usize = 4;
/// Events of the network that wait for the node.
pub const CARRIER_EVENTS_MAX: usize = 1_024;

// ---- the network between validators

/// Largest frame of transactions, bytes: one extrinsic of the largest size and its count fit.
pub const TRANSACTIONS_FRAME_BYTES_MAX: usize = EXTRINSIC_BYTES_MAX + 1_024;
/// Largest request for pieces of a snapshot, bytes.
pub const SNAPSHOT_REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Largest answer with pieces of a snapshot, bytes.
pub const SNAPSHOT_RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Frames of transactions that wait for one peer; the oldest gives way.
pub const LINK_QUEUE_TRANSACTIONS_MAX: usize = 1_024;
/// Requests for a snapshot that wait for one peer.
pub const LINK_QUEUE_SNAPSHOT_REQUESTS_MAX: usize = 64;
/// Answers with pieces of a snapshot that wait for one peer.
pub const LINK_QUEUE_SNAPSHOT_MAX: usize = 8;
/// Bytes of one channel that wait for one peer, whatever their number; the oldest frames give way.
/// Frames of a broadcast are shared between the peers, so this is not multiplied by their number.
pub const LINK_QUEUE_BYTES_MAX: usize = 2 * SYNC_RESPONSE_BYTES_MAX;
/// Frames that wait for one part of the node behind a shared carrier.
pub const FORK_FRAMES_MAX: usize = 1_024;
/// Bytes of frames that wait for one part of the node behind a shared carrier.
pub const FORK_BYTES_MAX: usize = 2 * SYNC_RESPONSE_BYTES_MAX;

// ---- the validators' own affairs on chain

/// Candidates: admitted to the network, without power.
pub const CANDIDATES_MAX: u32 = 100;
/// Open proposals that one validator may have opened.
pub const PROPOSALS_PER_VALIDATOR_MAX: u32 = 2;
/// Open proposals in all. No validator can take another one's places.
pub const PROPOSALS_OPEN_MAX: u32 = PROPOSALS_PER_VALIDATOR_MAX * VALIDATORS_MAX;
/// Largest encoded call that validators approve, bytes: a whole set of controllers and powers fits.
pub const PROPOSAL_CALL_BYTES_MAX: u32 = 8 * 1024;
/// Blocks for which a proposal stays open: twenty hours under constant load, weeks on an idle chain.
pub const PROPOSAL_LIFE_BLOCKS: u32 = 500_000;
/// Blocks for which a validator can be held to what it signed, and for which its keys are known.
pub const EVIDENCE_AGE_BLOCKS_MAX: u32 = 100_000;
/// Spans of heights, each with one consensus key, that the chain remembers of one validator. A
/// validator that changed its key as often within [`EVIDENCE_AGE_BLOCKS_MAX`] waits with the next change.
pub const KEY_SPANS_MAX: u32 = 8;
/// Largest body of a signed consensus statement, bytes.
pub const STATEMENT_BYTES_MAX: u32 = 128;
/// Offences of one validator that the chain remembers; the oldest goes.
pub const OFFENCES_KEPT: u32 = 16;
/// Blocks between the announcement of new rules and their first block, at least: time to install the
/// binary that knows them. Development chains need 2.
pub const UPGRADE_NOTICE_BLOCKS_MIN: u32 = 20;
/// Blocks between the announcement of new rules and their first block, at most: more is a typing error.
pub const UPGRADE_NOTICE_BLOCKS_MAX: u32 = 20_000_000;
/// Longest id of a network, bytes.
pub const CHAIN_ID_BYTES_MAX: u32 = 32;
/// Peers that a network definition names for the first contact.
pub const BOOT_PEERS_MAX: usize = 256;
/// Largest frame of the control stream of a link (hello, ping, addresses), bytes.
pub const LINK_CONTROL_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a peer's software in its hello, bytes.
pub const LINK_SOFTWARE_BYTES_MAX: usize = 128;
/// Addresses of one peer that a node keeps and tells.
pub const LINK_ADDRESSES_PER_PEER_MAX: usize = 4;
/// Peers of which a node tells or takes addresses: every validator, candidates and sentries.
pub const LINK_TOLD_PEERS_MAX: usize = 512;
/// Largest peer store that is read, bytes.
pub const PEER_STORE_BYTES_MAX: u64 = 1024 * 1024;
/// Distance between two writes of the peer store, milliseconds.
pub const PEER_STORE_INTERVAL_MS: u64 = 10_000;
/// Longest TCP connect and handshake, milliseconds.
pub const LINK_HANDSHAKE_TIMEOUT_MS: u64 = 4_000;
/// Longest wait for a peer's hello after the handshake, milliseconds.
pub const LINK_HELLO_TIMEOUT_MS: u64 = 4_000;
/// Distance between two pings on a link, milliseconds.
pub const LINK_PING_MS: u64 = 1_000;
/// Silence after which a link counts as dead, milliseconds. Short, because after a partition TCP
/// itself would wait much longer before it tries again.
pub const LINK_SILENCE_MS_MAX: u64 = 8_000;
/// Time in which a peer must take some bytes of a frame under way, milliseconds.
pub const LINK_STALL_MS: u64 = 8_000;
/// Distance between two tellings of addresses on a link, milliseconds.
pub const LINK_TELL_MS: u64 = 2_000;
/// First wait before a peer is dialled again, milliseconds; each further wait is twice as long.
pub const LINK_RECONNECT_MS_MIN: u64 = 100;
/// Longest wait before a peer is dialled again, milliseconds: a healed partition must not wait for it.
pub const LINK_RECONNECT_MS_MAX: u64 = 2_000;
/// Age of a link after which its end starts the waits anew, milliseconds.
pub const LINK_STABLE_MS: u64 = 10_000;
/// Dials under way at the same time.
pub const LINK_DIALS_MAX: usize = 32;
/// Longest wait before the connection for bulk with a peer is dialled again, milliseconds: a peer of another release
/// may not know it, and the connection for votes carries bulk meanwhile.
pub const LINK_BULK_RECONNECT_MS_MAX: u64 = 30_000;
/// Connections with one peer for votes, and as many for bulk; more than one of a kind only while two dials cross.
pub const LINK_CONNECTIONS_PER_LANE_MAX: usize = 4;
/// How long the second of two crossed connections stays, milliseconds.
pub const LINK_SURPLUS_MS: u64 = 3_000;
/// Streams that a peer may open on one connection.
pub const LINK_STREAMS_MAX: usize = 16;
/// Receive window of each stream of a connection, bytes.
pub const LINK_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes that wait in the operating system for one connection before votes would wait behind them.
pub const LINK_UNSENT_BYTES: u32 = 128 * 1024;
/// Bytes of large answers (blocks, pieces of snapshots) that a node holds, over all links, until it has
/// worked them off.
pub const LINK_BULK_BYTES_MAX: usize = 4 * SYNC_RESPONSE_BYTES_MAX;
/// Points at which a peer is disconnected and refused for a while.
pub const LINK_BAN_POINTS: u32 = 100;
/// Length of a peer's first ban, milliseconds; each further one is twice as long.
pub const LINK_BAN_MS: u64 = 60_000;
/// Longest ban, milliseconds: a validator is banned for minutes, never for good.
pub const LINK_BAN_MS_MAX: u64 = 600_000;
/// Time without offences after which the bans of a peer are forgotten, milliseconds.
pub const LINK_BAN_MEMORY_MS: u64 = 3_600_000;
/// How long a peer may have been slowed down by its quota before that counts as flooding, milliseconds.
pub const LINK_FLOOD_PATIENCE_MS: u64 = 10_000;
/// Votes and proposals per second from one peer.
pub const LINK_CONSENSUS_FRAMES_PER_SECOND: u64 = 2_000;
/// Liveness messages, statuses and requests per second from one peer, each.
pub const LINK_CONTROL_FRAMES_PER_SECOND: u64 = 500;
/// Proposal parts per second from one peer.
pub const LINK_PARTS_PER_SECOND: u64 = 1_000;
/// Frames of transactions per second from one peer.
pub const LINK_TRANSACTION_FRAMES_PER_SECOND: u64 = 10_000;
/// Large answers per second from one peer.
pub const LINK_ANSWERS_PER_SECOND: u64 = 100;
/// Bytes per second from one peer on each channel.
pub const LINK_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;
/// Handshakes per second from one source where an admitted peer is known to be: a whole test network
/// may sit behind one address.
pub const LINK_KNOWN_HANDSHAKES_PER_SECOND: u32 = 32;
/// Handshakes that such a source may begin at once.
pub const LINK_KNOWN_HANDSHAKE_BURST: u32 = 256;
/// Handshakes under way from such a source.
pub const LINK_KNOWN_HANDSHAKES_PENDING_MAX: u32 = 64;
/// Handshakes per second from one unknown source.
pub const LINK_STRANGER_HANDSHAKES_PER_SECOND: u32 = 4;
/// Handshakes that an unknown source may begin at once.
pub const LINK_STRANGER_HANDSHAKE_BURST: u32 = 16;
/// Handshakes under way from an unknown source.
pub const LINK_STRANGER_HANDSHAKES_PENDING_MAX: u32 = 4;
/// Handshakes per second from all unknown sources together: each costs a signature.
pub const LINK_STRANGERS_HANDSHAKES_PER_SECOND: u32 = 32;
/// Handshakes that all unknown sources together may begin at once.
pub const LINK_STRANGERS_HANDSHAKE_BURST: u32 = 128;
/// Handshakes under way from all unknown sources together.
pub const LINK_STRANGERS_HANDSHAKES_PENDING_MAX: u32 = 32;
/// Sources of connections that the gate remembers.
pub const LINK_SOURCES_MAX: usize = 4_096;

// ---- spreading of transactions

/// Peers that get a transaction of this node itself at once when there are more peers than
/// [`GOSSIP_PUSH_ALL_MAX`]; the others hear of it and ask.
pub const GOSSIP_PUSH_PEERS: usize = 8;
/// Peers up to which each of them gets a transaction of this node itself at once.
pub const GOSSIP_PUSH_ALL_MAX: usize = 16;
/// Peers that are told of a transaction that came from a peer.
pub const GOSSIP_ANNOUNCE_PEERS: usize = 8;
/// Distance between two tellings of hashes, milliseconds. Longer than a push takes, so that peers
/// ask only for what does not come by itself.
pub const GOSSIP_ANNOUNCE_MS: u64 = 100;
/// How long an asked peer has for its answer before another is asked, milliseconds.
pub const GOSSIP_ANSWER_MS: u64 = 2_000;
/// Hashes in one frame.
pub const GOSSIP_HASHES_PER_FRAME: usize = 1_024;
/// Transactions in one frame.
pub const GOSSIP_TRANSACTIONS_PER_FRAME: usize = 256;
/// Bytes of transactions in one frame that holds more than one.
pub const GOSSIP_FRAME_BYTES: usize = 128 * 1024;
/// Hashes that one peer is asked for at the same time.
pub const GOSSIP_ASKED_PER_PEER_MAX: usize = 256;
/// Peers that are remembered as sources of a transaction that is missing here.
pub const GOSSIP_SOURCES_MAX: usize = 3;
/// Missing transactions of which the node keeps track.
pub const GOSSIP_WANTED_MAX: usize = 16_384;
/// Of these, the ones that one peer may have named first.
pub const GOSSIP_NAMED_PER_PEER_MAX: usize = 4_096;
/// How long a transaction that the mempool did not take is not asked for again, milliseconds.
pub const GOSSIP_REFUSAL_MS: u64 = 10_000;
/// Transactions of which the node remembers which peers have them.
pub const GOSSIP_SEEN_MAX: usize = 65_536;
/// Transactions of one peer that wait for their check; more are dropped.
pub const GOSSIP_CHECKS_PER_PEER_MAX: usize = 2_048;
/// Waiting transactions that a new peer is told of.
pub const GOSSIP_TOLD_ON_LINK_MAX: usize = 16_384;
/// Bytes of transactions per second that one peer may ask for.
pub const GOSSIP_SERVED_BYTES_PER_SECOND: usize = 16 * 1024 * 1024;
/// Bad signatures per minute from one peer that pass without an offence: at an upgrade, honest nodes
/// sign for different versions for a moment.
pub const GOSSIP_BAD_SIGNATURES_PER_MINUTE: u32 = 8;
/// Time after a link began in which bad signatures are no offence, milliseconds.
pub const GOSSIP_SIGNATURE_GRACE_MS: u64 = 60_000;

// ---- storage

/// Recent blocks whose state a pruning node keeps.
pub const STATES_KEPT: u32 = 4_096;
/// Shared trie cache, bytes.
pub const TRIE_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Cache of the database's blocks, indexes and filters, bytes.
pub const STORAGE_BLOCK_CACHE_BYTES: usize = 48 * 1024 * 1024;
/// Unflushed writes that the database keeps in memory over all columns, bytes.
pub const STORAGE_WRITE_BUFFERS_BYTES: usize = 48 * 1024 * 1024;
/// Write-ahead log that the database keeps before it flushes, bytes: bounds the replay at start.
pub const STORAGE_LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Files that the database keeps open.
pub const STORAGE_OPEN_FILES_MAX: i32 = 512;
/// Smallest block body that is stored in a separate blob file, bytes.
pub const STORAGE_BLOB_BYTES_MIN: u64 = 4 * 1024;
/// Journals of deleted state nodes that one block commit works off. More than one, so that a
/// backlog that a long read held up shrinks again.
pub const PRUNE_JOURNALS_PER_COMMIT: usize = 3;
/// Entries in one page of an account's history.
pub const ACCOUNT_HISTORY_PAGE_MAX: usize = 1_000;

// ---- measuring

/// Length of a measuring slot on production chains, milliseconds.
pub const SLOT_MS: u64 = 6_000;
/// Length of a measuring slot on development chains, milliseconds.
pub const SLOT_MS_DEV: u64 = 1_000;
/// Slots after the end of a slot in which validators still commit to their reports on it.
pub const REPORT_GRACE_SLOTS: u64 = 1;
/// Slots after the commitments, at least, in which the reports behind them are shown.
pub const REVEAL_SLOTS: u64 = 1;
/// How far a block's own time may lie behind a slot whose commitments are still open only because too few
/// validators have made blocks since, slots.
pub const REPORT_STRETCH_SLOTS: u64 = 64;
/// Slots of which the chain remembers the first block; more than any open window spans on a chain that runs.
pub const SLOT_STARTS_KEPT: u32 = 96;
/// Closed slots whose reports stay on chain, so that their receipts can be asked for.
pub const CHALLENGE_SLOTS: u64 = 16;
/// Slots in which a validator shows the receipt that it is asked for, usually.
pub const ANSWER_SLOTS: u64 = 16;
/// Shortest time for an answer that governance may set, slots.
pub const ANSWER_SLOTS_MIN: u64 = 4;
/// Longest time for an answer that governance may set, slots.
pub const ANSWER_SLOTS_MAX: u64 = 256;
/// Receipts that are asked for at once, over all validators.
pub const CHALLENGES_OPEN_MAX: u32 = 64;
/// The same, of one validator: so much work a crowd can make for it.
pub const CHALLENGES_OF_VALIDATOR_MAX: usize = 8;
/// Receipts that one validator asks for at once, since it leaves no deposit.
pub const CHALLENGES_BY_VALIDATOR_MAX: usize = 4;
/// What somebody else than a validator leaves for each receipt that it asks for, usually, base units.
pub const CHALLENGE_DEPOSIT: u128 = 1_000_000_000_000;
/// Smallest such deposit, base units: it must be worth more than the answer costs.
pub const CHALLENGE_DEPOSIT_MIN: u128 = 10_000_000_000;
/// Largest such deposit that governance may set, base units.
pub const CHALLENGE_DEPOSIT_MAX: u128 = 1_000_000_000_000_000;
/// Neighbours in the proof that a receipt stands under a root: one for each doubling of the nodes.
pub const RECEIPT_PROOF_HASHES_MAX: u32 = 12;
/// Nodes whose owners are looked up for one unit of slot work: those on which validators are at odds.
pub const OWNERS_PER_SLOT_WORK_UNIT: u32 = 8;
/// Slots of one window in which validators try round trip and throughput of a deal.
pub const TRIAL_WINDOW_SLOTS: u64 = 30;
/// Trials of one deal that a validator makes in a window; it complains when most of them fail.
pub const TRIALS_PER_WINDOW: u32 = 3;
/// Deals about which one validator may be the first to complain in a window: it cannot fill the state alone.
pub const COMPLAINTS_OPENED_MAX: u32 = 16;
/// Windows for which a complaint is taken after it began: its own, in which only usage is recorded, and the next.
pub const TRIAL_WINDOWS_OPEN: u64 = 2;
/// Deals of one window whose complaints are removed in one block.
pub const COMPLAINTS_CLEANED_PER_BLOCK: u32 = 32;
/// Round trips that one trial measures; the shortest counts.
pub const TRIAL_PINGS: u32 = 3;
/// Bytes that one trial of throughput moves, at least.
pub const TRIAL_BYTES_MIN: u32 = 32 * 1024;
/// Bytes that one trial of throughput moves, at most. Promises beyond what this shows are judged by this.
pub const TRIAL_BYTES_MAX: u32 = 1024 * 1024;
/// How long the bytes of a trial last at the promised throughput, milliseconds.
pub const TRIAL_TRANSFER_MS: u64 = 200;
/// How long one trial may take, milliseconds.
pub const TRIAL_TIMEOUT_MS: u64 = 3_000;
/// Trials that one validator makes at once.
pub const TRIALS_IN_FLIGHT_MAX: usize = 32;
/// Trials that wait for their place or for being booked.
pub const TRIALS_WAITING_MAX: usize = 1_024;
/// Slots after a window for which its last trials may still come in before they are judged.
pub const TRIAL_PATIENCE_SLOTS: u64 = 8;
/// Bytes of one piece of a trial's data.
pub const TRIAL_PIECE_BYTES: u32 = 16 * 1024;
/// Bytes that an agent sends to one address for trials in a burst.
pub const TRIAL_ADDRESS_BURST_BYTES: u32 = 16 * 1024 * 1024;
/// Bytes per second that an agent sends to one address for trials over a longer time.
pub const TRIAL_ADDRESS_BYTES_PER_SECOND: u32 = 2 * 1024 * 1024;
/// Slots after the confirmation of a deal in which its service checks do not count: the agent opens them then.
pub const SERVICE_CHECK_GRACE_SLOTS: u64 = 3;
/// Service checks of one node that a validator tries in one slot; with more, a private draw decides.
pub const SERVICE_CHECKS_PER_SLOT: usize = 8;
/// How long one service check may take, milliseconds.
pub const SERVICE_CHECK_TIMEOUT_MS: u64 = 400;
/// Largest answer to an HTTP check, headers included, bytes.
pub const SERVICE_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Largest request that an agent's service reads, bytes.
pub const SERVICE_REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Services that one agent offers.
pub const AGENT_SERVICES_MAX: usize = 128;
/// Connections to the services of one agent at once.
pub const SERVICE_CONNECTIONS_MAX: usize = 256;
/// The same of one address.
pub const SERVICE_CONNECTIONS_PER_ADDRESS_MAX: usize = 64;
/// How long a client of a service may take for its request and for its answer, milliseconds.
pub const SERVICE_IDLE_TIMEOUT_MS: u64 = 5_000;
/// Slots whose reports a validator still has to show, at most.
pub const REVEALS_WAITING_MAX: usize = 128;
/// Consecutive DOWN slots after which a deal fails.
pub const FAIL_RUN_SLOTS: u32 = 3;
/// Most nodes that are measured.
pub const MEASURED_NODES_MAX: u32 = 4_096;
/// Bytes of a report's packed observations: 2 bits for each node index.
pub const OBSERVATION_BYTES_MAX: u32 = MEASURED_NODES_MAX / 4;
/// Slots after the dismissal of a node for which its index rests before another node gets it. All
/// slots up to the last of them must be closed, so that no report about the old node, not even
/// one by a validator that had not heard of the dismissal yet, is read as one about the new node.
pub const NODE_INDEX_REST_SLOTS: u64 = 2;
/// Closed slots whose verdicts the chain remembers for each node, for display only.
pub const VERDICT_HISTORY_SLOTS: u64 = 128;
/// Most slots with reports that wait for their closing; more only come together when closing lags.
pub const REPORTED_SLOTS_MAX: u32 = 1_024;
/// Nodes without an exception whose evaluation counts as one unit of slot work.
pub const NODES_PER_SLOT_WORK_UNIT: u32 = 64;
/// Most slots (or single deal endings) that one block closes; the rest waits for the next block.
pub const SLOT_WORK_PER_BLOCK_MAX: u32 = 256;
/// How long a probe may take, milliseconds.
pub const PROBE_TIMEOUT_MS: u64 = 400;
/// Time between the end of the last probe of a slot and the slot's end, milliseconds.
pub const PROBE_MARGIN_MS: u64 = 50;
/// Slots whose receipts a validator keeps, so that it can prove a report.
pub const RECEIPTS_SLOTS_KEPT: usize = 600;
/// Bytes of receipts that a validator keeps; the oldest slots go first.
pub const RECEIPTS_BYTES_KEPT: usize = 64 * 1024 * 1024;
/// Attempts to submit one report, for reasons that pass by themselves.
pub const REPORT_ATTEMPTS_MAX: u32 = 3;
/// Blocks for which a signed report is valid: a power of two. A report that no block took by then
/// is too old anyway, and must not block the reporter's later ones.
pub const REPORT_ERA_BLOCKS: u64 = 64;
/// Finished slots that wait for their report to be sent.
pub const REPORTS_WAITING_MAX: usize = 8;
/// Characters of an agent's refusal that are logged.
pub const REFUSAL_CHARACTERS_MAX: usize = 80;
/// Probes that one validator keeps in flight.
pub const PROBES_IN_FLIGHT_MAX: usize = 256;
/// Largest message on the probe channel, bytes: the admission list of a node with all its deals.
pub const PROBE_FRAME_BYTES_MAX: usize = 32 * 1024;
/// Connections that an agent's probe responder keeps open, over all peers.
pub const PROBE_CONNECTIONS_MAX: usize = 256;
/// Connections that an agent's probe responder keeps open for one address.
pub const PROBE_CONNECTIONS_PER_ADDRESS_MAX: usize = 64;
/// Handshakes that one address may start in a burst: each costs the agent a signature.
pub const PROBE_HANDSHAKE_BURST: u32 = 64;
/// Handshakes per second that one address may start over a longer time.
pub const PROBE_HANDSHAKES_PER_SECOND: u32 = 16;
/// Addresses and link keys whose rates an agent remembers.
pub const PROBE_RATE_ENTRIES_MAX: usize = 1_024;
/// Requests that one link key may make in a burst.
pub const PROBE_REQUEST_BURST: u32 = 32;
/// Requests per second that one link key may make over a longer time.
pub const PROBE_REQUESTS_PER_SECOND: u32 = 8;
/// How long a peer may take for its part of the handshake, milliseconds.
pub const PROBE_HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// How long a connection may stay without a request, milliseconds.
pub const PROBE_IDLE_TIMEOUT_MS: u64 = 60_000;
/// How long an agent waits for answers under way when it stops, milliseconds.
pub const PROBE_DRAIN_TIMEOUT_MS: u64 = 2_000;
/// How far the slot of a probe may lie from the agent's own reckoning, slots.
pub const PROBE_SLOT_TOLERANCE: u64 = 2;
/// How far the clocks of a prober and an agent may differ, milliseconds, on top of the slots.
pub const PROBE_CLOCK_SKEW_MS_MAX: u64 = 2_000;
/// Handshakes that a probe responder works on at once: each occupies a thread for its cryptography.
pub const PROBE_HANDSHAKES_IN_FLIGHT_MAX: usize = 32;
/// The same for one address.
pub const PROBE_HANDSHAKES_IN_FLIGHT_PER_ADDRESS_MAX: usize = 8;
/// How long an agent's view of the chain counts, milliseconds. Without a newer one it admits nobody,
/// because a deal may have ended meanwhile.
pub const AGENT_VIEW_LIFE_MS: u64 = 60_000;
/// Most deals that an agent takes from a view of the chain.
pub const AGENT_DEALS_MAX: usize = DEALS_PER_NODE_MAX as usize;

// ---- identities

/// Keys that one subject may hold at once, over all roles.
pub const KEYS_PER_SUBJECT_MAX: u32 = 16;
/// Longest life of a proof of possession, milliseconds.
pub const POSSESSION_LIFE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

// ---- RPC

/// Largest JSON-RPC request, bytes. A block-sized batch does not fit on purpose.
pub const RPC_REQUEST_BYTES_MAX: u32 = 2 * 1024 * 1024;
/// Largest JSON-RPC response, bytes: a full block in hex, and its frame.
pub const RPC_RESPONSE_BYTES_MAX: u32 = 33 * 1024 * 1024;
/// Open connections of one listener.
pub const RPC_CONNECTIONS_MAX: u32 = 256;
/// Open connections from one remote address (one /64 of IPv6), so that one machine cannot take all
/// places of a TLS listener; loopback addresses share the places freely.
pub const RPC_CONNECTIONS_PER_ADDRESS_MAX: u32 = 64;
/// Subscriptions on one connection.
pub const RPC_SUBSCRIPTIONS_PER_CONNECTION_MAX: u32 = 128;
/// Requests in one JSON-RPC batch.
pub const RPC_BATCH_MAX: u32 = 64;
/// Keys in one page of `state_getKeysPaged`.
pub const RPC_KEYS_PAGE_MAX: u32 = 1_000;
/// Requests per second that one connection may make over a longer time.
pub const RPC_REQUESTS_PER_SECOND_MAX: u32 = 10_000;
/// Seconds of unused request budget that a connection may save up for a burst.
pub const RPC_BURST_SECONDS: u32 = 2;
/// RPC requests that execute or read at the same time, over all connections.
pub const RPC_EXECUTIONS_MAX: usize = 8;
/// Blocks whose answers about the whole market are kept: the head, and one that somebody looks back at.
pub const RPC_ANSWERS_KEPT: usize = 2;
/// RPC requests that wait for their turn to execute; the next one is told that the node is busy.
pub const RPC_WAITING_MAX: usize = 4_096;
/// Longest wait for the head of an HTTP request, and for a TLS handshake, milliseconds.
pub const RPC_HEAD_TIMEOUT_MS: u64 = 15_000;
/// Longest time from the head of an HTTP request to its answer, milliseconds.
pub const RPC_REQUEST_TIMEOUT_MS: u64 = 60_000;
/// Longest wait for open connections to end when the node stops, milliseconds.
pub const RPC_STOP_TIMEOUT_MS: u64 = 3_000;
/// Distance between WebSocket pings, milliseconds.
pub const RPC_PING_MS: u64 = 30_000;
/// Messages that wait for a slow reader on one connection before the node stops producing them.
pub const RPC_SEND_QUEUE_MAX: u32 = 256;
/// Calls and batches of one connection under way at the same time; further ones are not read.
pub const RPC_CALLS_PER_CONNECTION_MAX: usize = 64;
/// Bytes of answers that wait for a slow reader on one connection before no further call begins.
pub const RPC_UNSENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes that are read from a connection while it takes none: enough for pongs.
pub const RPC_READ_WHILE_STUCK_BYTES_MAX: usize = 64 * 1024;
/// Keys that one storage subscription, query or proof may name.
pub const RPC_KEYS_PER_QUERY_MAX: usize = 1_024;
/// Longest of these keys, bytes: the chain's own stay below 200, and a subscription keeps them.
pub const RPC_KEY_BYTES_MAX: usize = 1_024;
/// Longest parameter that names accounts or keys in text, characters: a `did:key` of an ML-DSA-65
/// key has 2,690. Decoding base58 takes time that grows with the square of the length.
pub const RPC_TEXT_BYTES_MAX: usize = 4_096;
/// Block hashes that one `chain_getBlockHash` may ask for.
pub const RPC_BLOCK_HASHES_MAX: usize = 1_024;

// ---- the node's process

/// Stack of the threads that read the runtime's state for others, bytes: a call nests up to
/// [`CALL_DEPTH_MAX`], and each level of dispatch takes stack. Only what is used takes memory.
pub const NODE_THREAD_STACK_BYTES: usize = 16 * 1024 * 1024;
/// Threads for work that blocks.
pub const NODE_BLOCKING_THREADS_MAX: usize = 64;
/// Longest graceful stop, milliseconds.
pub const NODE_STOP_TIMEOUT_MS: u64 = 20_000;

// ---- keystore files

/// Largest keystore file that is read, bytes.
pub const KEYSTORE_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Longest password, bytes.
pub const KEYSTORE_PASSWORD_BYTES_MAX: usize = 1_024;
/// Longest name of a key's role, bytes.
pub const KEYSTORE_ROLE_BYTES_MAX: usize = 32;
/// Least memory of argon2id, KiB. Files for keys with value use 64 MiB.
pub const KEYSTORE_ARGON2_MEMORY_KIB_MIN: u32 = 1_024;
/// Most memory of argon2id, KiB: a planted file cannot make a reader allocate more.
pub const KEYSTORE_ARGON2_MEMORY_KIB_MAX: u32 = 1_024 * 1_024;
/// Most passes of argon2id.
pub const KEYSTORE_ARGON2_PASSES_MAX: u32 = 16;
/// Most lanes of argon2id.
pub const KEYSTORE_ARGON2_LANES_MAX: u32 = 8;

// ---- the agent's line to its node

/// First wait before an agent connects to its node again, milliseconds; each further wait is twice as long.
pub const AGENT_RECONNECT_MS_MIN: u64 = 250;
/// Longest wait before an agent connects to its node again, milliseconds.
pub const AGENT_RECONNECT_MS_MAX: u64 = 15_000;
/// Time without a new block after which an agent asks its node whether it is still there, milliseconds.
pub const AGENT_SILENCE_MS_MAX: u64 = 10_000;
/// Longest configuration file of the agent, bytes.
pub const AGENT_CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Longest status answer of the agent, bytes.
pub const AGENT_STATUS_BYTES_MAX: u64 = 4 * 1024 * 1024;

// ---- clients of the RPC (wallet, agent)

/// How long a client waits for a connection to a node, milliseconds.
pub const CLIENT_CONNECT_TIMEOUT_MS: u64 = 10_000;
/// How long a client waits for the answer to one request, milliseconds.
pub const CLIENT_REQUEST_TIMEOUT_MS: u64 = 30_000;
/// How long a transaction that a client builds stays valid, milliseconds. The era in blocks follows
/// from the busy block interval, because an era that is counted in short blocks ends early.
pub const TRANSACTION_LIFE_MS: u64 = 60 * 60 * 1_000;
/// Longest file that the wallet reads as a transaction, bytes: the chain's metadata is inside.
pub const TRANSACTION_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Fewest characters of a password for a new keystore file.
pub const PASSWORD_CHARS_MIN: usize = 8;

// ---- telemetry and supervision

/// Most connections to the listener for metrics at once.
pub const TELEMETRY_CONNECTIONS_MAX: usize = 16;
/// Largest head of a request to the listener for metrics, bytes.
pub const TELEMETRY_REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Longest life of a connection to the listener for metrics, milliseconds.
pub const TELEMETRY_REQUEST_MS: u64 = 10_000;
/// Time beyond the idle interval after which a height that does not grow counts as a fault, milliseconds.
pub const HEALTH_STALL_MS: u64 = 30_000;
/// Heights that a ready node may be behind its best peer.
pub const READY_LAG_BLOCKS_MAX: u64 = 5;
/// Free space below which `doctor` warns and the node is not ready, bytes.
pub const DISK_FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;

// ---- light client

/// How long a light client trusts what it verified last, milliseconds (14 days): validators that left
/// the set before that may have sold their keys.
pub const LIGHT_TRUST_PERIOD_MS: u64 = 14 * 24 * 60 * 60 * 1_000;
/// Largest header that a light client reads, bytes: five hashes and a few digest items.
pub const LIGHT_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Validator sets that a light client remembers: those of the newest changes.
pub const LIGHT_SETS_KEPT: usize = 4;
/// Certificates that a light client remembers, so that it notices a second block of the same height.
pub const LIGHT_CERTIFICATES_KEPT: usize = 8;
/// Largest state proof that a light client reads, bytes: a validator set of 100 members, with room.
pub const LIGHT_PROOF_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most nodes in a state proof that a light client reads.
pub const LIGHT_PROOF_NODES_MAX: usize = 16 * 1024;

// ---- state sync and history

/// Size of a chunk of a snapshot, bytes; the last one is shorter.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
/// Most chunks of one snapshot: 32 GiB of state.
pub const SNAPSHOT_CHUNKS_MAX: usize = 32 * 1024;
/// Largest trie node or value in a snapshot, bytes: the events of a full block fit.
pub const SNAPSHOT_NODE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Headers before the snapshot's own that travel with it: consensus looks back over two turns of all
/// validators to see who is absent.
pub const SNAPSHOT_ANCESTORS: u32 = 2 * VALIDATORS_MAX;
/// Heights between two snapshots.
pub const SNAPSHOT_INTERVAL_BLOCKS: u32 = 1_000;
/// Snapshots that a node keeps; the oldest goes when a new one is whole.
pub const SNAPSHOTS_KEPT: usize = 2;
/// Most snapshots in one offer.
pub const SNAPSHOT_OFFERS_MAX: usize = 4;
/// Bytes of set changes in one answer after which no further one is added.
pub const SET_CHANGES_PAGE_BYTES: usize = 1024 * 1024;
/// Most set changes in one answer.
pub const SET_CHANGES_PAGE_MAX: usize = 64;
/// Requests of state sync that a node has under way with one peer.
pub const SNAPSHOT_REQUESTS_IN_FLIGHT_MAX: usize = 2;
/// Peers that a restoring node asks at the same time.
pub const SNAPSHOT_PEERS_MAX: usize = 16;
/// How long a restoring node waits for an answer, milliseconds.
pub const SNAPSHOT_REQUEST_TIMEOUT_MS: u64 = 10_000;
/// How long a restoring node collects offers before it chooses, milliseconds.
pub const SNAPSHOT_OFFERS_WAIT_MS: u64 = 1_000;
/// Unanswered requests after which a restoring node leaves a peer alone.
pub const SNAPSHOT_TIMEOUTS_PER_PEER_MAX: u32 = 3;
/// Requests of one peer that wait at a serving node; further ones are told that it is busy.
pub const SNAPSHOT_WAITING_PER_PEER_MAX: usize = 4;
/// Requests of one peer, above those, that a serving node refuses within a minute before it counts
/// the peer as flooding.
pub const SNAPSHOT_REFUSALS_PER_MINUTE_MAX: u32 = 64;
/// Bytes that a serving node sends to one peer within a minute.
pub const SNAPSHOT_BYTES_PER_PEER_MINUTE: u64 = 4 * 1024 * 1024 * 1024;
/// Peers that a serving node keeps accounts of.
pub const SNAPSHOT_SERVED_PEERS_MAX: usize = 256;
/// Fewest blocks that a pruning node keeps: a node that restores one of its snapshots needs the
/// blocks after it.
pub const HISTORY_BLOCKS_MIN: u32 = 4 * SNAPSHOT_INTERVAL_BLOCKS;
/// Blocks that one commit removes from the history: more than one, so that a backlog shrinks.
pub const HISTORY_PRUNED_PER_COMMIT: u32 = 8;

// ---- relations

const _: () =
    assert!((VOTES_MAX as u32) * (VOTES_MAX as u32) <= VOTE_CREDITS && (VOTES_MAX as u32 + 1).pow(2) > VOTE_CREDITS);
const _: () = assert!(VOTE_EPOCH_SLOTS_MIN <= VOTE_EPOCH_SLOTS && VOTE_EPOCH_SLOTS <= VOTE_EPOCH_SLOTS_MAX);

const _: () = assert!(AGENT_SILENCE_MS_MAX + CLIENT_REQUEST_TIMEOUT_MS < AGENT_VIEW_LIFE_MS);
const _: () = assert!(TRANSACTION_LIFE_MS / BLOCK_INTERVAL_BUSY_MS < BLOCK_HASH_COUNT as u64);

const _: () = assert!(EXTRINSIC_BYTES_MAX < BLOCK_BYTES_MAX);
const _: () = assert!(PROPOSAL_CALL_BYTES_MAX > 40 * VALIDATORS_MAX + 16, "a whole set fits into a proposal");
const _: () = assert!(KEY_SPANS_MAX > VALIDATOR_SET_DELAY_BLOCKS + 1, "changes that are under way fit");
const _: () = assert!(EVIDENCE_AGE_BLOCKS_MAX > BLOCK_HASH_COUNT);
const _: () = assert!(EXTRINSIC_BYTES_MAX * 2 < RPC_REQUEST_BYTES_MAX as usize, "hex doubles the bytes");
const _: () = assert!(MEMPOOL_BYTES_MAX > 2 * BLOCK_BYTES_MAX);
const _: () = assert!(PROPOSAL_PARTS_MAX * PROPOSAL_PART_BYTES > BLOCK_BYTES_MAX);
const _: () = assert!(PROBE_TIMEOUT_MS * 2 + PROBE_MARGIN_MS < SLOT_MS_DEV);
const _: () = assert!(1 << RECEIPT_PROOF_HASHES_MAX >= MEASURED_NODES_MAX, "every receipt can be proved");
const _: () =
    assert!(CHALLENGE_SLOTS + ANSWER_SLOTS_MAX < RECEIPTS_SLOTS_KEPT as u64, "receipts outlive the time to ask");
const _: () = assert!(REPORT_STRETCH_SLOTS < SLOT_STARTS_KEPT as u64);
const _: () = assert!(CHALLENGE_SLOTS + 4 < SLOT_STARTS_KEPT as u64);
const _: () =
    assert!(TRIAL_PATIENCE_SLOTS * SLOT_MS_DEV > 2 * TRIAL_TIMEOUT_MS && 2 * TRIAL_PATIENCE_SLOTS < TRIAL_WINDOW_SLOTS);
const _: () = assert!(TRIAL_PIECE_BYTES as usize + 64 < PROBE_FRAME_BYTES_MAX);
const _: () = assert!(REPORT_ERA_BLOCKS.is_power_of_two() && REPORT_ERA_BLOCKS >= 4);
const _: () = assert!(PROBE_HANDSHAKES_IN_FLIGHT_PER_ADDRESS_MAX < PROBE_HANDSHAKES_IN_FLIGHT_MAX);
const _: () = assert!(PROBE_CONNECTIONS_PER_ADDRESS_MAX < PROBE_CONNECTIONS_MAX);
const _: () = assert!(DEAL_TERM_SLOTS_MIN > FAIL_RUN_SLOTS as u64);
const _: () = assert!(OBSERVATION_BYTES_MAX as usize * 4 == MEASURED_NODES_MAX as usize);
const _: () =
    assert!(VERDICT_HISTORY_SLOTS.is_multiple_of(8) && MEASURED_NODES_MAX.is_multiple_of(NODES_PER_SLOT_WORK_UNIT));
const _: () = assert!(TIMESTAMP_STEP_MS_MIN < BLOCK_INTERVAL_BUSY_MS);
const _: () = assert!(SYNC_RESPONSE_BYTES_MAX > BLOCK_BYTES_MAX + VALIDATORS_MAX as usize * 3_456);
const _: () = assert!(PART_FRAME_BYTES_MAX > PROPOSAL_PART_BYTES);
const _: () = assert!(NODE_BLOCKING_THREADS_MAX > RPC_EXECUTIONS_MAX, "consensus and disk need threads as well");
const _: () = assert!(NODE_STOP_TIMEOUT_MS > RPC_STOP_TIMEOUT_MS);
const _: () =
    assert!(RPC_RESPONSE_BYTES_MAX as usize > 2 * BLOCK_BYTES_MAX + 3 * BLOCK_EXTRINSICS_MAX, "hex doubles the bytes");
const _: () = assert!(RPC_CONNECTIONS_PER_ADDRESS_MAX < RPC_CONNECTIONS_MAX);
const _: () = assert!(SNAPSHOT_RESPONSE_BYTES_MAX < LINK_QUEUE_BYTES_MAX && LINK_QUEUE_BYTES_MAX <= FORK_BYTES_MAX);
const _: () =
    assert!(SNAPSHOT_RESPONSE_BYTES_MAX > SNAPSHOT_CHUNKS_MAX * 32 + VALIDATORS_MAX as usize * 3_456 + 64 * 1024);
const _: () = assert!(SNAPSHOT_RESPONSE_BYTES_MAX > SET_CHANGES_PAGE_BYTES + VALIDATORS_MAX as usize * (3_456 + 2_048));
const _: () = assert!(SNAPSHOT_INTERVAL_BLOCKS * 2 < STATES_KEPT, "the state of a snapshot's height is still there");
const _: () = assert!(HISTORY_BLOCKS_MIN as usize > SNAPSHOT_INTERVAL_BLOCKS as usize * (SNAPSHOTS_KEPT + 1));
const _: () = assert!(LINK_SILENCE_MS_MAX > 4 * LINK_PING_MS && LINK_SURPLUS_MS < LINK_SILENCE_MS_MAX);
const _: () = assert!(LINK_RECONNECT_MS_MIN < LINK_RECONNECT_MS_MAX && LINK_BAN_MS < LINK_BAN_MS_MAX);
const _: () = assert!(
    LINK_TOLD_PEERS_MAX >= 2 * VALIDATORS_MAX as usize && VALIDATORS_MAX as usize * 256 < LINK_CONTROL_FRAME_BYTES_MAX
);
const _: () = assert!(
    GOSSIP_FRAME_BYTES + 4 * GOSSIP_TRANSACTIONS_PER_FRAME + 8 <= TRANSACTIONS_FRAME_BYTES_MAX
        && GOSSIP_HASHES_PER_FRAME * 32 + 8 <= TRANSACTIONS_FRAME_BYTES_MAX
        && EXTRINSIC_BYTES_MAX + 16 <= TRANSACTIONS_FRAME_BYTES_MAX
);
