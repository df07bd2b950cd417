//! What a peer sent: decoded within bounds, checked, and passed on or refused by name.

use super::{Fabric, TAG_ACCOUNT, TAG_STATUS, TAG_WAKE, peer_id};
use crate::{
    context::{ChainContext, Height, Signature},
    exchange::Account,
    parts::Part,
    signer::{proposal_statement, vote_statement},
    wire::{ChainCodec, CodecError},
    witness::{Heard, Said},
};
use bytes::{Buf, Bytes};
use malachite_codec::Codec;
use malachite_core_consensus::{LivenessMsg, SignedConsensusMsg};
use malachite_core_types::{SignedProposal, SignedVote};
use malachite_engine::{
    network::{NetworkEvent, Status},
    util::streaming::{StreamContent, StreamMessage},
};
use malachite_peer::PeerId;
use malachite_sync::{InboundRequestId, OutboundRequestId, Request, Response};
use std::sync::atomic::Ordering;
use x0_crypto::statement::Statement;
use x0_network::{Channel, Offence, PeerKey};

/// Requests of one peer that wait for an answer here.
const INBOUND_PER_PEER_MAX: usize = 16;

/// Why a frame is not passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("malformed")]
    Malformed,
    #[error("the peer's name is malformed")]
    Peer,
    #[error("not a channel of consensus")]
    Channel,
    /// Votes come in after a quorum has formed without them; that is nobody's fault.
    #[error("height {0} is not due")]
    NotDue(u64),
    #[error("not signed as it must be")]
    Signature,
    /// Rightly signed by a validator whose turn it is not, as far as this node knows.
    #[error("not the turn of its proposer")]
    Turn,
    /// The engine takes requests back when it has decided meanwhile, and the answer is under way.
    #[error("an answer that nobody waits for any more")]
    NotAsked,
    #[error("an answer to a request that was never made")]
    NeverAsked,
    #[error("too many requests at once")]
    TooManyRequests,
}

impl FrameError {
    /// What the peer did wrong; `None` when an honest peer may send such a frame.
    pub(crate) const fn offence(&self) -> Option<Offence> {
        match self {
            Self::Codec(CodecError::TooLarge { .. } | CodecError::TooManySignatures { .. }) => Some(Offence::Oversized),
            Self::Codec(_) | Self::Malformed => Some(Offence::Malformed),
            Self::Signature => Some(Offence::BadSignature),
            Self::NeverAsked => Some(Offence::NotAsked),
            Self::TooManyRequests => Some(Offence::Flooding),
            Self::Peer | Self::Channel | Self::NotDue(_) | Self::Turn | Self::NotAsked => None,
        }
    }
}

impl Fabric {
    pub(super) async fn frame(&self, from: PeerKey, channel: Channel, mut bytes: Bytes) -> Result<(), FrameError> {
        let id = peer_id(&from).ok_or(FrameError::Peer)?;
        match channel {
            Channel::Consensus => match ChainCodec.decode(bytes)? {
                SignedConsensusMsg::Vote(vote) => self.vote(id, vote).await,
                SignedConsensusMsg::Proposal(proposal) => self.proposal(id, proposal).await,
            },
            Channel::Liveness => match ChainCodec.decode(bytes)? {
                LivenessMsg::Vote(vote) => self.vote(id, vote).await,
                // The engine checks each signature of a certificate itself, and only at its own height.
                LivenessMsg::PolkaCertificate(certificate) => {
                    self.due(certificate.height)?;
                    self.events.emit(&NetworkEvent::PolkaCertificate(id, certificate));
                    Ok(())
                }
                LivenessMsg::SkipRoundCertificate(certificate) => {
                    self.due(certificate.height)?;
                    self.events.emit(&NetworkEvent::RoundCertificate(id, certificate));
                    Ok(())
                }
            },
            Channel::Parts => self.part(id, ChainCodec.decode(bytes)?).await,
            Channel::Status => self.status(from, id, &mut bytes),
            Channel::SyncRequest => {
                let number = number(&mut bytes)?;
                let request = ChainCodec.decode(bytes)?;
                self.asked(from, id, number, request)
            }
            Channel::SyncResponse => {
                let number = number(&mut bytes)?;
                if number >= self.requests.next.load(Ordering::Relaxed) {
                    return Err(FrameError::NeverAsked);
                }
                if self.requests.outbound.lock().get(&number) != Some(&from) {
                    return Err(FrameError::NotAsked);
                }
                let response: Response<ChainContext> = ChainCodec.decode(bytes)?;
                self.requests.outbound.lock().remove(&number);
                self.events.emit(&NetworkEvent::SyncResponse(OutboundRequestId::new(number), id, Some(response)));
                Ok(())
            }
            // Other parts of the node read these, each on its own branch of the carrier.
            Channel::Transactions | Channel::SnapshotRequest | Channel::SnapshotResponse => Err(FrameError::Channel),
        }
    }

    /// Whether messages of this height are of use now.
    fn due(&self, height: Height) -> Result<(), FrameError> {
        if self.around.book.set(height.0).is_some() { Ok(()) } else { Err(FrameError::NotDue(height.0)) }
    }

    /// A statement of a height that is not due. At a height that was decided lately it may still be half of a
    /// contradiction, whose other half somebody else heard.
    async fn late(&self, statement: Statement, signature: Signature) -> Result<(), FrameError> {
        let height = statement.place().height;
        let news = self.exchange.lock().compare(&statement) != Heard::Same;
        if let (true, Some(set)) = (news, self.around.book.any_set(height)) {
            self.check(&set, &statement, &signature).await?;
            self.hear(Said { statement, signature });
        }
        Err(FrameError::NotDue(height))
    }

    /// Whether a validator of the set signed what it is said to have signed.
    async fn check(
        &self,
        set: &crate::context::ValidatorSet,
        statement: &Statement,
        signature: &Signature,
    ) -> Result<(), FrameError> {
        let key = set.key_of(&crate::context::Address(*statement.signer())).ok_or(FrameError::Signature)?;
        if self.around.verifier.statement(statement, signature, key).await {
            Ok(())
        } else {
            Err(FrameError::Signature)
        }
    }

    async fn vote(&self, from: PeerId, vote: SignedVote<ChainContext>) -> Result<(), FrameError> {
        let height = vote.message.height.0;
        let statement = vote_statement(&vote.message).ok_or(FrameError::Malformed)?.into();
        let Some(set) = self.around.book.set(height) else {
            return self.late(statement, vote.signature).await;
        };
        self.check(&set, &statement, &vote.signature).await?;
        self.hear(Said { statement, signature: vote.signature.clone() });
        self.around.pacer.peer_at(height);
        self.events.emit(&NetworkEvent::Vote(from, vote));
        Ok(())
    }

    async fn proposal(&self, from: PeerId, proposal: SignedProposal<ChainContext>) -> Result<(), FrameError> {
        let message = &proposal.message;
        let height = message.height.0;
        let statement = proposal_statement(message).ok_or(FrameError::Malformed)?.into();
        let Some(set) = self.around.book.set(height) else {
            return self.late(statement, proposal.signature).await;
        };
        self.check(&set, &statement, &proposal.signature).await?;
        self.hear(Said { statement, signature: proposal.signature.clone() });
        if !self.around.book.may_propose(height, message.round, &message.proposer) {
            return Err(FrameError::Turn);
        }
        self.around.pacer.peer_at(height);
        self.events.emit(&NetworkEvent::Proposal(from, proposal));
        Ok(())
    }

    async fn part(&self, from: PeerId, message: StreamMessage<Part>) -> Result<(), FrameError> {
        if let StreamContent::Data(Part::Opening(signed)) = &message.content {
            let opening = &signed.opening;
            let height = opening.height.0;
            let statement = opening.statement().into();
            let Some(set) = self.around.book.set(height) else {
                return self.late(statement, signed.signature.clone()).await;
            };
            self.check(&set, &statement, &signed.signature).await?;
            self.hear(Said { statement, signature: signed.signature.clone() });
            if !self.around.book.may_propose(height, opening.round(), &opening.proposer) {
                return Err(FrameError::Turn);
            }
            self.around.pacer.peer_at(height);
        }
        // Consensus keeps parts by the peer that sent them: nobody relays for others.
        self.events.emit(&NetworkEvent::ProposalPart(from, Some(from), message));
        Ok(())
    }

    fn status(&self, peer: PeerKey, from: PeerId, bytes: &mut Bytes) -> Result<(), FrameError> {
        match (bytes.len(), bytes.first().copied()) {
            (17, Some(TAG_STATUS)) => {
                bytes.advance(1);
                let (tip, history) = (bytes.get_u64(), bytes.get_u64());
                self.tip_of(peer, tip, history);
                self.around.pacer.peer_at(tip);
                self.events.emit(&NetworkEvent::Status(from, Status::new(Height(tip), Height(history))));
                Ok(())
            }
            (9, Some(TAG_WAKE)) => {
                bytes.advance(1);
                let height = bytes.get_u64();
                // A node that is that far behind catches up by synchronisation, not by waking.
                if height <= (self.around.height)().saturating_add(x0_limits::FUTURE_HEIGHTS_MAX) {
                    self.around.pacer.peer_at(height);
                }
                Ok(())
            }
            (_, Some(TAG_ACCOUNT)) => {
                let account = Account::decode(bytes.slice(1..)).ok_or(FrameError::Malformed)?;
                // Without a set the height is far away, and what was said at it is settled or comes again.
                let set = self.around.book.any_set(account.height).ok_or(FrameError::NotDue(account.height))?;
                let answers = self.exchange.lock().told(peer, &account, &set);
                for said in answers {
                    self.answer(&peer, &said);
                }
                Ok(())
            }
            _ => Err(FrameError::Malformed),
        }
    }

    fn asked(&self, from: PeerKey, id: PeerId, number: u64, request: Request<ChainContext>) -> Result<(), FrameError> {
        let inbound = InboundRequestId::new(format!("{}-{number}", id));
        {
            let mut waiting = self.requests.inbound.lock();
            if waiting.range((from, 0)..=(from, u64::MAX)).count() >= INBOUND_PER_PEER_MAX {
                return Err(FrameError::TooManyRequests);
            }
            waiting.insert((from, number), inbound.clone());
        }
        self.around.ledger.sync_answer();
        self.events.emit(&NetworkEvent::SyncRequest(inbound, id, request));
        Ok(())
    }
}

fn number(bytes: &mut Bytes) -> Result<u64, FrameError> {
    if bytes.len() < 8 { Err(FrameError::Malformed) } else { Ok(bytes.get_u64()) }
}
