//! What owners, validators and proposers rely on.

mod ballots;
mod endings;
mod machine;
mod sealed;

use crate::{Error, mock::Test};
use sp_runtime::DispatchError;

fn error(error: Error<Test>) -> Result<(), DispatchError> {
    Err(error.into())
}
