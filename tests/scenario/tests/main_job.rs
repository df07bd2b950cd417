//! The main job, as `make demo` runs it.

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_rented_watched_and_refunded() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    x0_scenario::main_job::run(folder.path(), &|line| println!("{line}")).await
}
