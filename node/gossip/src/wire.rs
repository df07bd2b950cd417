//! What nodes say about transactions.
//!
//! ```text
//!   0 | count (2 bytes) | count x ( length (4 bytes) | transaction )     transactions, asked for or not
//!   1 | count (2 bytes) | count x hash (32 bytes)                        these wait here
//!   2 | count (2 bytes) | count x hash (32 bytes)                        send me these
//! ```
//! Numbers are big-endian. Transactions are encoded as the mempool takes them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use x0_types::Hash;

const TRANSACTIONS: u8 = 0;
const HAVE: u8 = 1;
const WANT: u8 = 2;
/// Bytes before the first item.
const HEADER_BYTES: usize = 3;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Transactions(Vec<Bytes>),
    Have(Vec<Hash>),
    Want(Vec<Hash>),
}

/// The bytes are no message of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

fn header(tag: u8, count: usize) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_u8(tag);
    frame.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
    frame
}

/// Frames with these hashes.
fn hash_frames(tag: u8, hashes: &[Hash]) -> Vec<Bytes> {
    hashes
        .chunks(x0_limits::GOSSIP_HASHES_PER_FRAME)
        .map(|chunk| {
            let mut frame = header(tag, chunk.len());
            chunk.iter().for_each(|hash| frame.put_slice(hash.as_bytes()));
            frame.freeze()
        })
        .collect()
}

/// Frames that say which transactions wait here.
pub(crate) fn have(hashes: &[Hash]) -> Vec<Bytes> {
    hash_frames(HAVE, hashes)
}

/// Frames that ask for transactions.
pub(crate) fn want(hashes: &[Hash]) -> Vec<Bytes> {
    hash_frames(WANT, hashes)
}

/// Frames with these transactions, several in one as long as they are small.
pub(crate) fn transactions(all: &[Bytes]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut rest = all;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest
            .iter()
            .take(x0_limits::GOSSIP_TRANSACTIONS_PER_FRAME)
            .take_while(|transaction| {
                bytes += transaction.len();
                bytes <= x0_limits::GOSSIP_FRAME_BYTES
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at(fits);
        let mut frame = header(TRANSACTIONS, now.len());
        for transaction in now {
            frame.put_u32(u32::try_from(transaction.len()).unwrap_or(u32::MAX));
            frame.put_slice(transaction);
        }
        frames.push(frame.freeze());
        rest = later;
    }
    frames
}

/// Reads a frame. Transactions share its memory.
///
/// # Errors
/// [`Malformed`] for anything that [`have`], [`want`] or [`transactions`] would not write.
pub(crate) fn read(mut frame: Bytes) -> Result<Message, Malformed> {
    if frame.len() < HEADER_BYTES {
        return Err(Malformed);
    }
    let (tag, count) = (frame.get_u8(), usize::from(frame.get_u16()));
    match tag {
        TRANSACTIONS if count <= x0_limits::GOSSIP_TRANSACTIONS_PER_FRAME => {
            let mut all = Vec::with_capacity(count);
            for _ in 0..count {
                if frame.len() < 4 {
                    return Err(Malformed);
                }
                let length = usize::try_from(frame.get_u32()).map_err(|_| Malformed)?;
                if length > frame.len() || length > x0_limits::EXTRINSIC_BYTES_MAX {
                    return Err(Malformed);
                }
                all.push(frame.split_to(length));
            }
            if frame.is_empty() { Ok(Message::Transactions(all)) } else { Err(Malformed) }
        }
        HAVE | WANT if count <= x0_limits::GOSSIP_HASHES_PER_FRAME && frame.len() == count * 32 => {
            let hashes = frame.chunks_exact(32).map(Hash::from_slice).collect();
            Ok(if tag == HAVE { Message::Have(hashes) } else { Message::Want(hashes) })
        }
        _ => Err(Malformed),
    }
}

/// Reads bytes as a frame of a peer, for fuzzing: `false` when a message that was read reads back
/// otherwise than it was written.
#[must_use]
pub fn reads_back(bytes: &[u8]) -> bool {
    let Ok(message) = read(Bytes::copy_from_slice(bytes)) else { return true };
    let frames = match &message {
        Message::Transactions(all) => transactions(all),
        Message::Have(hashes) => have(hashes),
        Message::Want(hashes) => want(hashes),
    };
    // An empty message, and one that is split in another way, have no single frame to compare.
    let [frame] = &frames[..] else { return true };
    read(frame.clone()) == Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(sizes in prop::collection::vec(0usize..40_000, 0..60), hashes in prop::collection::vec(any::<[u8; 32]>(), 0..3_000)) {
            let all: Vec<_> = sizes.iter().enumerate().map(|(index, size)| Bytes::from(vec![index as u8; *size])).collect();
            let mut read_back = Vec::new();
            for frame in transactions(&all) {
                prop_assert!(frame.len() <= x0_limits::TRANSACTIONS_FRAME_BYTES_MAX);
                let Ok(Message::Transactions(some)) = read(frame) else { panic!("not read") };
                read_back.extend(some);
            }
            prop_assert_eq!(read_back, all);
            let hashes: Vec<_> = hashes.into_iter().map(Hash::from).collect();
            let mut read_back = Vec::new();
            for frame in have(&hashes) {
                let Ok(Message::Have(some)) = read(frame) else { panic!("not read") };
                read_back.extend(some);
            }
            prop_assert_eq!(read_back, hashes);
        }

        #[test]
        fn garbage_is_refused_or_read_never_worse(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Bytes::from(bytes));
        }
    }

    #[test]
    fn the_largest_transaction_fits_and_a_larger_one_is_refused() {
        let largest = Bytes::from(vec![1; x0_limits::EXTRINSIC_BYTES_MAX]);
        let frames = transactions(&[largest.clone(), largest.clone()]);
        assert_eq!(frames.len(), 2);
        assert!(frames[0].len() <= x0_limits::TRANSACTIONS_FRAME_BYTES_MAX);
        assert_eq!(read(frames[0].clone()), Ok(Message::Transactions(vec![largest])));
        let larger = transactions(&[Bytes::from(vec![1; x0_limits::EXTRINSIC_BYTES_MAX + 1])]);
        assert_eq!(read(larger[0].clone()), Err(Malformed));
        for bad in [&[][..], &[0, 0], &[3, 0, 0], &[1, 0, 1], &[0, 0, 1, 0, 0, 0, 2, 1], &[1, 0, 0, 9], &[0, 0, 0, 9]] {
            assert_eq!(read(Bytes::copy_from_slice(bad)), Err(Malformed), "{bad:?}");
        }
    }
}
