//! Positional parameters with exact counting.
//!
//! Substrate's clients send positional parameters and `null` for what they leave out. A wrong type,
//! a missing or a surplus parameter is -32602 with the parameter's name, never a silent default.

use crate::error::{RpcResult, invalid_params};
use jsonrpsee::types::Params;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use x0_limits::RPC_TEXT_BYTES_MAX;
use x0_rpc_types::HexBytes;
use x0_types::Hash;

/// The parameters of one request, taken from the front.
#[derive(Clone)]
pub(crate) struct Args {
    rest: std::vec::IntoIter<Box<RawValue>>,
}

impl Args {
    /// Splits the request's parameters; absent parameters are an empty list.
    pub(crate) fn new(params: &Params<'_>) -> RpcResult<Self> {
        if params.len_bytes() == 0 {
            return Ok(Self { rest: Vec::new().into_iter() });
        }
        let list: Vec<Box<RawValue>> =
            params.parse().map_err(|_| invalid_params("expected an array of positional parameters"))?;
        Ok(Self { rest: list.into_iter() })
    }

    /// The next parameter, which must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &str) -> RpcResult<T> {
        self.optional(name)?.ok_or_else(|| invalid_params(format!("'{name}' is missing")))
    }

    /// The next parameter, if it is there and not `null`.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, name: &str) -> RpcResult<Option<T>> {
        match self.rest.next() {
            Some(raw) if raw.get() != "null" => serde_json::from_str(raw.get())
                .map(Some)
                .map_err(|cause| invalid_params(format!("'{name}': {}", short(&cause.to_string())))),
            _ => Ok(None),
        }
    }

    /// As [`Self::required`], for what names accounts: see [`Self::optional_text`].
    pub(crate) fn required_text<T: DeserializeOwned>(&mut self, name: &str) -> RpcResult<T> {
        self.optional_text(name)?.ok_or_else(|| invalid_params(format!("'{name}' is missing")))
    }

    /// As [`Self::optional`], for what names accounts or keys in base58: decoding it takes time that
    /// grows with the square of its length, so that a long one would keep a thread busy for minutes.
    pub(crate) fn optional_text<T: DeserializeOwned>(&mut self, name: &str) -> RpcResult<Option<T>> {
        let length = self.rest.as_slice().first().map_or(0, |raw| raw.get().len());
        if length > RPC_TEXT_BYTES_MAX {
            return Err(invalid_params(format!(
                "'{name}': {length} characters, at most {RPC_TEXT_BYTES_MAX} are read"
            )));
        }
        self.optional(name)
    }

    /// The next parameter as bytes.
    pub(crate) fn bytes(&mut self, name: &str) -> RpcResult<Vec<u8>> {
        self.required::<HexBytes>(name).map(|bytes| bytes.0)
    }

    /// The next parameter as a block hash, if it is there.
    pub(crate) fn block(&mut self) -> RpcResult<Option<Hash>> {
        let Some(bytes) = self.optional::<HexBytes>("at")? else { return Ok(None) };
        let hash: [u8; 32] = bytes
            .0
            .as_slice()
            .try_into()
            .map_err(|_| invalid_params(format!("'at': a block hash has 32 bytes, not {}", bytes.0.len())))?;
        Ok(Some(Hash::from(hash)))
    }

    /// Checks that nothing is left over.
    pub(crate) fn end(self) -> RpcResult<()> {
        // Trailing nulls mean "left out" and some clients send them.
        let surplus = self.rest.filter(|raw| raw.get() != "null").count();
        if surplus > 0 { Err(invalid_params(format!("{surplus} more than this method takes"))) } else { Ok(()) }
    }
}

/// The first part of a message that may quote the caller's own bytes.
fn short(message: &str) -> String {
    const LENGTH: usize = 200;
    if message.chars().count() <= LENGTH {
        message.to_owned()
    } else {
        message.chars().take(LENGTH).chain("...".chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(json: &str) -> RpcResult<Args> {
        Args::new(&Params::new(Some(json)))
    }

    #[test]
    fn missing_wrong_and_surplus_parameters_are_named() {
        let mut empty = args("[]").unwrap();
        assert!(empty.required::<u32>("count").unwrap_err().message().contains("'count' is missing"));
        let mut wrong = args(r#"["x", 1]"#).unwrap();
        let error = wrong.required::<u32>("count").unwrap_err();
        assert_eq!(error.code(), -32602);
        assert!(error.message().contains("'count'"), "{}", error.message());
        assert!(wrong.end().unwrap_err().message().contains("1 more"));
        assert!(args(r#"{"a":1}"#).is_err());
        assert!(args("[null, null]").unwrap().end().is_ok());
    }

    #[test]
    fn names_of_accounts_are_refused_before_they_are_decoded_when_they_are_long() {
        let long = format!("[\"{}\"]", "a".repeat(RPC_TEXT_BYTES_MAX));
        let error = args(&long).unwrap().required_text::<String>("account").unwrap_err();
        assert!(error.message().contains("at most"), "{}", error.message());
        assert_eq!(args("[\"a\"]").unwrap().required_text::<String>("account").unwrap(), "a");
        assert!(args("[]").unwrap().required_text::<String>("account").unwrap_err().message().contains("missing"));
    }

    #[test]
    fn blocks_and_bytes_are_checked() {
        assert_eq!(args("[]").unwrap().block().unwrap(), None);
        assert_eq!(args("[null]").unwrap().block().unwrap(), None);
        assert!(args(r#"["0x00"]"#).unwrap().block().unwrap_err().message().contains("32 bytes"));
        assert!(args(r#"["zz"]"#).unwrap().bytes("data").unwrap_err().message().contains("hex"));
        let long = format!("[\"{}\"]", "q".repeat(5_000));
        assert!(args(&long).unwrap().bytes("data").unwrap_err().message().len() < 400);
    }
}
