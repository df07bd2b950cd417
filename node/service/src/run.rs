//! Starting, supervising and stopping the node.

use crate::{
    cli::RunArgs,
    config::{BasePath, Config},
    exit::{Exit, Failure},
    keys::NodeKeys,
    logging,
    notify::Notifier,
    parts::{Parts, Plan},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use x0_chain_spec::{ChainSpec, ChainType};
use x0_limits as limits;
use x0_rpc::LogControl;

/// How often the supervisor hears of the state.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Runs the node until it is told to stop or a part of it fails.
///
/// # Errors
/// Why it could not start, or what failed.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let config = Config::load(args)?;
    let log = logging::start(&config.file.log)?;
    let spec = load_spec(&config)?;
    let genesis = spec.genesis_config().map_err(|cause| spec_failure(&config, &cause))?;
    let base = Base::prepare(&config)?;
    let keys = if config.dev { NodeKeys::development()? } else { NodeKeys::open(&config, base.path())? };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("x0-async")
        // Reads of the runtime run on blocking threads, and a call nests up to CALL_DEPTH_MAX.
        .thread_stack_size(limits::NODE_THREAD_STACK_BYTES)
        .max_blocking_threads(limits::NODE_BLOCKING_THREADS_MAX)
        .build()
        .map_err(|cause| Failure::new(Exit::Restartable, format!("cannot start threads: {cause}")))?;
    let genesis_hash = spec.genesis_hash().map_err(|cause| spec_failure(&config, &cause))?;
    let plan = Plan { config, spec, genesis, genesis_hash, base: base.path().to_owned(), keys };
    let ended = runtime.block_on(supervise(&plan, log));
    // Blocking work that is still running cannot be cancelled; it is not waited for without end.
    runtime.shutdown_timeout(Duration::from_millis(limits::NODE_STOP_TIMEOUT_MS));
    drop(base);
    ended
}

/// The chain specification that the settings name; with `--dev` it must be a development chain's,
/// since the node then uses keys that everybody knows.
fn load_spec(config: &Config) -> Result<ChainSpec, Failure> {
    let Some(path) = &config.file.node.chain else { return ChainSpec::dev().map_err(Failure::configuration) };
    let spec = ChainSpec::load(path).map_err(|cause| spec_failure(config, &cause))?;
    if config.dev && spec.chain_type != ChainType::Development {
        return Err(spec_failure(config, &"--dev runs development chains only, and this chain_type is another"));
    }
    Ok(spec)
}

/// An error of the chain specification with its file.
fn spec_failure(config: &Config, cause: &dyn core::fmt::Display) -> Failure {
    match &config.file.node.chain {
        Some(path) => Failure::configuration(format!("chain specification {}: {cause}", path.display())),
        None => Failure::configuration(format!("chain specification: {cause}")),
    }
}

/// The data directory of this run.
enum Base {
    Directory(PathBuf),
    /// Removed when dropped.
    Temporary(tempfile::TempDir),
}

impl Base {
    fn prepare(config: &Config) -> Result<Self, Failure> {
        match &config.base_path {
            BasePath::Directory(path) => {
                // An absolute path stays right in messages and for parts that join paths.
                let path = std::fs::create_dir_all(path).and_then(|()| path.canonicalize()).map_err(|cause| {
                    Failure::configuration(format!("cannot create the data directory {}: {cause}", path.display()))
                })?;
                Ok(Self::Directory(path))
            }
            BasePath::Temporary => tempfile::Builder::new()
                .prefix("x0-node-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|cause| Failure::configuration(format!("cannot create a temporary directory: {cause}"))),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

/// Tells the supervisor of the state, and its watchdog that the process answers: this task runs on the threads
/// of listeners and links, and each line asks a blocking thread for the engine's state.
async fn feed(notifier: &Notifier, summary: impl Fn() -> Option<String> + Send + Sync + 'static) {
    let mut ticks = tokio::time::interval(notifier.watchdog().unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL));
    let summary = Arc::new(summary);
    loop {
        ticks.tick().await;
        let summary = Arc::clone(&summary);
        match tokio::task::spawn_blocking(move || summary()).await {
            Ok(Some(line)) => notifier.send(&format!("WATCHDOG=1\nSTATUS={line}")),
            // A stopping engine has no state; the supervisor waits for the end.
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

/// Starts the parts, waits for the end, stops the parts.
async fn supervise(plan: &Plan, log: LogControl) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|cause| Failure::new(Exit::Restartable, cause))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|cause| Failure::new(Exit::Restartable, cause))?;
    // Catching up can take long, and everything that it does can be left at any point.
    let mut parts = tokio::select! {
        parts = Parts::start(plan, log) => parts?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let notifier = Notifier::from_environment();
    notifier.send("READY=1");
    let ended = {
        let summary = parts.summarizer();
        let failed = parts.failed();
        tokio::select! {
            _ = terminate.recv() => Ok("SIGTERM"),
            _ = interrupt.recv() => Ok("SIGINT"),
            failure = failed => Err(failure),
            () = feed(&notifier, summary) => Err(Failure::new(Exit::Restartable, "the watchdog's task ended")),
        }
    };
    notifier.send("STOPPING=1");
    match &ended {
        Ok(signal) => tracing::info!(target: "x0::node", signal, "stopping"),
        Err(failure) => {
            tracing::error!(target: "x0::node", reason = failure.reason, exit_code = failure.exit.code(), "a part of the node failed: stopping")
        }
    }
    let stopped = tokio::time::timeout(Duration::from_millis(limits::NODE_STOP_TIMEOUT_MS), parts.stop()).await;
    ended?;
    match stopped {
        Ok(stopped) => stopped,
        Err(_) => Err(Failure::new(
            Exit::Restartable,
            format!("the node did not stop within {} ms", limits::NODE_STOP_TIMEOUT_MS),
        )),
    }
}
