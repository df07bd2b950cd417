//! The RPC's listeners from the settings.

use crate::{
    config::{Config, NativeSection, WebSection},
    exit::Failure,
};
use std::path::Path;
use x0_crypto::{
    SigningKey,
    tls::{PeerPolicy, TlsIdentity, server_config, web_server_config},
};
use x0_rpc::{ListenerConfig, Origins, RPC_ALPN, Transport};
use x0_types::Hash;

/// The configured listeners, plain first.
///
/// # Errors
/// One line that names the setting.
pub fn listeners(config: &Config, network: &SigningKey, genesis: Hash) -> Result<Vec<ListenerConfig>, Failure> {
    let rpc = &config.file.rpc;
    let origins = Origins::from_list(&rpc.origins);
    let mut all = Vec::new();
    if let Some(address) = config.plain {
        all.push(ListenerConfig {
            address,
            transport: Transport::Plain,
            origins: origins.clone(),
            unsafe_methods: rpc.unsafe_methods,
        });
    }
    if let Some(section) = &rpc.native {
        all.push(native(section, network, genesis)?);
    }
    if let Some(section) = &rpc.web {
        all.push(web(section, origins)?);
    }
    for listener in &all {
        listener.check().map_err(Failure::configuration)?;
    }
    Ok(all)
}

fn native(section: &NativeSection, network: &SigningKey, genesis: Hash) -> Result<ListenerConfig, Failure> {
    let policy = if section.clients.is_empty() {
        PeerPolicy::Any
    } else {
        let admitted = section.clients.clone();
        PeerPolicy::Dynamic(std::sync::Arc::new(move |key| admitted.contains(&Hash::from(key.fingerprint()))))
    };
    let alpn = format!("{RPC_ALPN}/{}", hex::encode(genesis)).into_bytes();
    let tls = server_config(&TlsIdentity::from_key(network), policy, alpn)
        .map_err(|cause| Failure::configuration(format!("rpc.native: {cause}")))?;
    Ok(ListenerConfig {
        address: section.address,
        transport: Transport::Native(tls),
        // Browsers cannot speak this transport, so that no page has any business here.
        origins: Origins::Only(Vec::new()),
        unsafe_methods: false,
    })
}

fn web(section: &WebSection, origins: Origins) -> Result<ListenerConfig, Failure> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|cause| Failure::configuration(format!("rpc.web: cannot read {}: {cause}", path.display())))
    };
    let tls = web_server_config(&read(&section.certificate)?, &read(&section.key)?, section.allow_classical)
        .map_err(|cause| Failure::configuration(format!("rpc.web: {cause}")))?;
    Ok(ListenerConfig { address: section.address, transport: Transport::Web(tls), origins, unsafe_methods: false })
}
