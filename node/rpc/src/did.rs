//! `did_*`: identities and W3C DID resolution.

use crate::{
    error::{RpcResult, error},
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
    system::account,
};
use pallet_x0_did as pallet;
use x0_rpc_types::{
    did::{
        self, Did, DidDocumentMetadata, DidError, DidResolution, DidResolutionMetadata, Identity, IdentityKey, Multikey,
    },
    error as code,
};
use x0_runtime::Runtime;
use x0_types::{AccountId, Hash};

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "did_resolve", resolve)?;
    blocking(module, "did_identity", identity)?;
    blocking(module, "did_keyOwner", key_owner)
}

/// Reads an identity; call it on the state of a block.
fn read_identity(network: &str, subject: &AccountId) -> Option<Identity> {
    let stored = pallet::Identities::<Runtime>::get(subject)?;
    let mut keys: Vec<_> = pallet::Keys::<Runtime>::iter_prefix(subject).collect();
    keys.sort_by_key(|(role, _)| *role);
    let keys = keys.into_iter().map(|(role, entry)| IdentityKey {
        role,
        fingerprint: entry.public.fingerprint(),
        public_key_multibase: Multikey::MlDsa65(entry.public.0).to_text(),
    });
    Some(Identity {
        did: Did::new(network, subject.clone()),
        subject: subject.clone(),
        controller: stored.controller,
        revoked: stored.revoked,
        endpoint: stored.endpoint.and_then(|bytes| String::from_utf8(bytes.into_inner()).ok()),
        keys: keys.collect(),
    })
}

/// The endpoint of a subject's agent; call it on the state of a block.
pub(crate) fn endpoint(subject: &AccountId) -> Option<String> {
    let stored = pallet::Identities::<Runtime>::get(subject)?;
    String::from_utf8(stored.endpoint?.into_inner()).ok()
}

fn identity(node: &Node, mut args: Args) -> RpcResult<Identity> {
    let subject = subject(node, &mut args)?;
    let at = args.block()?;
    args.end()?;
    let network = node.info.network.clone();
    let text = subject.to_string();
    node.read(at, move |_| read_identity(&network, &subject))?
        .ok_or_else(|| error(code::NOT_FOUND, format!("No identity has the subject {text}")))
}

/// A subject as `did:x0` text, ss58 text or hex.
fn subject(node: &Node, args: &mut Args) -> RpcResult<AccountId> {
    let mut probe = args.clone();
    let text: String = probe.required_text("subject")?;
    if !text.starts_with("did:") {
        return account(args, "subject");
    }
    *args = probe;
    let did: Did =
        text.parse().map_err(|cause: DidError| crate::error::invalid_params(format!("'subject': {cause}")))?;
    if did.network != node.info.network {
        let (own, other) = (&node.info.network, &did.network);
        return Err(crate::error::invalid_params(format!(
            "'subject': this node serves the network '{own}', not '{other}'"
        )));
    }
    Ok(did.account)
}

/// The subject and role that a key has or had, by its fingerprint.
fn key_owner(node: &Node, mut args: Args) -> RpcResult<Option<serde_json::Value>> {
    let fingerprint: Hash = args.required("fingerprint")?;
    let at = args.block()?;
    args.end()?;
    let network = node.info.network.clone();
    let used = node.read(at, |_| pallet::UsedKeys::<Runtime>::get(fingerprint))?;
    Ok(used.map(|used| {
        serde_json::json!({ "did": Did::new(network, used.subject.clone()), "subject": used.subject, "role": used.role })
    }))
}

fn resolve(node: &Node, mut args: Args) -> RpcResult<DidResolution> {
    let text: String = args.required_text("did")?;
    let at = args.block()?;
    args.end()?;
    if text.starts_with("did:key:") {
        return Ok(match Multikey::from_did_key(&text) {
            Ok(key) => found(did::key_document(&key), DidDocumentMetadata::default()),
            Err(cause) => failed("invalidDid", cause.to_string()),
        });
    }
    let did: Did = match text.parse() {
        Ok(did) => did,
        Err(cause @ DidError::Method) if text.starts_with("did:") => {
            return Ok(failed("methodNotSupported", cause.to_string()));
        }
        Err(cause) => return Ok(failed("invalidDid", cause.to_string())),
    };
    if did.network != node.info.network {
        return Ok(failed("notFound", format!("this node serves the network '{}'", node.info.network)));
    }
    let network = node.info.network.clone();
    let (read, version) = node.read(at, |hash| (read_identity(&network, &did.account), hash))?;
    Ok(match read {
        None => failed("notFound", "no identity has this subject".to_owned()),
        Some(identity) => {
            let metadata = DidDocumentMetadata { deactivated: identity.revoked, version_id: Some(version) };
            found(did::document(&identity), metadata)
        }
    })
}

/// A successful resolution.
fn found(document: did::DidDocument, metadata: DidDocumentMetadata) -> DidResolution {
    DidResolution {
        did_document: Some(document),
        did_resolution_metadata: DidResolutionMetadata {
            content_type: Some("application/did".to_owned()),
            ..Default::default()
        },
        did_document_metadata: metadata,
    }
}

/// A failed resolution: W3C puts the error into the answer, not into JSON-RPC's error.
fn failed(kind: &str, message: String) -> DidResolution {
    DidResolution {
        did_document: None,
        did_resolution_metadata: DidResolutionMetadata {
            content_type: None,
            error: Some(kind.to_owned()),
            message: Some(message),
        },
        did_document_metadata: DidDocumentMetadata::default(),
    }
}
