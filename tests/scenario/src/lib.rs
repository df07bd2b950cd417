//! Scenario tests over real processes, sockets, signatures and disk; the demo.
