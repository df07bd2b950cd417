//! `x0-node init`: the data directory of one node.

use super::{
    CHAIN, CONFIG, DATA, PUBLIC_MODE, ROLES, Settings, ValidatorKeys, make_directory, refuse_present, write_new,
};
use crate::{cli::InitArgs, exit::Failure, keys, password::Source};
use serde_json::{Value, json};
use x0_chain_spec::ChainSpec;
use x0_crypto::keystore::KdfParams;
use x0_rpc_types::bytes::to_hex;
use x0_types::KeyRole;

/// Makes the directory and says what is in it.
///
/// # Errors
/// One line; an existing node is never touched.
pub fn init(args: InitArgs) -> Result<Value, Failure> {
    let named = |cause| Failure::configuration(format!("chain specification {}: {cause}", args.chain.display()));
    let spec = ChainSpec::load(&args.chain).map_err(named)?;
    let genesis = spec.genesis_hash().map_err(named)?;
    let directory = &args.output;
    for name in [CONFIG, CHAIN, "keys", DATA] {
        refuse_present(&directory.join(name), "this directory has a node, which is left as it is")?;
    }
    let password_file = args
        .password
        .password_file
        .as_ref()
        .map(|path| {
            path.canonicalize().map(|path| path.to_string_lossy().into_owned()).map_err(|cause| {
                Failure::configuration(format!("cannot read the password file {}: {cause}", path.display()))
            })
        })
        .transpose()?;
    let password = Source::from(args.password.clone()).read_new("for the new keystore files")?;
    make_directory(directory)?;
    let params = KdfParams::default();
    let made: Vec<(KeyRole, _)> = if args.follower {
        make_directory(&directory.join("keys"))?;
        let key = keys::generate(KeyRole::Network, &directory.join("keys/network.json"), &password, &params)?;
        vec![(KeyRole::Network, key)]
    } else {
        let keys = ValidatorKeys::generate(directory, &password, &params)?;
        vec![(KeyRole::Network, keys.network), (KeyRole::Consensus, keys.consensus), (KeyRole::Reporter, keys.reporter)]
    };
    let name = args.name.clone().unwrap_or_else(|| spec.id.clone());
    let settings = Settings {
        name: &name,
        roles: if args.follower { &["network"] } else { ROLES },
        password_file: password_file.as_deref(),
        listen: args.listen.iter().map(ToString::to_string).collect(),
        advertise: args.advertise.clone(),
        peers: args.peer.clone(),
        ..Settings::default()
    };
    write_new(&directory.join(CHAIN), &spec.to_json().map_err(Failure::configuration)?, PUBLIC_MODE)?;
    write_new(&directory.join(CONFIG), &settings.text(), PUBLIC_MODE)?;
    let keys: Vec<Value> = made
        .iter()
        .map(|(role, key)| {
            let file = directory.join(format!("keys/{}.json", x0_rpc_types::did::role_name(*role)));
            keys::public_json(*role, key.public(), &file)
        })
        .collect();
    let network = made.iter().find(|(role, _)| *role == KeyRole::Network).map(|(_, key)| key.public().fingerprint());
    Ok(json!({
        "directory": directory,
        "config": directory.join(CONFIG),
        "genesis": genesis,
        "networkKey": network.map(|key| to_hex(&key)),
        "peer": network.and_then(|key| Some(format!("{}@{}", hex::encode(key), args.advertise.first()?))),
        "keys": keys,
    }))
}
