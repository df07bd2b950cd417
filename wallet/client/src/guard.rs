//! Bounds on call data before any recursive reader sees it.
//!
//! A call may hold calls (a batch, a proxied call), and the readers of such data recurse. A file of
//! 100 kB can nest 30,000 calls and overflow the stack of whoever decodes it. This module walks the
//! bytes with a work list of its own instead of recursion, and refuses what nests too deep, is too
//! long, or does not end where its type ends.

use scale_info::{PortableRegistry, TypeDef, TypeDefPrimitive, form::PortableForm};
use x0_limits::{CALL_DEPTH_MAX, EXTRINSIC_BYTES_MAX};

use crate::ClientError;

/// One step of the walk.
#[derive(Clone, Copy)]
enum Step {
    /// Skip one value of this type, inside this many calls.
    One { type_id: u32, depth: u32 },
    /// Skip this many values of this type.
    Many { type_id: u32, depth: u32, left: u32 },
}

/// Checks that `bytes` hold exactly one value of type `call_type`, at most
/// [`EXTRINSIC_BYTES_MAX`] long, whose calls nest at most [`CALL_DEPTH_MAX`] deep.
///
/// # Errors
/// [`ClientError::UnsafeCall`] with the bound that is broken.
pub fn check_call(bytes: &[u8], call_type: u32, types: &PortableRegistry) -> Result<(), ClientError> {
    if bytes.len() > EXTRINSIC_BYTES_MAX {
        return Err(refuse(format!("{} bytes, at most {EXTRINSIC_BYTES_MAX} are possible", bytes.len())));
    }
    let mut rest = bytes;
    let mut steps = vec![Step::One { type_id: call_type, depth: 0 }];
    while let Some(step) = steps.pop() {
        let (type_id, depth) = match step {
            Step::One { type_id, depth } => (type_id, depth),
            Step::Many { left: 0, .. } => continue,
            Step::Many { type_id, depth, left } => {
                steps.push(Step::Many { type_id, depth, left: left - 1 });
                (type_id, depth)
            }
        };
        let depth = if type_id == call_type { depth + 1 } else { depth };
        if depth > CALL_DEPTH_MAX {
            return Err(refuse(format!("calls nest more than {CALL_DEPTH_MAX} deep")));
        }
        skip_one(&mut rest, type_id, depth, types, &mut steps)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(refuse(format!("{} bytes follow its end", rest.len()))) }
}

fn refuse(reason: impl Into<String>) -> ClientError {
    ClientError::UnsafeCall { reason: reason.into() }
}

/// Skips one value's own bytes and puts its parts on the work list, first part on top.
fn skip_one(
    rest: &mut &[u8],
    type_id: u32,
    depth: u32,
    types: &PortableRegistry,
    steps: &mut Vec<Step>,
) -> Result<(), ClientError> {
    let one = |type_id| Step::One { type_id, depth };
    let definition = types.resolve(type_id).ok_or_else(|| refuse(format!("its type {type_id} is not described")))?;
    match &definition.type_def {
        TypeDef::Composite(composite) => steps.extend(composite.fields.iter().rev().map(|field| one(field.ty.id))),
        TypeDef::Tuple(tuple) => steps.extend(tuple.fields.iter().rev().map(|field| one(field.id))),
        TypeDef::Variant(variants) => {
            let index = take(rest, 1)?[0];
            let variant = variants
                .variants
                .iter()
                .find(|variant| variant.index == index)
                .ok_or_else(|| refuse(format!("{} has no variant {index}", type_name(definition))))?;
            steps.extend(variant.fields.iter().rev().map(|field| one(field.ty.id)));
        }
        TypeDef::Array(array) => many(rest, array.type_param.id, array.len, depth, types, steps)?,
        TypeDef::Sequence(sequence) => {
            let length = compact_length(rest)?;
            // Every element of the types used in calls has at least one byte; this bounds the loop.
            if usize::try_from(length).map_or(true, |length| length > rest.len()) {
                return Err(refuse(format!("a list of {length} elements in {} bytes", rest.len())));
            }
            many(rest, sequence.type_param.id, length, depth, types, steps)?;
        }
        TypeDef::Compact(_) => skip_compact(rest)?,
        TypeDef::Primitive(primitive) => skip_primitive(rest, primitive)?,
        TypeDef::BitSequence(_) => {
            let bits = compact_length(rest)?;
            take(rest, usize::try_from(bits.div_ceil(8)).map_err(|_| refuse("a bit list is too long"))?)?;
        }
    }
    Ok(())
}

/// Skips several values: bytes at once, anything else through the work list.
fn many(
    rest: &mut &[u8],
    type_id: u32,
    count: u32,
    depth: u32,
    types: &PortableRegistry,
    steps: &mut Vec<Step>,
) -> Result<(), ClientError> {
    let is_byte =
        types.resolve(type_id).is_some_and(|ty| matches!(ty.type_def, TypeDef::Primitive(TypeDefPrimitive::U8)));
    if is_byte {
        take(rest, usize::try_from(count).map_err(|_| refuse("a list is too long"))?)?;
    } else {
        steps.push(Step::Many { type_id, depth, left: count });
    }
    Ok(())
}

/// Takes bytes off the front.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], ClientError> {
    let (front, back) = rest
        .split_at_checked(count)
        .ok_or_else(|| refuse(format!("it ends {} bytes early", count.saturating_sub(rest.len()))))?;
    *rest = back;
    Ok(front)
}

/// Reads the compact length of a list.
fn compact_length(rest: &mut &[u8]) -> Result<u32, ClientError> {
    use codec::Decode;
    codec::Compact::<u32>::decode(rest).map(|length| length.0).map_err(|error| refuse(format!("a length: {error}")))
}

/// Skips a compact number of any width.
fn skip_compact(rest: &mut &[u8]) -> Result<(), ClientError> {
    let first = *rest.first().ok_or_else(|| refuse("it ends 1 bytes early"))?;
    let length = match first & 0b11 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => usize::from(first >> 2) + 5,
    };
    take(rest, length).map(|_| ())
}

fn skip_primitive(rest: &mut &[u8], primitive: &TypeDefPrimitive) -> Result<(), ClientError> {
    let length = match primitive {
        TypeDefPrimitive::Bool | TypeDefPrimitive::U8 | TypeDefPrimitive::I8 => 1,
        TypeDefPrimitive::U16 | TypeDefPrimitive::I16 => 2,
        TypeDefPrimitive::Char | TypeDefPrimitive::U32 | TypeDefPrimitive::I32 => 4,
        TypeDefPrimitive::U64 | TypeDefPrimitive::I64 => 8,
        TypeDefPrimitive::U128 | TypeDefPrimitive::I128 => 16,
        TypeDefPrimitive::U256 | TypeDefPrimitive::I256 => 32,
        TypeDefPrimitive::Str => usize::try_from(compact_length(rest)?).map_err(|_| refuse("a text is too long"))?,
    };
    take(rest, length).map(|_| ())
}

fn type_name(ty: &scale_info::Type<PortableForm>) -> String {
    ty.path.ident().unwrap_or_else(|| "a type".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Encode;
    use proptest::prelude::*;
    use scale_info::{MetaType, Registry, TypeInfo};

    /// A stand-in for the runtime's call: it nests both singly and in lists.
    #[derive(Encode, TypeInfo)]
    enum Call {
        Remark {
            text: Vec<u8>,
            note: String,
        },
        Pay {
            to: [u8; 32],
            #[codec(compact)]
            amount: u128,
        },
        Batch {
            calls: Vec<Call>,
        },
        As {
            inner: Box<Call>,
            flag: Option<bool>,
        },
    }

    fn registry() -> (u32, PortableRegistry) {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<Call>()).id;
        (id, registry.into())
    }

    /// Bytes of `depth` nested single calls, built without recursion.
    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![3u8; depth - 1];
        bytes.extend(Call::Remark { text: vec![], note: String::new() }.encode());
        bytes.extend(std::iter::repeat_n(0u8, depth - 1));
        bytes
    }

    #[test]
    fn ordinary_calls_pass() {
        let (id, types) = registry();
        let call = Call::Batch {
            calls: vec![
                Call::Remark { text: b"hello".to_vec(), note: "ünïcode".into() },
                Call::Pay { to: [9; 32], amount: u128::MAX },
                Call::As { inner: Box::new(Call::Batch { calls: vec![] }), flag: Some(true) },
            ],
        };
        check_call(&call.encode(), id, &types).unwrap();
    }

    #[test]
    fn the_depth_is_bounded_and_a_bomb_does_not_overflow_the_stack() {
        let (id, types) = registry();
        let limit = CALL_DEPTH_MAX as usize;
        check_call(&nested(limit), id, &types).unwrap();
        for depth in [limit + 1, 100_000] {
            let error = check_call(&nested(depth), id, &types).unwrap_err().to_string();
            assert!(error.contains("nest"), "{error}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let (id, types) = registry();
        let whole = Call::Remark { text: vec![1, 2, 3], note: "x".into() }.encode();
        assert!(check_call(&whole[..whole.len() - 1], id, &types).is_err(), "cut short");
        assert!(check_call(&[whole.clone(), vec![0]].concat(), id, &types).is_err(), "trailing byte");
        assert!(check_call(&[2, 0xfe, 0xff, 0xff, 0xff], id, &types).is_err(), "a list of 2^30 calls");
        assert!(check_call(&vec![0; EXTRINSIC_BYTES_MAX + 1], id, &types).is_err(), "oversized");
    }

    proptest! {
        /// Any bytes end in an answer, never in a panic.
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (id, types) = registry();
            let _ = check_call(&bytes, id, &types);
        }
    }
}
