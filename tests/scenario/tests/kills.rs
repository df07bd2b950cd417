//! A validator is killed twenty times under load: the same chain, nothing final lost, no second value
//! signed for any height.

use x0_scenario::torture;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_under_load_lose_nothing() -> anyhow::Result<()> {
    let seed = rand::random();
    println!("seed {seed}");
    let outcome = torture::run(20, seed).await?;
    println!("{outcome:?}");
    assert!(outcome.transactions > 100, "the load reached the chain: {outcome:?}");
    assert!(outcome.signatures > 100, "the guard's records were read: {outcome:?}");
    Ok(())
}
