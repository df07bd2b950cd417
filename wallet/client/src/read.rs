//! Reading signed transactions back: what does this file do, and who signed it?

use codec::{Compact, Decode};
use subxt::utils::Era as WireEra;
use x0_limits::EXTRINSIC_BYTES_MAX;
use x0_types::{
    AccountId, Balance, Nonce,
    key::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES},
};

use crate::{ClientError, signer::SignatureForm, transaction::ChainDescription};

/// First byte of a signed extrinsic of version 4.
const SIGNED_V4: u8 = 0x84;
/// Variant of an address that holds an account.
const ADDRESS_ID: u8 = 0;

/// The parts of a signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadTransaction {
    /// Who signed.
    pub account: AccountId,
    /// The form of the signature.
    pub form: SignatureForm,
    /// For the inline form: the account that belongs to the key inside.
    pub key_account: Option<AccountId>,
    /// Which of the account's transactions this is.
    pub nonce: Nonce,
    /// Extra payment, base units.
    pub tip: Balance,
    /// Blocks of validity; absent means for ever.
    pub period_blocks: Option<u64>,
    /// The call, SCALE. Not yet checked: describing it does that.
    pub call: Vec<u8>,
}

/// Takes a signed transaction apart.
///
/// # Errors
/// [`ClientError::Decode`] naming the part that does not read, [`ClientError::Metadata`] for a chain
/// whose transactions carry something that this client does not know.
pub fn read_transaction(bytes: &[u8], description: &ChainDescription) -> Result<ReadTransaction, ClientError> {
    let wrong = |reason: &str| ClientError::Decode { what: "the transaction".into(), reason: reason.to_owned() };
    if bytes.len() > EXTRINSIC_BYTES_MAX {
        return Err(wrong("it is longer than any transaction"));
    }
    let mut rest = bytes;
    let length = Compact::<u32>::decode(&mut rest).map_err(|_| wrong("it has no length in front"))?;
    if usize::try_from(length.0) != Ok(rest.len()) {
        return Err(wrong("its length in front is not its length"));
    }
    if take::<1>(&mut rest, wrong)?[0] != SIGNED_V4 {
        return Err(wrong("it is not a signed transaction of version 4"));
    }
    if take::<1>(&mut rest, wrong)?[0] != ADDRESS_ID {
        return Err(wrong("its sender is not an account"));
    }
    let account = AccountId::new(*take::<32>(&mut rest, wrong)?);
    let (form, key_account) = match take::<1>(&mut rest, wrong)?[0] {
        3 => (SignatureForm::Inline, Some(x0_types::account::account_id(take::<PUBLIC_KEY_BYTES>(&mut rest, wrong)?))),
        4 => (SignatureForm::Registered, None),
        _ => return Err(wrong("its signature is not ML-DSA-65")),
    };
    take::<SIGNATURE_BYTES>(&mut rest, wrong)?;
    let mut read =
        ReadTransaction { account, form, key_account, nonce: 0, tip: 0, period_blocks: None, call: Vec::new() };
    read_extensions(&mut rest, description, &mut read)?;
    read.call = rest.to_vec();
    Ok(read)
}

/// Reads what the chain's extensions put between signature and call, in the chain's order.
fn read_extensions(
    rest: &mut &[u8],
    description: &ChainDescription,
    read: &mut ReadTransaction,
) -> Result<(), ClientError> {
    let wrong = |what: &str| ClientError::Decode {
        what: "the transaction".into(),
        reason: format!("its {what} does not read"),
    };
    let extrinsic = description.metadata.extrinsic();
    let extensions = extrinsic.transaction_extensions_by_version(0).ok_or_else(|| ClientError::Metadata {
        what: "reading transactions".into(),
        reason: "no extensions of version 0".into(),
    })?;
    for extension in extensions {
        match extension.identifier() {
            "CheckMortality" => {
                let era = WireEra::decode(rest).map_err(|_| wrong("era"))?;
                read.period_blocks = match era {
                    WireEra::Immortal => None,
                    WireEra::Mortal { period, .. } => Some(period),
                };
            }
            "CheckNonce" => read.nonce = Compact::<Nonce>::decode(rest).map_err(|_| wrong("number"))?.0,
            "ChargeTransactionPayment" => read.tip = Compact::<Balance>::decode(rest).map_err(|_| wrong("tip"))?.0,
            "CheckNonZeroSender" | "CheckSpecVersion" | "CheckTxVersion" | "CheckGenesis" | "CheckWeight"
            | "WeightReclaim" => {}
            unknown => {
                return Err(ClientError::Metadata {
                    what: "reading transactions".into(),
                    reason: format!("the chain adds `{unknown}`, which this client does not know"),
                });
            }
        }
    }
    Ok(())
}

fn take<'a, const N: usize>(
    rest: &mut &'a [u8],
    wrong: impl Fn(&str) -> ClientError,
) -> Result<&'a [u8; N], ClientError> {
    let (front, back) = rest.split_first_chunk::<N>().ok_or_else(|| wrong("it ends early"))?;
    *rest = back;
    Ok(front)
}
