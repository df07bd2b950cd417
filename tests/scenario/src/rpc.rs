//! Plain JSON-RPC to a node, without the product's client library.

use anyhow::{Context, Result, bail};
use jsonrpsee::{
    core::{client::ClientT, params::ArrayParams},
    ws_client::{WsClient, WsClientBuilder},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// A connection to one node.
#[derive(Debug)]
pub struct Rpc {
    client: WsClient,
}

impl Rpc {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        let client = WsClientBuilder::default()
            .request_timeout(Duration::from_secs(30))
            .max_concurrent_requests(4096)
            // The largest answer a node gives: after a halt the first block may be full.
            .max_response_size(x0_limits::RPC_RESPONSE_BYTES_MAX)
            .build(url)
            .await
            .with_context(|| format!("connect to {url}"))?;
        Ok(Self { client })
    }

    /// Calls a method with positional parameters.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, parameters: &[Value]) -> Result<T> {
        let mut array = ArrayParams::new();
        for parameter in parameters {
            array.insert(parameter)?;
        }
        self.client.request(method, array).await.with_context(|| format!("{method} {}", Value::from(parameters)))
    }

    /// Hash and number of the last finalised block.
    pub async fn finalised(&self) -> Result<(String, u32)> {
        let hash: String = self.call("chain_getFinalizedHead", &[]).await?;
        let header: Value = self.call("chain_getHeader", &[hash.clone().into()]).await?;
        let number = header["number"].as_str().context("a header has a number")?;
        Ok((hash, u32::from_str_radix(number.trim_start_matches("0x"), 16)?))
    }

    /// Hash of the block at a height, if there is one.
    pub async fn block_hash(&self, number: u32) -> Result<Option<String>> {
        self.call("chain_getBlockHash", &[number.into()]).await
    }

    /// Raw value of a storage key at a block (`None`: the finalised one).
    pub async fn storage(&self, key: &[u8], at: Option<&str>) -> Result<Option<Vec<u8>>> {
        let mut parameters = vec![Value::from(format!("0x{}", hex::encode(key)))];
        parameters.extend(at.map(Value::from));
        let value: Option<String> = self.call("state_getStorage", &parameters).await?;
        value.map(|text| hex::decode(text.trim_start_matches("0x")).context("hex")).transpose()
    }

    /// Waits until the chain is at least at this height.
    pub async fn wait_for_height(&self, height: u32, within: Duration) -> Result<u32> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let (_, number) = self.finalised().await?;
            if number >= height {
                return Ok(number);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("the chain stands at {number} and did not reach {height} in {within:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
