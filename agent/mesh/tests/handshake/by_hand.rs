//! An initiator written down from `docs/mesh/handshake.md`, byte by byte. It agrees with the machine,
//! and it can lie in ways in which the machine's own initiator cannot.

use crate::world::{GENESIS, MESH, Packet, World, address, signing_key};
use x0_crypto::{
    Signature, SigningKey,
    kem::DecapsulationKey,
    mesh::{
        HandshakeKeys, InitiatorTranscript, OpeningTranscript, ResponderTranscript, Traffic, X25519Secret,
        answer_mac_key, hello_mac_key,
    },
};
use x0_mesh::{
    NodeId,
    handshake::{Keys, Refusal, Role, Via},
};
use x0_mesh_wire::{HopKey, WireError};

const SENDER: [u8; 4] = [0, 0, 0, 77];

struct ByHand {
    world: World,
    key: SigningKey,
    name: NodeId,
    responder: NodeId,
    kem: DecapsulationKey,
    hello: Vec<u8>,
}

/// After the answer.
struct Opened {
    opening: OpeningTranscript,
    keys: HandshakeKeys,
    kem: x0_crypto::kem::SharedSecret,
    x25519: X25519Secret,
    peer_x25519: [u8; 32],
    peer_id: [u8; 4],
}

/// `version 1, kind | 0 | 0 | 0 | id | 0 | MAC | body`.
fn datagram(kind: u8, id: [u8; 4], mac_key: [u8; 16], body: &[u8]) -> Vec<u8> {
    let covered = [&[kind], &id[..], body].concat();
    let mac = HopKey::new(mac_key).mac(&covered);
    [&[0x10 | kind, 0, 0, 0], &id[..], &[0; 4], &mac, body].concat()
}

impl ByHand {
    /// Node 0 is the responder; this initiator is node 1 as its peers know it.
    fn new(seed: u64) -> Self {
        let world = World::new(2, seed);
        let (responder, name) = (world.id(0), world.id(1));
        let kem = DecapsulationKey::from_seed(&[5; 64]).unwrap();
        let mut hello = vec![1, 1, 1, 0];
        hello.extend(SENDER);
        hello.extend(kem.encapsulation_key().as_bytes());
        Self { world, key: signing_key(2), name, responder, kem, hello }
    }

    fn deliver(&mut self, bytes: Vec<u8>) -> Result<usize, Refusal> {
        let via = Via::Socket { underlay: 0, address: address(0) };
        self.world.deliver_from(&Packet { from: 1, to: 0, via, bytes }, address(1))
    }

    fn send_hello(&mut self) -> Result<usize, Refusal> {
        let body = [&self.hello[..], &[0; 16]].concat();
        self.deliver(datagram(1, [0; 4], hello_mac_key(&GENESIS, &MESH, &self.responder.0), &body))
    }

    fn open(&mut self) -> Opened {
        self.send_hello().unwrap();
        let answer = self.world.catch(100).unwrap().bytes;
        let body = answer[20..].to_vec();
        let mac_key = answer_mac_key(&GENESIS, &MESH, &self.responder.0, &self.hello);
        assert_eq!(answer, datagram(2, SENDER, mac_key, &body), "the answer as described");
        assert_eq!(body[..4], [1, 1, 1, 0]);
        let opening = OpeningTranscript::new(&GENESIS, &MESH, &self.hello, &body);
        let kem = self.kem.decapsulate(&body[8..1096]).unwrap();
        Opened {
            opening,
            keys: HandshakeKeys::new(&kem, &opening).unwrap(),
            kem,
            x25519: X25519Secret::from_random(&[6; 32]).unwrap(),
            peer_x25519: body[1096..].try_into().unwrap(),
            peer_id: body[4..8].try_into().unwrap(),
        }
    }

    fn transcript(&self, opened: &Opened) -> InitiatorTranscript {
        let x25519 = opened.x25519.public();
        InitiatorTranscript::new(&opened.opening, &self.name.0, &self.responder.0, self.key.public(), x25519)
    }

    fn signature(&self, opened: &Opened) -> Signature {
        self.key.sign_mesh_handshake_init(&GENESIS, self.transcript(opened).signed()).unwrap()
    }

    /// `flags | name | X25519 key | signature`.
    fn proof(&self, opened: &Opened) -> Vec<u8> {
        let signature = self.signature(opened);
        [&[0], &self.name.0[..], opened.x25519.public(), signature.as_ref()].concat()
    }

    /// One fragment: `number | index | count | seen | 0 | sealed`.
    fn fragment(
        &mut self,
        opened: &Opened,
        number: u32,
        index: u8,
        count: u8,
        payload: &[u8],
    ) -> Result<usize, Refusal> {
        let head = [&number.to_be_bytes()[..], &[index, count, 0, 0]].concat();
        let aad = [&[3], &opened.peer_id[..], &head].concat();
        let mut sealed = payload.to_vec();
        let tag = opened.keys.initiator.seal_in_place(number, &aad, &mut sealed).unwrap();
        let body = [&head[..], &sealed, &tag].concat();
        self.deliver(datagram(3, opened.peer_id, *opened.keys.initiator_mac, &body))
    }

    /// A whole message in three fragments; what the last one led to.
    fn send_proof(&mut self, opened: &Opened, message: &[u8]) -> Result<usize, Refusal> {
        let length = message.len().div_ceil(3);
        let mut padded = message.to_vec();
        padded.resize(3 * length, 0);
        let mut last = Ok(0);
        for (index, payload) in padded.chunks(length).enumerate() {
            last = self.fragment(opened, index as u32, index as u8, 3, payload);
        }
        last
    }
}

#[test]
fn an_initiator_written_by_hand_and_the_machine_agree() {
    let mut hand = ByHand::new(50);
    let opened = hand.open();
    let message = hand.proof(&opened);
    assert_eq!(hand.send_proof(&opened, &message), Ok(1), "a job");
    let mut fragments = Vec::new();
    while let Some(packet) = hand.world.catch(100) {
        let body = packet.bytes[20..].to_vec();
        assert_eq!(packet.bytes, datagram(3, SENDER, *opened.keys.responder_mac, &body), "the proof as described");
        let number = u32::from_be_bytes(body[..4].try_into().unwrap());
        assert_eq!((number, body[4], body[5], body[7]), (fragments.len() as u32, fragments.len() as u8, 3, 0));
        let aad = [&[3], &SENDER[..], &body[..8]].concat();
        let mut sealed = body[8..].to_vec();
        fragments.push(opened.keys.responder.open_in_place(number, &aad, &mut sealed).unwrap().to_vec());
    }
    let [a, b, c, parity] = &fragments[..] else { panic!("three fragments and a parity") };
    assert!(a.iter().zip(b).zip(c).zip(parity).all(|(((a, b), c), parity)| a ^ b ^ c == *parity));
    let proof = fragments[..3].concat();
    assert_eq!((proof[0], &proof[1..33]), (0, &hand.responder.0[..]));
    let signature = Signature::from_bytes(&proof[33..33 + 3309]).unwrap();
    assert!(proof[33 + 3309..].iter().all(|byte| *byte == 0));
    let key = hand.world.nodes[0].key.public().clone();
    let whole = ResponderTranscript::new(&hand.transcript(&opened), &message, &key);
    key.verify_mesh_handshake_resp(&GENESIS, whole.signed(), &signature).unwrap();
    let shared = opened.x25519.agree(&opened.peer_x25519).unwrap();
    let keys = Keys::new(Traffic::new(&opened.kem, &shared, &whole).unwrap(), Role::Initiator);
    let theirs = &hand.world.nodes[0].established[0];
    assert_eq!((theirs.keys.transcript, theirs.peer, theirs.peer_id), (keys.transcript, hand.name, 77));
    assert_eq!(theirs.keys.receive_mac, keys.send_mac);
}

/// A proof that was changed before it was sealed, and what it leads to.
fn refusal_of(change: impl Fn(&ByHand, &Opened, &mut Vec<u8>)) -> Refusal {
    let mut hand = ByHand::new(51);
    let opened = hand.open();
    let mut message = hand.proof(&opened);
    change(&hand, &opened, &mut message);
    let result = hand.send_proof(&opened, &message);
    hand.world.run_ms(20_000);
    assert!(hand.world.nodes[0].established.is_empty());
    assert_eq!(hand.world.log.len(), 1, "no word after the answer");
    result.err().unwrap_or_else(|| hand.world.nodes[0].refused[0])
}

#[test]
fn each_lie_in_a_proof_has_its_refusal() {
    assert_eq!(refusal_of(|_, _, message| message[0] = 4), Refusal::Proof);
    assert_eq!(refusal_of(|_, _, message| message[0] = 1), Refusal::Proof, "a key that is not there");
    assert_eq!(refusal_of(|_, _, message| message.truncate(3_000)), Refusal::Proof);
    assert_eq!(refusal_of(|_, _, message| message.push(1)), Refusal::Proof, "padding that is not zero");
    assert_eq!(refusal_of(|_, _, message| message.extend([0; 60])), Refusal::Proof, "padding for a whole fragment");
    assert_eq!(refusal_of(|hand, _, message| message[1..33].copy_from_slice(&hand.responder.0)), Refusal::OwnIdentity);
    assert_eq!(refusal_of(|_, _, message| message[1] ^= 1), Refusal::Unauthorised);
    assert_eq!(refusal_of(|_, _, message| message[33] ^= 1), Refusal::Signature, "another X25519 key");
    assert_eq!(refusal_of(|_, _, message| message[100] ^= 1), Refusal::Signature);
    let other_role = |hand: &ByHand, opened: &Opened, message: &mut Vec<u8>| {
        let signature = hand.key.sign_mesh_handshake_resp(&GENESIS, hand.transcript(opened).signed()).unwrap();
        message[65..].copy_from_slice(signature.as_ref());
    };
    assert_eq!(refusal_of(other_role), Refusal::Signature);
    let other_chain = |hand: &ByHand, opened: &Opened, message: &mut Vec<u8>| {
        let signature = hand.key.sign_mesh_handshake_init(&[0; 32], hand.transcript(opened).signed()).unwrap();
        message[65..].copy_from_slice(signature.as_ref());
    };
    assert_eq!(refusal_of(other_chain), Refusal::Signature);
    // A key of low order, properly signed.
    let low_order = |hand: &ByHand, opened: &Opened, message: &mut Vec<u8>| {
        let (name, responder) = (&hand.name.0, &hand.responder.0);
        let signed = InitiatorTranscript::new(&opened.opening, name, responder, hand.key.public(), &[0; 32]);
        message[33..65].fill(0);
        let signature = hand.key.sign_mesh_handshake_init(&GENESIS, signed.signed()).unwrap();
        message[65..].copy_from_slice(signature.as_ref());
    };
    assert_eq!(refusal_of(low_order), Refusal::Job);
}

#[test]
fn each_lie_in_a_hello_or_a_fragment_has_its_refusal() {
    let hello = |at: usize, value: u8| {
        let mut hand = ByHand::new(52);
        hand.hello[at] = value;
        hand.send_hello().unwrap_err()
    };
    assert_eq!(hello(0, 2), Refusal::Malformed(WireError::Version { found: 2 }));
    assert_eq!(hello(1, 2), Refusal::Suite { offered: 2 });
    assert_eq!(hello(2, 2), Refusal::Purpose);
    assert_eq!(hello(3, 1), Refusal::Malformed(WireError::Reserved { offset: 3 }));
    // Coefficients that are not reduced (FIPS 203, section 7.2): a job finds that out.
    let mut hand = ByHand::new(53);
    hand.hello[8..].fill(0xFF);
    hand.send_hello().unwrap();
    hand.world.run_ms(100);
    assert_eq!((hand.world.nodes[0].refused[0], hand.world.log.len()), (Refusal::Proof, 0));

    let mut hand = ByHand::new(54);
    let opened = hand.open();
    assert_eq!(hand.fragment(&opened, 0, 0, 3, &[1; 900]), Ok(0));
    assert_eq!(hand.fragment(&opened, 1, 0, 3, &[1; 900]), Ok(0), "a copy");
    assert_eq!(hand.fragment(&opened, 2, 0, 3, &[2; 900]), Err(Refusal::Fragment), "another content");
    assert_eq!(hand.fragment(&opened, 3, 1, 4, &[1; 900]), Err(Refusal::Fragment), "another count");
    assert_eq!(hand.fragment(&opened, 4, 1, 3, &[1; 901]), Err(Refusal::Fragment), "another length");
    assert_eq!(hand.fragment(&opened, 5, 0, 0, &[]), Err(Refusal::Fragment), "an acknowledgement of nothing");
    // Lies did no harm: the truth still passes.
    let message = hand.proof(&opened);
    let mut fresh = ByHand::new(55);
    let opened = fresh.open();
    assert!(fresh.send_proof(&opened, &message).is_ok(), "a proof for another exchange is whole");
    fresh.world.run_ms(100);
    assert_eq!(fresh.world.nodes[0].refused, [Refusal::Signature]);
}
