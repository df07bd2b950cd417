//! Open-loop submission over several connections.

use crate::transfers::Transfer;
use anyhow::{Context, Result};
use futures::{StreamExt, stream::FuturesUnordered};
use jsonrpsee::{
    core::client::{ClientT, Error},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use x0_types::Hash;

/// Requests that one connection has under way at most.
const IN_FLIGHT_PER_CONNECTION: usize = 256;
/// Pause before a transaction that the node had no room for is sent again.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// What became of the submissions.
#[derive(Debug, Default)]
pub struct Submitted {
    /// When each accepted transaction was due to be sent (open loop) or was sent (saturation).
    pub sent_at: HashMap<Hash, Instant>,
    /// Times that the node said that it is busy; each is tried again.
    pub busy: u64,
    /// Refusals other than busy, by message.
    pub refused: HashMap<String, u64>,
    /// From the first submission to the last answer.
    pub elapsed: Duration,
}

/// Opens the connections of a run.
pub async fn connect(url: &str, connections: usize) -> Result<Vec<Arc<WsClient>>> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = WsClientBuilder::default()
            .max_concurrent_requests(IN_FLIGHT_PER_CONNECTION * 2)
            .request_timeout(Duration::from_secs(120))
            .build(url)
            .await
            .with_context(|| format!("connect to {url}"))?;
        clients.push(Arc::new(client));
    }
    Ok(clients)
}

/// Sends every transfer: at `rate` per second, or as fast as the node takes them when `None`.
pub async fn submit(clients: &[Arc<WsClient>], transfers: &[Transfer], rate: Option<f64>) -> Result<Submitted> {
    let start = Instant::now();
    let mut tasks = Vec::with_capacity(clients.len());
    for (lane, client) in clients.iter().enumerate() {
        let mine: Vec<(Transfer, Option<Instant>)> = transfers
            .iter()
            .enumerate()
            .skip(lane)
            .step_by(clients.len())
            .map(|(place, transfer)| {
                (transfer.clone(), rate.map(|rate| start + Duration::from_secs_f64(place as f64 / rate)))
            })
            .collect();
        tasks.push(tokio::spawn(lane_of(Arc::clone(client), mine)));
    }
    let mut total = Submitted::default();
    for task in tasks {
        let lane = task.await?;
        total.sent_at.extend(lane.sent_at);
        total.busy += lane.busy;
        for (message, count) in lane.refused {
            *total.refused.entry(message).or_default() += count;
        }
    }
    total.elapsed = start.elapsed();
    Ok(total)
}

async fn lane_of(client: Arc<WsClient>, transfers: Vec<(Transfer, Option<Instant>)>) -> Submitted {
    let mut result = Submitted::default();
    let mut in_flight = FuturesUnordered::new();
    for (transfer, due) in transfers {
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
        while in_flight.len() >= IN_FLIGHT_PER_CONNECTION {
            record(&mut result, in_flight.next().await);
        }
        in_flight.push(one(Arc::clone(&client), transfer, due));
    }
    while let Some(answer) = in_flight.next().await {
        record(&mut result, Some(answer));
    }
    result
}

/// The answer to one transaction: its hash, when it was sent, how often the node was busy, the end.
type Answer = (Hash, Instant, u64, Result<(), String>);

async fn one(client: Arc<WsClient>, transfer: Transfer, due: Option<Instant>) -> Answer {
    let mut busy = 0;
    let sent = due.unwrap_or_else(Instant::now);
    loop {
        match client.request::<String, _>("author_submitExtrinsic", rpc_params![&transfer.hex]).await {
            Ok(_) => return (transfer.hash, sent, busy, Ok(())),
            Err(Error::Call(error)) if is_busy(&error) => {
                busy += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(error) => return (transfer.hash, sent, busy, Err(error.to_string())),
        }
    }
}

/// A node that has no room now says so in words; everything else is final.
fn is_busy(error: &jsonrpsee::types::ErrorObjectOwned) -> bool {
    let text = error.to_string().to_lowercase();
    ["busy", "full", "too many", "rate"].iter().any(|word| text.contains(word))
}

fn record(result: &mut Submitted, answer: Option<Answer>) {
    let Some((hash, sent, busy, outcome)) = answer else { return };
    result.busy += busy;
    match outcome {
        Ok(()) => {
            result.sent_at.insert(hash, sent);
        }
        Err(message) => *result.refused.entry(message).or_default() += 1,
    }
}
