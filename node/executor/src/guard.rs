//! What a panic means while the runtime executes.
//!
//! ```text
//!   panic in a pallet          --> unwinds to `contain`, becomes an error of that transaction
//!   panic in a storage access  --> the process ends: the state machine marks these with an abort guard
//!   panic anywhere else        --> as if this module did not exist
//! ```
//!
//! Abort guards work through the process-wide panic hook of `sp-panic-handler`, which by default ends
//! the process on *every* panic. That would let a bug in any task of the node kill it, so the hook is
//! consulted on threads that are inside [`contain`] only.

use sp_panic_handler::AbortGuard;
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};
use x0_runtime::genesis::panic_message;

thread_local! {
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Counts how deep this thread is inside [`contain`].
struct Inside;

impl Inside {
    fn enter() -> Self {
        INSIDE.set(INSIDE.get().saturating_add(1));
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get().saturating_sub(1));
    }
}

/// A panic that was contained, with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contained(pub String);

/// Installs the panic hook, once per process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        sp_panic_handler::set(env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
        let runtime = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if INSIDE.try_with(Cell::get).unwrap_or(0) > 0 {
                runtime(info);
            } else {
                before(info);
            }
        }));
    });
}

/// Runs runtime code; a panic of a pallet comes back as an error.
///
/// # Errors
/// [`Contained`] with the panic's message.
pub(crate) fn contain<R>(f: impl FnOnce() -> R) -> Result<R, Contained> {
    let _inside = Inside::enter();
    let _unwind = AbortGuard::force_unwind();
    // The closures run over an overlay that the caller rolls back or throws away after a panic, so
    // nothing half done is seen.
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| Contained(panic_message(payload.as_ref())))
}
