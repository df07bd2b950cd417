//! The connection to a node: requests, heads, state, building and reading.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use scale_value::Value;
use serde::{Deserialize, de::DeserializeOwned};
use subxt::{
    OnlineClient, OnlineClientAtBlock,
    backend::LegacyBackend,
    rpcs::{RpcClient, client::RpcParams},
    utils::H256,
};
use x0_types::{AccountId, Balance, Hash, Nonce};

use crate::{
    ClientError,
    call::Call,
    chain::ChainConfig,
    connect::{self, Endpoint},
    error::rpc_error,
    signer::{SignatureForm, Signer},
    text::{hex_text, parse_hash},
    transaction::{ChainDescription, Era, SignedTransaction, UnsignedTransaction},
};

/// The type name of development chains in `system_chainType`.
const DEVELOPMENT: &str = "Development";

/// A block that cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Head {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: Hash,
}

/// A line to one node. Clones share it. When it breaks, requests fail; connect again.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    rpc: RpcClient,
    online: OnlineClient<ChainConfig>,
    genesis: Hash,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.endpoint.url)
    }
}

/// Parameters of a request, one JSON value each.
macro_rules! params {
    ($($param:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "there may be no parameters")]
        let mut params = subxt::rpcs::client::RpcParams::new();
        $(crate::client::push(&mut params, &$param)?;)*
        params
    }};
}
pub(crate) use params;

pub(crate) fn push(params: &mut RpcParams, value: &impl serde::Serialize) -> Result<(), ClientError> {
    params.push(value).map_err(|error| ClientError::Encode { what: "a request".into(), reason: error.to_string() })
}

impl Client {
    /// Connects, and checks that the node serves the chain that the endpoint pins, if it pins one.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Plaintext`], [`ClientError::Connect`] or
    /// [`ClientError::OtherChain`].
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let rpc = connect::open(endpoint).await?;
        // The node serves exactly the legacy method set, so that trying out newer ones only costs time.
        let backend = Arc::new(LegacyBackend::builder().build(rpc.clone()));
        let online =
            OnlineClient::from_backend_with_config(ChainConfig::default(), backend).await.map_err(|error| {
                ClientError::Transport { method: "chain_getBlockHash".into(), reason: error.to_string() }
            })?;
        let genesis = Hash::from(online.genesis_hash().0);
        if let Some(expected) = endpoint.genesis.filter(|expected| *expected != genesis) {
            return Err(ClientError::OtherChain { expected: hex_text(expected), found: hex_text(genesis) });
        }
        Ok(Self { endpoint: endpoint.clone(), rpc, online, genesis })
    }

    /// Where this client is connected to.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Hash of the chain's first block.
    #[must_use]
    pub const fn genesis_hash(&self) -> Hash {
        self.genesis
    }

    /// The raw JSON-RPC line.
    pub(crate) const fn rpc(&self) -> &RpcClient {
        &self.rpc
    }

    /// Calls any JSON-RPC method. Parameters are given as a JSON array.
    ///
    /// # Errors
    /// [`ClientError::Rpc`] for a refusal, [`ClientError::Transport`] for a broken line,
    /// [`ClientError::Decode`] for an answer of another shape.
    pub async fn request<R: DeserializeOwned>(
        &self,
        method: &str,
        parameters: &[serde_json::Value],
    ) -> Result<R, ClientError> {
        let mut params = RpcParams::new();
        for parameter in parameters {
            push(&mut params, parameter)?;
        }
        self.call(method, params).await
    }

    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &str, params: RpcParams) -> Result<R, ClientError> {
        self.rpc.request(method, params).await.map_err(|error| rpc_error(method, error))
    }

    /// The chain's name.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn chain_name(&self) -> Result<String, ClientError> {
        self.call("system_chain", params![]).await
    }

    /// The network's name in DIDs.
    ///
    /// # Errors
    /// [`ClientError::Decode`] when the node does not name it, and those of [`Client::request`].
    pub async fn network_name(&self) -> Result<String, ClientError> {
        let properties: serde_json::Value = self.call("system_properties", params![]).await?;
        properties.get("x0Network").and_then(|name| name.as_str()).map(str::to_owned).ok_or_else(|| {
            ClientError::Decode {
                what: "the network's name".into(),
                reason: "system_properties has no x0Network".into(),
            }
        })
    }

    /// Refuses unless the chain says that it is a development chain.
    ///
    /// # Errors
    /// [`ClientError::NotDevelopment`], and those of [`Client::request`].
    pub async fn require_development(&self) -> Result<(), ClientError> {
        let found: serde_json::Value = self.call("system_chainType", params![]).await?;
        match found.as_str() {
            Some(DEVELOPMENT) => Ok(()),
            Some(other) => Err(ClientError::NotDevelopment { found: other.to_owned() }),
            None => Err(ClientError::NotDevelopment { found: found.to_string() }),
        }
    }

    /// The last finalised block.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn finalised_head(&self) -> Result<Head, ClientError> {
        let hash: String = self.call("chain_getFinalizedHead", params![]).await?;
        let hash = parse_hash("the finalised head", &hash)?;
        let header: Option<HeaderNumber> = self.call("chain_getHeader", params![hex_text(hash)]).await?;
        let header = header.ok_or_else(|| ClientError::NotFound { what: format!("block {}", hex_text(hash)) })?;
        Ok(Head { number: header.number()?, hash })
    }

    /// The hash of the block at a height.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] beyond the head, and those of [`Client::request`].
    pub async fn block_hash(&self, number: u64) -> Result<Hash, ClientError> {
        let hash: Option<String> = self.call("chain_getBlockHash", params![number]).await?;
        parse_hash("a block hash", &hash.ok_or_else(|| ClientError::NotFound { what: format!("block {number}") })?)
    }

    /// Follows finalised blocks: yields each head as it comes. Ends when the line breaks.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn follow(
        &self,
    ) -> Result<impl Stream<Item = Result<u64, ClientError>> + Send + Unpin + use<>, ClientError> {
        let heads = self
            .subscribe::<HeaderNumber>("chain_subscribeFinalizedHeads", params![], "chain_unsubscribeFinalizedHeads")
            .await?;
        Ok(heads.map(|header| header?.number()))
    }

    /// Opens a subscription; it ends when it is dropped or the line breaks.
    pub(crate) async fn subscribe<R: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: RpcParams,
        unsubscribe: &'static str,
    ) -> Result<impl Stream<Item = Result<R, ClientError>> + Send + Unpin + use<R>, ClientError> {
        let items =
            self.rpc.subscribe::<R>(method, params, unsubscribe).await.map_err(|error| rpc_error(method, error))?;
        Ok(items.map(move |item| item.map_err(|error| rpc_error(method, error))))
    }

    /// Number of the next transaction of an account, those that wait included.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn next_nonce(&self, account: &AccountId) -> Result<Nonce, ClientError> {
        self.call("system_accountNextIndex", params![crate::text::account_text(account)]).await
    }

    /// The state after the last finalised block.
    pub(crate) async fn at_head(&self) -> Result<OnlineClientAtBlock<ChainConfig>, ClientError> {
        self.online.at_current_block().await.map_err(|error| metadata_error(&error))
    }

    pub(crate) async fn at(&self, hash: Hash) -> Result<OnlineClientAtBlock<ChainConfig>, ClientError> {
        self.online.at_block(H256(hash.0)).await.map_err(|error| metadata_error(&error))
    }

    /// The chain's description of itself at the last finalised block.
    ///
    /// # Errors
    /// [`ClientError::Metadata`] when the node does not give one that this client reads.
    pub async fn description(&self) -> Result<ChainDescription, ClientError> {
        let at = self.at_head().await?;
        Ok(ChainDescription {
            genesis_hash: self.genesis,
            spec_version: at.spec_version(),
            transaction_version: at.transaction_version(),
            metadata: at.metadata(),
        })
    }

    /// The metadata as the node encodes it: for a machine without network.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn metadata_bytes(&self) -> Result<Vec<u8>, ClientError> {
        let text: String = self.call("state_getMetadata", params![]).await?;
        crate::text::parse_hex("the chain's metadata", &text)
    }

    /// A value of the chain's state, decoded by its type; `None` where nothing stands (no default).
    ///
    /// # Errors
    /// [`ClientError::Metadata`] when this chain has no such entry.
    pub async fn storage(
        &self,
        pallet: &str,
        entry: &str,
        keys: Vec<Value<()>>,
    ) -> Result<Option<Value<()>>, ClientError> {
        let at = self.at_head().await?;
        let failed = |reason: String| ClientError::Metadata { what: format!("{pallet}.{entry}"), reason };
        let address = subxt::storage::dynamic::<Vec<Value<()>>, Value<()>>(pallet, entry);
        let value = at.storage().try_fetch(address, keys).await.map_err(|error| failed(error.to_string()))?;
        value.map(|value| value.decode()).transpose().map_err(|error| failed(error.to_string()))
    }

    /// A constant of the runtime, decoded by its type.
    ///
    /// # Errors
    /// [`ClientError::Metadata`] when this chain has no such constant.
    pub async fn constant(&self, pallet: &str, name: &str) -> Result<Value<()>, ClientError> {
        let at = self.at_head().await?;
        at.constants()
            .entry(subxt::dynamic::constant::<Value<()>>(pallet, name))
            .map_err(|error| ClientError::Metadata { what: format!("{pallet}.{name}"), reason: error.to_string() })
    }

    /// Fills in everything that a transaction needs from the chain: nonce, era, versions, and the form
    /// of signature that the chain accepts for this account now.
    ///
    /// # Errors
    /// [`ClientError::Encode`] when the chain has no such call, and those of [`Client::request`].
    pub async fn prepare(
        &self,
        description: &ChainDescription,
        call: &Call,
        account: &AccountId,
        form: SignatureForm,
    ) -> Result<UnsignedTransaction, ClientError> {
        let call = description.encode_call(call)?;
        let head = self.finalised_head().await?;
        let birth_block = Era::birth_block(head.number);
        let birth_hash = if birth_block == head.number { head.hash } else { self.block_hash(birth_block).await? };
        Ok(UnsignedTransaction {
            genesis_hash: self.genesis,
            spec_version: description.spec_version,
            transaction_version: description.transaction_version,
            account: account.clone(),
            nonce: self.next_nonce(account).await?,
            tip: 0.into(),
            era: Some(Era { period_blocks: Era::period_blocks(), birth_block, birth_hash }),
            form,
            call: call.into(),
        })
    }

    /// Prepares and signs in one step, for programs that ask nobody.
    ///
    /// # Errors
    /// Those of [`Client::prepare`], [`Signer::form`] and [`ChainDescription::sign`].
    pub async fn sign(&self, call: &Call, signer: &Signer) -> Result<SignedTransaction, ClientError> {
        let description = self.description().await?;
        let form = signer.form(self.account_key(signer.account()).await?.as_ref())?;
        let unsigned = self.prepare(&description, call, signer.account(), form).await?;
        let signer = signer.clone();
        tokio::task::spawn_blocking(move || description.sign(&unsigned, &signer))
            .await
            .map_err(|error| ClientError::Key { reason: error.to_string() })?
    }

    /// What a transaction would cost now, base units, without tip.
    ///
    /// # Errors
    /// [`ClientError::Decode`] when the node's answer has another shape, and those of [`Client::request`].
    pub async fn estimate_fee(
        &self,
        description: &ChainDescription,
        transaction: &UnsignedTransaction,
    ) -> Result<Balance, ClientError> {
        use codec::{Compact, Decode, Encode};
        let mut arguments = description.unsigned_bytes(transaction)?;
        let length = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
        length.encode_to(&mut arguments);
        let answer: String =
            self.call("state_call", params!["TransactionPaymentApi_query_info", hex_text(arguments)]).await?;
        let answer = crate::text::parse_hex("the fee estimate", &answer)?;
        // RuntimeDispatchInfo: weight (two compact numbers), class, fee.
        let (_, _, _, fee) = <(Compact<u64>, Compact<u64>, u8, Balance)>::decode(&mut &*answer)
            .map_err(|error| ClientError::Decode { what: "the fee estimate".into(), reason: error.to_string() })?;
        Ok(fee)
    }
}

fn metadata_error(error: &subxt::error::OnlineClientAtBlockError) -> ClientError {
    ClientError::Metadata { what: "reading the chain's state".into(), reason: error.to_string() }
}

/// The part of a header that is read here.
#[derive(Deserialize)]
struct HeaderNumber {
    number: String,
}

impl HeaderNumber {
    fn number(&self) -> Result<u64, ClientError> {
        let digits = self.number.strip_prefix("0x").unwrap_or(&self.number);
        u64::from_str_radix(digits, 16)
            .map_err(|error| ClientError::Decode { what: "a block's height".into(), reason: error.to_string() })
    }
}
