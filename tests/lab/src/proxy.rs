//! Doors from the ordinary network into namespaces: a loopback port for each validator's RPC and metrics.

use crate::netns::Namespace;
use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A door that is open as long as this lives.
#[derive(Debug)]
pub struct Door {
    /// The address outside.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Door {
    /// Opens a door on a free loopback port to an address inside the namespace.
    pub async fn open(namespace: Namespace, inside: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a free loopback port")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((outer, _)) = listener.accept().await {
                tokio::spawn(pass(outer, namespace.clone(), inside));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Copies both ways until one side closes. A validator that is down closes the outer connection, as a
/// refused connection would.
async fn pass(mut outer: TcpStream, namespace: Namespace, inside: SocketAddr) {
    let connected = tokio::task::spawn_blocking(move || namespace.connect(inside)).await;
    let Ok(Ok(inner)) = connected else { return };
    if inner.set_nonblocking(true).is_err() || inner.set_nodelay(true).is_err() || outer.set_nodelay(true).is_err() {
        return;
    }
    if let Ok(mut inner) = TcpStream::from_std(inner) {
        // The end of either side is the end of both; which error it was does not matter here.
        drop(copy_bidirectional(&mut outer, &mut inner).await);
    }
}
