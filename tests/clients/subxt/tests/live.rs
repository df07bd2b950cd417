//! subxt connects, reads, follows finalised blocks and sees an ML-DSA-65 transfer finalised.

use subxt::{
    OnlineClient,
    config::DefaultExtrinsicParamsBuilder,
    dynamic::{self, Value},
    transactions::Signer,
};
use x0_client_subxt::{ChainConfig, DevelopmentSigner};
use x0_scenario::Node;

async fn free(api: &OnlineClient<ChainConfig>, account: [u8; 32]) -> anyhow::Result<u128> {
    let at = api.at_current_block().await?;
    let address = dynamic::storage::<([u8; 32],), Value>("System", "Account");
    let value = at.storage().fetch(address, (account,)).await?.decode()?;
    let text = value.to_string();
    let free = text
        .split("free: ")
        .nth(1)
        .and_then(|rest| rest.split([',', ' ', '}']).next())
        .ok_or_else(|| anyhow::anyhow!("no free balance in {text}"))?;
    Ok(free.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn subxt_reads_follows_and_submits() -> anyhow::Result<()> {
    let node = Node::dev().await?;
    let api = OnlineClient::<ChainConfig>::from_insecure_url(&node.rpc).await?;
    assert_eq!(format!("{:?}", api.genesis_hash()), node.genesis);

    let mut blocks = api.stream_blocks().await?;
    let first = blocks.next().await.expect("a first block")?.number();
    let second = blocks.next().await.expect("a second block")?.number();
    assert_eq!(second, first + 1, "finalised blocks follow one another");

    let (alice, bob) = (DevelopmentSigner::new("alice")?, DevelopmentSigner::new("bob")?);
    let before = free(&api, bob.account_id().0).await?;
    let amount = 5_000_000_000_000u128;
    let call = dynamic::transaction(
        "Balances",
        "transfer_keep_alive",
        vec![Value::unnamed_variant("Id", [Value::from_bytes(bob.account_id().0)]), Value::u128(amount)],
    );
    let at = api.at_current_block().await?;
    let mut transactions = at.transactions();
    let signed =
        transactions.create_signed(&call, &alice, DefaultExtrinsicParamsBuilder::new().mortal(64).build()).await?;
    assert!(signed.encoded().len() > 5_200, "key and signature travel in the transaction");
    assert!(signed.validate().await?.is_valid());
    assert!(signed.partial_fee_estimate().await? > 0);
    let events = signed.submit_and_watch().await?.wait_for_finalized_success().await?;
    let mut names = Vec::new();
    for event in events.iter() {
        let event = event?;
        names.push(format!("{}.{}", event.pallet_name(), event.event_name()));
    }
    assert!(names.iter().any(|name| name == "Balances.Transfer"), "{names:?}");
    assert_eq!(free(&api, bob.account_id().0).await? - before, amount);
    node.stop().await?;
    Ok(())
}
