//! A typed chain client for the wallet and the agent: post-quantum signing over JSON-RPC.
