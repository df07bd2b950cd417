//! W3C DID documents, the identities that they are built from, and resolution results.
//!
//! Sources: W3C DID Core 1.1, DID Resolution, Controlled Identifiers 1.0.

use super::{DID_CONTEXTS, Did, Multikey};
use serde::{Deserialize, Serialize};
use x0_types::{AccountId, Hash, KeyRole};

/// One entry of a document's `verificationMethod`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationMethod {
    /// The DID and a fragment that names the key: its role in lower case.
    pub id: String,
    /// Always `Multikey`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The DID that may change this key.
    pub controller: String,
    /// The key as Multikey text.
    pub public_key_multibase: String,
}

/// One entry of a document's `service`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The DID and the fragment `agent`.
    pub id: String,
    /// `X0MeshAgent`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `x0-probe://host:port`.
    pub service_endpoint: String,
}

/// A W3C DID document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidDocument {
    /// JSON-LD contexts, [`DID_CONTEXTS`].
    #[serde(rename = "@context")]
    pub context: Vec<String>,
    /// The DID that the document describes.
    pub id: String,
    /// The DID of the account that may change the identity.
    pub controller: String,
    /// The same subject under other names: the `did:key` of its account key or agent key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_known_as: Vec<String>,
    /// Every live key of the subject.
    pub verification_method: Vec<VerificationMethod>,
    /// Methods that may log in as the subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authentication: Vec<String>,
    /// Methods that may sign statements of the subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertion_method: Vec<String>,
    /// Methods that others encapsulate keys to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_agreement: Vec<String>,
    /// Where the subject's services listen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service: Vec<Service>,
}

/// What is known about the document itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidDocumentMetadata {
    /// Whether the identity has been revoked: the document then has no keys.
    #[serde(default)]
    pub deactivated: bool,
    /// Block hash of the state that the document was read from; absent for `did:key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<Hash>,
}

/// What is known about the resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidResolutionMetadata {
    /// `application/did`, absent on failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `invalidDid`, `notFound` or `methodNotSupported`; absent on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The error in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer of `did_resolve`: the W3C DID resolution result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidResolution {
    /// The document; `null` when the DID did not resolve.
    pub did_document: Option<DidDocument>,
    /// How the resolution went.
    pub did_resolution_metadata: DidResolutionMetadata,
    /// About the document.
    pub did_document_metadata: DidDocumentMetadata,
}

/// One registered key of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityKey {
    /// What the key may be used for.
    pub role: KeyRole,
    /// BLAKE2b-256 of the key.
    pub fingerprint: Hash,
    /// The key as Multikey text.
    pub public_key_multibase: String,
}

/// The answer of `did_identity`: an identity as the chain holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The DID.
    pub did: Did,
    /// The subject's account.
    pub subject: AccountId,
    /// The account that controls the subject.
    pub controller: AccountId,
    /// Whether the identity has been revoked.
    pub revoked: bool,
    /// Where the subject's agent listens, `host:port`.
    pub endpoint: Option<String>,
    /// Live keys, in the order of roles.
    pub keys: Vec<IdentityKey>,
}

/// Builds the document of a subject from its keys: role, Multikey, endpoint.
///
/// An identity without live keys still has a document (its controller stays visible); a revoked one
/// has neither methods nor services.
#[must_use]
pub fn document(identity: &Identity) -> DidDocument {
    let did = identity.did.to_string();
    let controller = Did::new(identity.did.network.clone(), identity.controller.clone()).to_string();
    let mut built = DidDocument {
        context: DID_CONTEXTS.map(String::from).to_vec(),
        id: did.clone(),
        controller: controller.clone(),
        also_known_as: Vec::new(),
        verification_method: Vec::new(),
        authentication: Vec::new(),
        assertion_method: Vec::new(),
        key_agreement: Vec::new(),
        service: Vec::new(),
    };
    if identity.revoked {
        return built;
    }
    for key in &identity.keys {
        let id = format!("{did}#{}", role_name(key.role));
        built.verification_method.push(VerificationMethod {
            id: id.clone(),
            kind: "Multikey".to_owned(),
            controller: controller.clone(),
            public_key_multibase: key.public_key_multibase.clone(),
        });
        // Keys that open links authenticate; keys that sign statements assert; an account's or an
        // agent's own key does both.
        match key.role {
            KeyRole::Account | KeyRole::Agent => {
                built.authentication.push(id.clone());
                built.assertion_method.push(id);
                if let Ok(own) = Multikey::from_text(&key.public_key_multibase) {
                    built.also_known_as.push(own.to_did_key());
                }
            }
            KeyRole::Network => built.authentication.push(id),
            KeyRole::Consensus | KeyRole::Reporter | KeyRole::Playbook | KeyRole::Release => {
                built.assertion_method.push(id)
            }
        }
    }
    if let Some(endpoint) = &identity.endpoint {
        built.service.push(Service {
            id: format!("{did}#agent-endpoint"),
            kind: "X0MeshAgent".to_owned(),
            service_endpoint: format!("x0-probe://{endpoint}"),
        });
    }
    built
}

/// Builds the document of a `did:key`: one method that is its own controller.
#[must_use]
pub fn key_document(key: &Multikey) -> DidDocument {
    let did = key.to_did_key();
    let text = key.to_text();
    let fragment = did.strip_prefix("did:key:").unwrap_or_default();
    let id = format!("{did}#{fragment}");
    let signs = matches!(key, Multikey::MlDsa65(_));
    let when = |wanted: bool| if wanted { vec![id.clone()] } else { Vec::new() };
    DidDocument {
        context: DID_CONTEXTS.map(String::from).to_vec(),
        controller: did.clone(),
        also_known_as: Vec::new(),
        verification_method: vec![VerificationMethod {
            id: id.clone(),
            kind: "Multikey".to_owned(),
            controller: did.clone(),
            public_key_multibase: text,
        }],
        authentication: when(signs),
        assertion_method: when(signs),
        key_agreement: when(!signs),
        service: Vec::new(),
        id: did,
    }
}

/// The name of a role in fragments and JSON.
#[must_use]
pub const fn role_name(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Account => "account",
        KeyRole::Consensus => "consensus",
        KeyRole::Network => "network",
        KeyRole::Reporter => "reporter",
        KeyRole::Playbook => "playbook",
        KeyRole::Agent => "agent",
        KeyRole::Release => "release",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_types::key::PUBLIC_KEY_BYTES;

    fn account(byte: u8) -> AccountId {
        AccountId::new([byte; 32])
    }

    fn key(byte: u8) -> Multikey {
        Multikey::MlDsa65(Box::new([byte; PUBLIC_KEY_BYTES]))
    }

    fn identity(revoked: bool) -> Identity {
        let entry = |role, byte| IdentityKey {
            role,
            fingerprint: Hash::repeat_byte(byte),
            public_key_multibase: key(byte).to_text(),
        };
        Identity {
            did: Did::new("dev", account(1)),
            subject: account(1),
            controller: account(2),
            revoked,
            endpoint: Some("127.0.0.1:7001".to_owned()),
            keys: vec![entry(KeyRole::Agent, 1), entry(KeyRole::Network, 2), entry(KeyRole::Reporter, 3)],
        }
    }

    #[test]
    fn a_document_names_keys_by_role_and_purpose() {
        let document = document(&identity(false));
        let did = document.id.clone();
        assert_eq!(document.verification_method.len(), 3);
        assert_eq!(document.authentication, [format!("{did}#agent"), format!("{did}#network")]);
        assert_eq!(document.assertion_method, [format!("{did}#agent"), format!("{did}#reporter")]);
        assert_eq!(document.also_known_as, [key(1).to_did_key()]);
        assert_eq!(document.service[0].service_endpoint, "x0-probe://127.0.0.1:7001");
        assert!(document.controller.ends_with(&account(2).to_string()));
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["@context"][0], "https://www.w3.org/ns/did/v1.1");
        assert_eq!(json["verificationMethod"][0]["type"], "Multikey");
        assert_eq!(serde_json::from_value::<DidDocument>(json).unwrap(), document);
    }

    #[test]
    fn a_revoked_identity_has_no_keys_and_no_services() {
        let document = document(&identity(true));
        assert!(document.verification_method.is_empty() && document.service.is_empty());
        assert!(document.authentication.is_empty() && document.also_known_as.is_empty());
    }
}
