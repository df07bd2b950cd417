//! Structured logs on standard error, with a filter that can change while the node runs.

use crate::{config::LogSection, exit::Failure};
use std::{io::IsTerminal as _, sync::Arc};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};
use x0_rpc::LogControl;

/// Starts logging and returns the control for `admin_setLogFilter`.
///
/// # Errors
/// When the filter does not parse, or logging has started already.
pub fn start(settings: &LogSection) -> Result<LogControl, Failure> {
    let filter = parse(&settings.filter).map_err(|cause| Failure::configuration(format!("log.filter: {cause}")))?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = if settings.json { registry.with(lines.json()).try_init() } else { registry.with(lines).try_init() };
    started.map_err(|cause| Failure::configuration(format!("cannot start logging: {cause}")))?;
    Ok(Arc::new(move |text: &str| {
        let filter = parse(text)?;
        handle.reload(filter).map_err(|cause| cause.to_string())
    }))
}

/// Reads a filter; every directive must parse, so that a typing error is not silence.
fn parse(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(text).map_err(|cause| format!("'{text}': {cause}"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn filters_are_checked() {
        assert!(parse("info,x0=debug").is_ok());
        assert!(parse("info,x0=loud").is_err());
    }
}
