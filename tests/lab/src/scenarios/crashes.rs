//! Processes that die.

use super::{Figures, percentiles};
use crate::{Network, Start, traffic::Traffic};
use anyhow::{Context as _, Result};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// How long a restarted validator may take until it is at the network's height.
const REJOIN_MAX: Duration = Duration::from_secs(60);

/// Kills a random validator at a random moment under load, again and again. Nothing final is lost, nothing
/// is signed twice, and the three others go on meanwhile.
pub async fn kills(count: u32, seed: u64) -> Result<Figures> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut network = Network::start(4, seed).await?;
    let traffic = Traffic::start(&network, &[0, 1, 2, 3])?;
    let mut rejoin = Vec::new();
    for kill in 1..=count {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..1_000))).await;
        network.note_agreement().await.with_context(|| format!("before kill {kill} (seed {seed})"))?;
        let victim = random.random_range(0..4);
        network.kill(victim).await?;
        let others: Vec<usize> = (0..4).filter(|number| *number != victim).collect();
        network
            .wait_progress(&others, 3, REJOIN_MAX)
            .await
            .with_context(|| format!("the others stopped at kill {kill} (seed {seed})"))?;
        let started = Instant::now();
        network.validators[victim].start(&Start::default()).await?;
        let tip = network.height(others[0]).await?;
        network.wait_height(victim, tip, REJOIN_MAX).await.with_context(|| format!("rejoin {kill} (seed {seed})"))?;
        rejoin.push(started.elapsed());
    }
    drop(traffic);
    network.wait_progress(&[0, 1, 2, 3], 2, REJOIN_MAX).await?;
    let height = network.check_agreement().await.with_context(|| format!("after {count} kills (seed {seed})"))?;
    let signatures: usize = network.promised.iter().filter_map(|one| one.lock().ok().map(|one| one.signed.len())).sum();
    let transactions: usize =
        network.promised.iter().filter_map(|one| one.lock().ok().map(|one| one.transactions.len())).sum();
    network.stop().await?;
    let (p50, p95) = percentiles(rejoin);
    Ok(Figures::from([
        ("kills", f64::from(count)),
        ("height", f64::from(height)),
        ("transactions_kept", f64::from(u32::try_from(transactions)?)),
        ("signatures_seen", f64::from(u32::try_from(signatures)?)),
        ("rejoin_p50_s", p50),
        ("rejoin_p95_s", p95),
    ]))
}

/// The power fails everywhere at once: all four are killed within a moment and started again.
pub async fn power_cut(count: u32, seed: u64) -> Result<Figures> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut network = Network::start(4, seed).await?;
    let mut resumed = Vec::new();
    for cut in 1..=count {
        let traffic = Traffic::start(&network, &[0, 1, 2, 3])?;
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1_500))).await;
        network.check_agreement().await?;
        let before = network.heights().await.into_iter().flatten().max().unwrap_or(0);
        for number in 0..4 {
            network.validators[number].signal(libc::SIGKILL)?;
        }
        for number in 0..4 {
            network.kill(number).await?;
        }
        drop(traffic);
        let started = Instant::now();
        network.start_all(&Start::default()).await?;
        for number in 0..4 {
            network
                .wait_height(number, before + 1, REJOIN_MAX)
                .await
                .with_context(|| format!("power cut {cut} (seed {seed})"))?;
        }
        resumed.push(started.elapsed());
        network.check_agreement().await.with_context(|| format!("after power cut {cut} (seed {seed})"))?;
    }
    network.stop().await?;
    let (p50, p95) = percentiles(resumed);
    Ok(Figures::from([("power_cuts", f64::from(count)), ("resume_p50_s", p50), ("resume_p95_s", p95)]))
}

/// A validator is frozen (SIGSTOP), thawed much later, and neither forks nor stays behind.
pub async fn frozen(seed: u64) -> Result<Figures> {
    let mut network = Network::start(4, seed).await?;
    let _traffic = Traffic::start(&network, &[0, 1, 2])?;
    network.wait_progress(&[0, 1, 2, 3], 2, REJOIN_MAX).await?;
    network.validators[3].signal(libc::SIGSTOP)?;
    network.wait_progress(&[0, 1, 2], 10, REJOIN_MAX).await.context("with one validator frozen")?;
    network.validators[3].signal(libc::SIGCONT)?;
    let tip = network.height(0).await?;
    let back = network.wait_height(3, tip, REJOIN_MAX).await.context("after the thaw")?;
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::from([("catch_up_s", back.as_secs_f64())]))
}
