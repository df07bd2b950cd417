//! `x0 network`: the table of networks.

use serde_json::json;
use x0_client::Endpoint;

use crate::{
    cli,
    context::Context,
    error::{Result, WalletError},
    home::check_name,
    network::{DEV_NETWORK, Network, Networks},
};

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub fn run(context: &Context, command: cli::Network) -> Result<()> {
    let mut networks = Networks::load(&context.home)?;
    match command {
        cli::Network::Add { name, node, genesis, server_key } => {
            check_name("network", &name)?;
            let network = Network { url: node, genesis, server_key };
            let endpoint: Endpoint = network.endpoint()?;
            endpoint.check()?;
            networks.network.insert(name.clone(), network);
            networks.save(&context.home)?;
            context.answer(&json!({ "added": name }), |_| format!("added {name}"))
        }
        cli::Network::List => context.answer(&networks, words),
        cli::Network::Use { name } => {
            networks.get(&name)?;
            networks.default.clone_from(&name);
            networks.save(&context.home)?;
            context.answer(&json!({ "default": name }), |_| format!("{name} is the default now"))
        }
        cli::Network::Remove { name } => {
            networks.get(&name)?;
            if name == networks.default || name == DEV_NETWORK {
                return Err(WalletError::Usage(format!("`{name}` stays: it is the default or the built-in network")));
            }
            networks.network.remove(&name);
            networks.save(&context.home)?;
            context.answer(&json!({ "removed": name }), |_| format!("removed {name}"))
        }
    }
}

fn words(networks: &Networks) -> String {
    let lines = networks.network.iter().map(|(name, network)| {
        let mark = if *name == networks.default { "*" } else { " " };
        let genesis = network.genesis.as_deref().map(|genesis| format!("  genesis {genesis}")).unwrap_or_default();
        format!("{mark} {name:<16} {}{genesis}", network.url)
    });
    lines.collect::<Vec<_>>().join("\n")
}
