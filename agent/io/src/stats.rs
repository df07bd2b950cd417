//! What the responder counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Totals since the responder started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct ResponderStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same, while they are counted.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Stats {
            /// The totals now. They are read one after the other, so they may be of slightly
            /// different times.
            pub(crate) fn totals(&self) -> ResponderStats {
                ResponderStats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections that were accepted.
    connections,
    /// Connections that were closed at once because of a limit.
    turned_away,
    /// Connections whose handshake failed or took too long.
    handshakes_failed,
    /// Requests that came in whole.
    requests,
    /// Receipts that were sent.
    receipts,
    /// Frames that were no request.
    malformed,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
