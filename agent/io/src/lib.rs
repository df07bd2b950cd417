//! Sockets of the agent: the probe responder over post-quantum TLS.
