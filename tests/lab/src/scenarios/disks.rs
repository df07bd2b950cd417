//! Disks that fill up, fail, and are lost.

use super::Figures;
use crate::{Network, Start, traffic::Traffic};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::CString,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Size of the small disk, MiB.
const DISK_MIB: u32 = 192;
/// Exit code by which a node says that its disk failed: see `docs/operating/exit-codes.md`.
const STORAGE_EXIT: i32 = 21;

/// Heights from which on a scenario makes its chain at a faster pace than a network has.
const FAST_FROM: u32 = 1_000;
/// That pace: distance between two blocks, milliseconds.
const FAST_BUSY_MS: u64 = 10;
/// Pause between two transfers to one validator at that pace: one or two for each block.
const FAST_PAUSE: Duration = Duration::from_millis(25);
/// Longest mean time of a block on a machine that is busy with other things, milliseconds.
const BLOCK_MS_MAX: u64 = 600;

/// A small file system in memory, mounted as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let target = CString::new(at.as_os_str().as_encoded_bytes())?;
        let options = CString::new(format!("size={DISK_MIB}m"))?;
        // SAFETY: every pointer is a text that ends with a zero and lives during the call.
        let mounted =
            unsafe { libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) };
        ensure!(mounted == 0, "tmpfs on {}: {}", at.display(), std::io::Error::last_os_error());
        Ok(Self(at.to_owned()))
    }

    /// Writes until nothing more fits.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path)?;
        let mut chunk = vec![0x55; 1 << 20];
        while !chunk.is_empty() {
            match file.write_all(&chunk) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    let half = chunk.len() / 2;
                    chunk.truncate(half);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Ok(target) = CString::new(self.0.as_os_str().as_encoded_bytes()) {
            // SAFETY: the pointer is a text that ends with a zero and lives during the call.
            if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } != 0 {
                eprintln!("x0-lab: {} stays mounted: {}", self.0.display(), std::io::Error::last_os_error());
            }
        }
    }
}

/// The disk of one validator fills up: it stops by its own code, the others go on, and with space it comes back.
pub async fn full(seed: u64) -> Result<Figures> {
    let mut network = Network::prepare(4, seed).await?;
    let disk = SmallDisk::mount(&network.validators[3].data())?;
    network.start_all(&Start::default()).await?;
    let traffic = Traffic::start(&network, &[0, 1, 2])?;
    network.wait_progress(&[0, 1, 2, 3], 3, STEP_MAX).await?;
    let filler = disk.fill()?;
    let status = network.validators[3].wait_end(STEP_MAX).await.context("with a full disk")?;
    ensure!(
        status.code() == Some(STORAGE_EXIT),
        "with a full disk the validator ended with {status}, log:\n{}",
        network.validators[3].log_tail()
    );
    network.collect_signatures(3)?;
    network.wait_progress(&[0, 1, 2], 5, STEP_MAX).await.context("without the one with the full disk")?;
    std::fs::remove_file(filler)?;
    let started = Instant::now();
    network.validators[3].start(&Start::default()).await.context("with space again")?;
    let tip = network.height(0).await?;
    network.wait_height(3, tip, STEP_MAX).await?;
    let back = started.elapsed();
    drop(traffic);
    network.check_agreement().await?;
    network.stop().await?;
    drop(disk);
    Ok(Figures::from([("back_s", back.as_secs_f64())]))
}

/// From one moment on the disk of one validator keeps nothing: it stops before it signs anything that is not on the
/// disk, by the code that says so, whichever of its parts meets the fault first.
pub async fn failing(seed: u64) -> Result<Figures> {
    let mut network = Network::prepare(4, seed).await?;
    network.start_all(&Start::default()).await?;
    let traffic = Traffic::start(&network, &[0, 1, 2])?;
    network.wait_progress(&[0, 1, 2, 3], 3, STEP_MAX).await?;
    // All threads of the process at once: a count of calls would be kept for each thread on its own.
    let process = network.validators[3].pid().context("a validator that runs")?.to_string();
    let mut fault = tokio::process::Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"])
        .args(["-e", "inject=fsync,fdatasync:error=EIO", "-p", &process])
        .kill_on_drop(true)
        .spawn()
        .context("run strace")?;
    let status = network.validators[3].wait_end(STEP_MAX).await.context("with a failing disk")?;
    fault.wait().await?;
    ensure!(
        status.code() == Some(STORAGE_EXIT),
        "with a failing disk the validator ended with {status}, log:\n{}",
        network.validators[3].log_tail()
    );
    network.collect_signatures(3)?;
    network.wait_progress(&[0, 1, 2], 5, STEP_MAX).await.context("without the one with the failing disk")?;
    network.validators[3].start(&Start::default()).await.context("with a good disk again")?;
    let tip = network.height(0).await?;
    network.wait_height(3, tip, STEP_MAX).await?;
    drop(traffic);
    network.check_agreement().await?;
    network.stop().await?;
    Ok(Figures::new())
}

/// A validator loses its chain, not its keys and not the record of what it signed, at this height or later. It gets
/// the chain back from its peers, once as a snapshot and once block by block, and votes again.
pub async fn wiped(height: u32, seed: u64) -> Result<Figures> {
    let mut network = Network::prepare(4, seed).await?;
    let usual = height < FAST_FROM;
    if !usual {
        for validator in &network.validators {
            let path = validator.folder.join("config.toml");
            let text = std::fs::read_to_string(&path)?;
            std::fs::write(path, format!("{text}\n[consensus]\nbusy_ms = {FAST_BUSY_MS}\n"))?;
        }
    }
    network.start_all(&Start::default()).await?;
    let traffic = Traffic::start_with(&network, &[0, 1], if usual { Duration::from_millis(4) } else { FAST_PAUSE })?;
    let time = STEP_MAX.max(Duration::from_millis(u64::from(height) * BLOCK_MS_MAX));
    network.wait_height(0, height, time).await?;
    let mut figures = Figures::new();
    // Peers make their first snapshot at height 1,000.
    let ways = [("blocks", "back_by_blocks_s"), ("snapshot", "back_by_snapshot_s")];
    for (mode, figure) in ways.into_iter().take(if usual { 1 } else { 2 }) {
        network.note_agreement().await?;
        network.kill(3).await?;
        std::fs::remove_dir_all(network.validators[3].data().join("chain"))?;
        let started = Instant::now();
        let how = Start { arguments: vec!["--sync".into(), mode.into()], ..Start::default() };
        // Not until it is ready: a node that executes a long chain takes its time, and it is measured here.
        network.validators[3].spawn(&how)?;
        let tip = network.height(0).await?;
        network.wait_signs(3, tip, time).await.with_context(|| format!("after --sync {mode}"))?;
        figures.insert(figure, started.elapsed().as_secs_f64());
        figures.insert("height", f64::from(tip));
    }
    drop(traffic);
    network.note_agreement().await?;
    network.stop().await?;
    Ok(figures)
}
