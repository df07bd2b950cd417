//! `x0 did`: identities.

use std::path::Path;

use x0_client::{
    Client, call,
    proof::KeyProofFile,
    rpc_types::did::{Did as DidText, DidResolution},
    text::parse_hash,
};
use x0_crypto::SigningKey;
use x0_types::{AccountId, KeyRole};

use crate::{
    cli::{Did, TxOptions},
    commands::keys::key_role,
    context::{ChosenKey, Context, blocking, now_ms},
    error::{Result, WalletError},
    home::read_settings,
    send::{Request, Sent, run as run_request, send, send_call, words, write_new_json},
};

/// Minutes for which a proof that is made and used at once is good.
const OWN_PROOF_MS: u64 = 10 * 60 * 1_000;

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Did) -> Result<()> {
    match command {
        Did::Register { tx } => register(context, &tx).await,
        Did::Show { subject } => show(context, subject.as_ref()).await,
        Did::Rotate { new_key, tx } => rotate(context, &new_key, &tx).await,
        Did::RegisterAgent { proof, endpoint, tx } => register_agent(context, &proof, endpoint, &tx).await,
        Did::Prove { proved_key, controller, subject, genesis, minutes, out } => {
            let subject = context.maybe_account(subject.as_ref())?;
            prove(context, &proved_key, &context.account(&controller)?, subject, &genesis, minutes, &out).await
        }
        Did::AddKey { proof, tx } => add_key(context, &proof, &tx).await,
        Did::RotateKey { proof, tx } => rotate_key(context, &proof, &tx).await,
        Did::SetEndpoint { subject, endpoint, tx } => {
            let subject = context.account(&subject)?;
            send_call(context, &call::set_endpoint(&subject, &endpoint), &tx).await
        }
        Did::RevokeKey { subject, role, tx } => {
            let subject = context.account(&subject)?;
            send_call(context, &call::revoke_key(&subject, key_role(role)), &tx).await
        }
        Did::Revoke { subject, tx } => send_call(context, &call::revoke(&context.account(&subject)?), &tx).await,
    }
}

/// Signs a proof for a key of the account's own role, to be used at once.
async fn own_proof(context: &Context, client: &Client, key: &ChosenKey, account: &AccountId) -> Result<KeyProofFile> {
    let seed = context.unlock(key).await?;
    let (genesis, account, expires) = (client.genesis_hash(), account.clone(), now_ms()?.saturating_add(OWN_PROOF_MS));
    blocking(move || -> Result<KeyProofFile> {
        let key = SigningKey::from_seed(&seed)?;
        Ok(KeyProofFile::create(&key, genesis, KeyRole::Account, &account, &account, expires)?)
    })
    .await?
}

async fn register(context: &Context, options: &TxOptions) -> Result<()> {
    let key = context.choose_key(options.key.as_deref())?;
    let (network, client) = context.connect().await?;
    if key.is_development() {
        client.require_development().await?;
    }
    let (public, proof) =
        own_proof(context, &client, &key, &key.account).await?.check(client.genesis_hash(), now_ms()?)?;
    let call = call::register_account_key(&public, &proof);
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options }).await
}

async fn rotate(context: &Context, new_key: &str, options: &TxOptions) -> Result<()> {
    let old = context.choose_key(options.key.as_deref())?;
    let new = context.choose_key(Some(new_key))?;
    if new.is_development() && !old.is_development() {
        return Err(WalletError::Usage("everybody can derive development keys: rotate to a key of your own".into()));
    }
    if new.public == old.public {
        return Err(WalletError::Usage("this is the key that signs already".into()));
    }
    if options.unsigned.is_some() || options.no_wait {
        return Err(WalletError::Usage("a rotation is done in one piece: without --unsigned and --no-wait".into()));
    }
    let (network, client) = context.connect().await?;
    if old.is_development() {
        client.require_development().await?;
    }
    let (public, proof) =
        own_proof(context, &client, &new, &old.account).await?.check(client.genesis_hash(), now_ms()?)?;
    let call = call::rotate_account_key(&public, &proof);
    let sent =
        run_request(&Request { context, network: &network, client: &client, call: &call, key: &old, options }).await?;
    if matches!(sent, Sent::Final { .. }) && !new.is_development() {
        context.home.bind(new_key, &old.account)?;
        context.say(&format!("`{new_key}` signs for this account from now on; `{}` does not any more", old.label));
    }
    context.answer(&sent, words)
}

async fn register_agent(context: &Context, proof: &Path, endpoint: Option<String>, options: &TxOptions) -> Result<()> {
    let file = read_proof(proof, |role| role == KeyRole::Agent)?;
    let endpoint = endpoint
        .or_else(|| file.endpoint.clone())
        .ok_or_else(|| WalletError::Usage("say with --endpoint where the agent listens: the proof does not".into()))?;
    let key = context.choose_key(options.key.as_deref())?;
    require_controller(&file, &key)?;
    let (network, client) = context.connect().await?;
    let (public, possession) = file.check(client.genesis_hash(), now_ms()?)?;
    let call = call::register_agent(&public, &possession, &endpoint);
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options }).await
}

async fn add_key(context: &Context, proof: &Path, options: &TxOptions) -> Result<()> {
    let file = read_proof(proof, |role| !matches!(role, KeyRole::Agent | KeyRole::Account))?;
    let key = context.choose_key(options.key.as_deref())?;
    require_controller(&file, &key)?;
    let (network, client) = context.connect().await?;
    let (public, possession) = file.check(client.genesis_hash(), now_ms()?)?;
    let call = call::add_key(file.role, &public, &possession);
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options }).await
}

async fn rotate_key(context: &Context, proof: &Path, options: &TxOptions) -> Result<()> {
    let file = read_proof(proof, |role| role != KeyRole::Account)?;
    let key = context.choose_key(options.key.as_deref())?;
    require_controller(&file, &key)?;
    let (network, client) = context.connect().await?;
    let (public, possession) = file.check(client.genesis_hash(), now_ms()?)?;
    let call = call::rotate_key(&file.subject, file.role, &public, &possession);
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options }).await
}

/// Reads a proof and refuses roles that the command is not for.
fn read_proof(path: &Path, fits: impl Fn(KeyRole) -> bool) -> Result<KeyProofFile> {
    let wrong = |reason: String| WalletError::File { path: path.to_owned(), reason };
    let file: KeyProofFile = serde_json::from_str(&read_settings(path)?)
        .map_err(|error| wrong(format!("it is not a proof of possession: {error}")))?;
    if !fits(file.role) {
        return Err(wrong(format!("it is a proof for the role {:?}, which this command does not take", file.role)));
    }
    Ok(file)
}

fn require_controller(file: &KeyProofFile, key: &ChosenKey) -> Result<()> {
    if file.controller == key.account {
        return Ok(());
    }
    let account = x0_client::text::account_text(&file.controller);
    Err(WalletError::Usage(format!(
        "the proof was made for the controller {account}, and `{}` signs for another account",
        key.label
    )))
}

async fn prove(
    context: &Context,
    name: &str,
    controller: &AccountId,
    subject: Option<AccountId>,
    genesis: &str,
    minutes: u64,
    out: &Path,
) -> Result<()> {
    let genesis = parse_hash("the genesis hash", genesis)?;
    let key = context.choose(name)?;
    let role = context.home.keystore(name)?.role().to_owned();
    let role: KeyRole = serde_json::from_value(serde_json::Value::String(role.clone()))
        .map_err(|_| WalletError::Role { name: name.to_owned(), found: role, expected: "a role on chain".into() })?;
    // An agent is its own subject; any other key belongs to the account that registers it.
    let subject =
        subject.unwrap_or_else(|| if role == KeyRole::Agent { key.account.clone() } else { controller.clone() });
    let expires = now_ms()?.saturating_add(minutes.saturating_mul(60_000));
    let seed = context.unlock(&key).await?;
    let controller = controller.clone();
    let file = blocking(move || -> Result<KeyProofFile> {
        let key = SigningKey::from_seed(&seed)?;
        Ok(KeyProofFile::create(&key, genesis, role, &subject, &controller, expires)?)
    })
    .await??;
    write_new_json(out, &file)?;
    context.answer(&serde_json::json!({ "file": out }), |_| format!("written: {}", out.display()))
}

async fn show(context: &Context, subject: Option<&String>) -> Result<()> {
    let given = subject.filter(|text| text.starts_with("did:")).cloned();
    let account = if given.is_none() { Some(context.account_or_own(subject)?) } else { None };
    let (_, client) = context.connect().await?;
    let did = match (given, account) {
        (Some(did), _) => did,
        (None, Some(account)) => DidText::new(client.network_name().await?, account).to_string(),
        (None, None) => return Err(WalletError::Usage("whose identity?".into())),
    };
    let resolution = client.resolve(&did).await?;
    if resolution.did_document.is_none() {
        let reason = &resolution.did_resolution_metadata;
        let error = reason.error.clone().unwrap_or_default();
        let what =
            format!("{did} ({error}{})", reason.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default());
        return Err(x0_client::ClientError::NotFound { what }.into());
    }
    context.answer(&resolution, document_words)
}

fn document_words(resolution: &DidResolution) -> String {
    let Some(document) = &resolution.did_document else { return "not found".to_owned() };
    let mut lines = vec![document.id.clone(), format!("  controller  {}", document.controller)];
    if resolution.did_document_metadata.deactivated {
        lines.push("  given up for good".to_owned());
    }
    for method in &document.verification_method {
        let role = method.id.rsplit_once('#').map_or(method.id.as_str(), |(_, role)| role);
        let head: String = method.public_key_multibase.chars().take(24).collect();
        lines.push(format!("  key         {role:<10} {head}..."));
    }
    lines.extend(document.service.iter().map(|service| format!("  listens at  {}", service.service_endpoint)));
    lines.join("\n")
}
