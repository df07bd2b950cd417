//! Messages between node and signer: a length of four bytes, big-endian, and a body within `SIGNER_FRAME_BYTES_MAX`.

use crate::{
    guard::{GuardError, Signed},
    slot::{RECORD_BYTES, read_whole, write_record},
};
use x0_crypto::{
    PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, Signature,
    statement::{Place, Statement, Step},
};

const HELLO: u8 = 1;
const SIGN: u8 = 2;
const SIGNED: u8 = 3;
const CONFLICT: u8 = 4;
const REGRESSION: u8 = 5;
const REFUSED: u8 = 6;
const _: () = assert!(RECORD_BYTES < x0_limits::SIGNER_FRAME_BYTES_MAX);
const _: () = assert!(2 * SIGNATURE_BYTES < x0_limits::SIGNER_FRAME_BYTES_MAX / 2);
/// Statements of one request.
const STATEMENTS_MAX: usize = 2;
/// Longest refusal in words, bytes.
const REFUSAL_BYTES_MAX: usize = 1_024;

/// Why bytes are no message of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced length is out of bounds.
    #[error("a message of {found} bytes; at most {} are taken", x0_limits::SIGNER_FRAME_BYTES_MAX)]
    Length {
        /// The announced length.
        found: usize,
    },
    /// The body is not the message that is due.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// The body's length, from the four bytes before it.
pub(super) fn length(head: [u8; 4]) -> Result<usize, FrameError> {
    let found = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if found == 0 || found > x0_limits::SIGNER_FRAME_BYTES_MAX { Err(FrameError::Length { found }) } else { Ok(found) }
}

/// A body with its length before it.
pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

pub(super) fn hello(public: &PublicKey) -> Vec<u8> {
    [&[HELLO][..], public.as_bytes()].concat()
}

pub(super) fn read_hello(body: &[u8]) -> Result<PublicKey, FrameError> {
    match body.split_first() {
        Some((&HELLO, key)) if key.len() == PUBLIC_KEY_BYTES => {
            PublicKey::from_bytes(key).map_err(|_| FrameError::Malformed("key"))
        }
        _ => Err(FrameError::Malformed("not a hello")),
    }
}

pub(super) fn request(statements: &[&Statement]) -> Vec<u8> {
    let mut body = vec![SIGN];
    for statement in statements {
        let bytes = statement.body();
        body.push(statement.place().step.byte());
        body.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(&bytes);
    }
    body
}

pub(super) fn read_request(body: &[u8]) -> Result<Vec<Statement>, FrameError> {
    let Some((&SIGN, mut rest)) = body.split_first() else { return Err(FrameError::Malformed("not a request")) };
    let mut statements = Vec::with_capacity(STATEMENTS_MAX);
    while let Some(([step, length], after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(*length);
        let (Some(step), true, true) =
            (Step::from_byte(*step), after.len() >= length, statements.len() < STATEMENTS_MAX)
        else {
            return Err(FrameError::Malformed("statements"));
        };
        let (bytes, after) = after.split_at(length);
        statements.push(Statement::decode(step, bytes).map_err(|_| FrameError::Malformed("statement"))?);
        rest = after;
    }
    if rest.is_empty() && !statements.is_empty() { Ok(statements) } else { Err(FrameError::Malformed("statements")) }
}

fn place_bytes(place: Place) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..8].copy_from_slice(&place.height.to_be_bytes());
    bytes[8..12].copy_from_slice(&place.round.to_be_bytes());
    bytes[12] = place.step.byte();
    bytes
}

fn read_place(bytes: &[u8]) -> Option<Place> {
    let (height, rest) = bytes.split_first_chunk::<8>()?;
    let (round, rest) = rest.split_first_chunk::<4>()?;
    let [step] = rest else { return None };
    Some(Place {
        height: u64::from_be_bytes(*height),
        round: u32::from_be_bytes(*round),
        step: Step::from_byte(*step)?,
    })
}

pub(super) fn answer(outcome: Result<Vec<Signature>, GuardError>, binding: &[u8; 32]) -> Vec<u8> {
    match outcome {
        Ok(signatures) => {
            let mut body = vec![SIGNED];
            signatures.iter().for_each(|signature| body.extend_from_slice(signature.as_bytes()));
            body
        }
        Err(GuardError::Conflict { recorded }) => [&[CONFLICT][..], &write_record(&recorded, binding)[..]].concat(),
        Err(GuardError::Regression { asked, last }) => {
            [&[REGRESSION][..], &place_bytes(asked), &place_bytes(last)].concat()
        }
        Err(error) => {
            let text = error.to_string();
            let mut body = vec![REFUSED];
            body.extend_from_slice(text.as_bytes().get(..REFUSAL_BYTES_MAX).unwrap_or(text.as_bytes()));
            body
        }
    }
}

/// What the signer says to a request for so many signatures.
pub(super) fn read_answer(
    body: &[u8],
    count: usize,
    binding: &[u8; 32],
) -> Result<Result<Vec<Signature>, GuardError>, FrameError> {
    let Some((tag, rest)) = body.split_first() else { return Err(FrameError::Malformed("empty")) };
    match *tag {
        SIGNED if rest.len() == count * SIGNATURE_BYTES => rest
            .chunks_exact(SIGNATURE_BYTES)
            .map(|bytes| Signature::from_bytes(bytes).map_err(|_| FrameError::Malformed("signature")))
            .collect::<Result<_, _>>()
            .map(Ok),
        CONFLICT if rest.len() == RECORD_BYTES => {
            let recorded: Signed = read_whole(rest, binding).ok_or(FrameError::Malformed("record"))?;
            Ok(Err(GuardError::Conflict { recorded: Box::new(recorded) }))
        }
        REGRESSION if rest.len() == 26 => {
            let (asked, last) = rest.split_at(13);
            match (read_place(asked), read_place(last)) {
                (Some(asked), Some(last)) => Ok(Err(GuardError::Regression { asked, last })),
                _ => Err(FrameError::Malformed("place")),
            }
        }
        REFUSED if rest.len() <= REFUSAL_BYTES_MAX => {
            Ok(Err(GuardError::Remote(String::from_utf8_lossy(rest).into_owned())))
        }
        _ => Err(FrameError::Malformed("not an answer")),
    }
}
