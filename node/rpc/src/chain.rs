//! `chain_*`: headers, blocks, hashes, certificates, and subscriptions to heads.
//!
//! Finality is instant, so that the best and the finalised head are the same block, and "new heads",
//! "all heads" and "finalised heads" are one stream.

use crate::{
    error::{RpcResult, error, internal, invalid_params, pruned, unknown_block},
    feed::Waiting,
    module::{Module, Registered, aliases, blocking, quick},
    node::Node,
    params::Args,
};
use codec::Decode;
use jsonrpsee::{core::SubscriptionResult, types::ErrorObjectOwned};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use x0_limits::RPC_BLOCK_HASHES_MAX;
use x0_rpc_types::{HexBytes, bytes::to_hex, chain::Certificate, error as code};
use x0_runtime::Header;
use x0_types::Hash;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "chain_getHeader", get_header)?;
    blocking(module, "chain_getBlock", get_block)?;
    blocking(module, "chain_getBlockHash", get_block_hash)?;
    aliases(module, "chain_getBlockHash", &["chain_getHead"])?;
    quick(module, "chain_getFinalizedHead", get_finalized_head)?;
    aliases(module, "chain_getFinalizedHead", &["chain_getFinalisedHead"])?;
    blocking(module, "chain_certificate", certificate)?;
    for (subscribe, notify, unsubscribe) in [
        ("chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads"),
        ("chain_subscribeFinalizedHeads", "chain_finalizedHead", "chain_unsubscribeFinalizedHeads"),
        ("chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads"),
    ] {
        module.register_subscription(subscribe, notify, unsubscribe, |params, pending, node, extensions| {
            heads(Args::new(&params).and_then(Args::end), Waiting::new(pending, &extensions), Arc::clone(&node))
        })?;
    }
    aliases(module, "chain_subscribeNewHeads", &["chain_subscribeNewHead", "subscribe_newHead"])?;
    aliases(module, "chain_unsubscribeNewHeads", &["chain_unsubscribeNewHead", "unsubscribe_newHead"])?;
    aliases(module, "chain_subscribeFinalizedHeads", &["chain_subscribeFinalisedHeads"])?;
    aliases(module, "chain_unsubscribeFinalizedHeads", &["chain_unsubscribeFinalisedHeads"])
}

/// Decodes a stored header.
pub(crate) fn decode_header(bytes: &[u8]) -> RpcResult<Header> {
    Header::decode(&mut &bytes[..]).map_err(|cause| internal("a stored header does not decode", &cause))
}

/// The JSON of the block at a height, if there is one.
fn header_json(node: &Node, number: u32) -> RpcResult<Option<Value>> {
    let Some(bytes) = node.database.header(number) else { return Ok(None) };
    let header = decode_header(&bytes)?;
    serde_json::to_value(&header).map(Some).map_err(|cause| internal("a header has no JSON form", &cause))
}

/// A height that `at` names; `None` for a hash that this node does not know.
fn known(node: &Node, at: Option<Hash>) -> Option<u32> {
    at.map_or_else(|| Some(node.head().number), |hash| node.database.number_of(&hash))
}

fn get_header(node: &Node, mut args: Args) -> RpcResult<Option<Value>> {
    let at = args.block()?;
    args.end()?;
    known(node, at).map_or(Ok(None), |number| header_json(node, number))
}

fn get_block(node: &Node, mut args: Args) -> RpcResult<Option<Value>> {
    let at = args.block()?;
    args.end()?;
    let Some(number) = known(node, at) else { return Ok(None) };
    let Some(header) = header_json(node, number)? else { return Ok(None) };
    let Some(body) = node.database.body(number) else { return Err(pruned_body(node, number)) };
    let extrinsics: Vec<String> = body.iter().map(|extrinsic| to_hex(extrinsic)).collect();
    Ok(Some(json!({ "block": { "header": header, "extrinsics": extrinsics }, "justifications": null })))
}

/// What a node that restored a snapshot, or that bounds its history, says about older blocks.
fn pruned_body(node: &Node, number: u32) -> ErrorObjectOwned {
    let start = node.database.history_start();
    let message = format!("The body of block {number} is not kept: this node's history begins at block {start}");
    pruned(code::UNKNOWN_BLOCK, message, "historyStart", start)
}

/// A height as clients write it: a number or hex text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Height {
    Number(u64),
    Hex(String),
}

impl Height {
    /// The height; `None` when it is beyond every chain.
    fn number(&self) -> RpcResult<Option<u32>> {
        let wide = match self {
            Self::Number(number) => *number,
            Self::Hex(text) => {
                let digits =
                    text.strip_prefix("0x").ok_or_else(|| invalid_params("a height is a number or 0x hex text"))?;
                u64::from_str_radix(digits, 16)
                    .map_err(|cause| invalid_params(format!("height '0x{digits:.20}': {cause}")))?
            }
        };
        Ok(u32::try_from(wide).ok())
    }

    fn hash(&self, node: &Node) -> RpcResult<Option<Hash>> {
        Ok(self.number()?.and_then(|number| node.database.hash_of(number)))
    }

    /// As [`Self::hash`], for a caller that asks for this height alone: a block below the head that a node which
    /// began with a snapshot never had is not the same as one that does not exist yet.
    fn only_hash(&self, node: &Node) -> RpcResult<Option<Hash>> {
        let hash = self.hash(node)?;
        match self.number()? {
            Some(number) if hash.is_none() && number < node.head().number => {
                let start = node.database.history_start();
                let message = format!("Block {number} is not kept: this node's history begins at block {start}");
                Err(pruned(code::UNKNOWN_BLOCK, message, "historyStart", start))
            }
            _ => Ok(hash),
        }
    }
}

/// One height or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Heights {
    Many(Vec<Height>),
    One(Height),
}

/// One hash or several, as was asked.
#[derive(Clone, Serialize)]
#[serde(untagged)]
enum Hashes {
    Many(Vec<Option<Hash>>),
    One(Option<Hash>),
}

fn get_block_hash(node: &Node, mut args: Args) -> RpcResult<Hashes> {
    let heights = args.optional::<Heights>("height")?;
    args.end()?;
    match heights {
        None => Ok(Hashes::One(Some(node.head().hash))),
        Some(Heights::One(height)) => height.only_hash(node).map(Hashes::One),
        Some(Heights::Many(list)) if list.len() > RPC_BLOCK_HASHES_MAX => Err(error(
            code::INVALID_COUNT,
            format!("{} heights asked for, at most {RPC_BLOCK_HASHES_MAX} are answered", list.len()),
        )),
        Some(Heights::Many(list)) => {
            list.iter().map(|height| height.hash(node)).collect::<RpcResult<_>>().map(Hashes::Many)
        }
    }
}

fn get_finalized_head(node: &Arc<Node>, args: Args) -> RpcResult<Hash> {
    args.end()?;
    Ok(node.head().hash)
}

/// A block hash or a height.
#[derive(Deserialize)]
#[serde(untagged)]
enum BlockRef {
    Hash(Hash),
    Height(Height),
}

fn certificate(node: &Node, mut args: Args) -> RpcResult<Certificate> {
    let block = args.optional::<BlockRef>("block")?;
    args.end()?;
    let number = match block {
        None => Some(node.head().number),
        Some(BlockRef::Hash(hash)) => node.database.number_of(&hash),
        Some(BlockRef::Height(height)) => height.number()?,
    };
    let Some(number) = number.filter(|number| *number <= node.head().number) else {
        return Err(unknown_block("not on this chain"));
    };
    let absent = || {
        if number == 0 {
            return error(code::NOT_FOUND, "No certificate of block 0: the genesis block has none");
        }
        let start = node.database.history_start();
        let message = format!("No certificate of block {number}: this node's history begins at block {start}");
        pruned(code::NOT_FOUND, message, "historyStart", start)
    };
    let found = node.database.header(number).zip(node.database.hash_of(number));
    let (header, block_hash) = found.ok_or_else(absent)?;
    let certificate = node.database.certificate(number).ok_or_else(absent)?;
    Ok(Certificate { number, block_hash, header: HexBytes(header), certificate: HexBytes(certificate) })
}

/// Streams headers: the head, then each following block without gaps.
async fn heads(params: RpcResult<()>, waiting: Waiting, node: Arc<Node>) -> SubscriptionResult {
    let mut updates = node.heads();
    let mut next = updates.borrow_and_update().number;
    let Some(((), feed)) = waiting.judged(params).await? else { return Ok(()) };
    loop {
        let newest = updates.borrow_and_update().number;
        // A slow reader costs no memory: what it has not read is read from the database later.
        while next <= newest {
            let number = next;
            let header = node.run(move |node| header_json(node, number)).await;
            match header {
                Ok(Some(header)) => feed.send(&header).await?,
                Ok(None) => tracing::error!(target: "x0::rpc", number, "a finalised block has no header"),
                Err(cause) => return Err(cause.message().to_owned().into()),
            }
            next = next.saturating_add(1);
        }
        tokio::select! {
            changed = updates.changed() => changed?,
            () = feed.closed() => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_come_as_numbers_or_hex() {
        let read = |json: &str| serde_json::from_str::<Height>(json).unwrap().number();
        assert_eq!(read("7").unwrap(), Some(7));
        assert_eq!(read("\"0x10\"").unwrap(), Some(16));
        assert_eq!(read("4294967296").unwrap(), None, "beyond every chain");
        assert!(read("\"12\"").is_err());
        assert!(read("\"0xzz\"").is_err());
        assert!(serde_json::from_str::<Height>("-1").is_err());
    }
}
