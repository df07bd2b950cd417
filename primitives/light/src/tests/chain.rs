//! A chain of headers as the node makes them: Substrate's own header type and codec, real keys.

use crate::{SetChangeProof, TrustedState, Validator, ValidatorSet};
use codec::Encode;
use sp_runtime::{
    Digest, DigestItem,
    generic::Header,
    traits::{BlakeTwo256, Header as _},
};
use std::sync::LazyLock;
use x0_crypto::{
    Seed, SigningKey,
    certificate::{Certificate, CertificateEntry, VoteKind, vote_body},
};

pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
pub(super) const NOW: u64 = 1_800_000_000_000;

pub(super) static KEYS: LazyLock<Vec<SigningKey>> =
    LazyLock::new(|| (1..=12u8).map(|tag| SigningKey::from_seed(&Seed::from_bytes([tag; 32])).unwrap()).collect());

/// Indices of keys with their powers.
pub(super) type Members = Vec<(usize, u64)>;

pub(super) fn set(members: &Members) -> ValidatorSet {
    ValidatorSet::new(members.iter().map(|(key, power)| Validator {
        controller: [*key as u8; 32],
        consensus_key: KEYS[*key].public().clone(),
        power: *power,
    }))
    .unwrap()
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) header: Vec<u8>,
    pub(super) hash: [u8; 32],
    pub(super) number: u32,
    pub(super) announces: Option<Members>,
}

#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) genesis: [u8; 32],
    pub(super) blocks: Vec<Block>,
    /// Members by the first height that they decide.
    pub(super) sets: Vec<(u32, Members)>,
}

pub(super) fn header(number: u32, parent: [u8; 32], state_root: [u8; 32], logs: Vec<DigestItem>) -> Vec<u8> {
    Header::<u32, BlakeTwo256>::new(number, [3; 32].into(), state_root.into(), parent.into(), Digest { logs }).encode()
}

pub(super) fn announcement(members: &Members) -> DigestItem {
    DigestItem::Consensus(*b"x0vs", set(members).hash().encode())
}

impl Chain {
    pub(super) fn new(genesis: Members) -> Self {
        let header = header(0, [0; 32], [0; 32], vec![]);
        let hash = x0_crypto::blake2b_256(&header);
        let first = Block { header, hash, number: 0, announces: None };
        Self { genesis: hash, blocks: vec![first], sets: vec![(1, genesis)] }
    }

    pub(super) fn push(&mut self, announces: Option<Members>) -> &Block {
        let parent = self.blocks.last().unwrap();
        let number = parent.number + 1;
        let mut logs = vec![DigestItem::PreRuntime(*b"pow_", vec![7; 32])];
        logs.extend(announces.as_ref().map(announcement));
        let header = header(number, parent.hash, [number as u8; 32], logs);
        let hash = x0_crypto::blake2b_256(&header);
        if let Some(members) = &announces {
            self.sets.push((number + 2, members.clone()));
        }
        self.blocks.push(Block { header, hash, number, announces });
        self.blocks.last().unwrap()
    }

    /// The set that decides a height: the oracle for what the client concludes.
    pub(super) fn members_at(&self, number: u32) -> &Members {
        &self.sets.iter().rev().find(|(from, _)| *from <= number).unwrap().1
    }

    pub(super) fn certificate(&self, number: u32, signers: &[usize]) -> Certificate {
        certificate(&self.genesis, number, self.blocks[number as usize].hash, signers)
    }

    /// The certificate with everybody's signature.
    pub(super) fn full(&self, number: u32) -> Certificate {
        let signers: Vec<_> = self.members_at(number).iter().map(|(key, _)| *key).collect();
        self.certificate(number, &signers)
    }

    pub(super) fn proof(&self, number: u32) -> SetChangeProof {
        let block = &self.blocks[number as usize];
        SetChangeProof {
            header: block.header.clone(),
            certificate: self.full(number).encode(),
            set: set(block.announces.as_ref().unwrap()).encode(),
        }
    }

    pub(super) fn trust(&self) -> TrustedState {
        TrustedState::genesis(&self.blocks[0].header, self.genesis, set(&self.sets[0].1), NOW).unwrap()
    }
}

pub(super) fn certificate(genesis: &[u8; 32], number: u32, block: [u8; 32], signers: &[usize]) -> Certificate {
    let entries = signers
        .iter()
        .map(|index| {
            let key = &KEYS[*index];
            let address = key.public().fingerprint();
            let body = vote_body(VoteKind::Precommit, u64::from(number), 0, Some(&block), &address);
            CertificateEntry { address, signature: key.sign_vote(genesis, &body).unwrap() }
        })
        .collect();
    Certificate { height: u64::from(number), round: 0, block, entries }
}

/// Four validators that are replaced one by one: at height 20 none of the first is left.
pub(super) fn changing() -> Chain {
    let mut chain = Chain::new(vec![(0, 1), (1, 1), (2, 1), (3, 1)]);
    for step in 0..4 {
        for _ in 0..4 {
            chain.push(None);
        }
        chain.push(Some((step + 1..step + 5).map(|key| (key, 1)).collect()));
    }
    for _ in 0..4 {
        chain.push(None);
    }
    chain
}
