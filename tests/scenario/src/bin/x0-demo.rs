//! `make demo`: runs the main job on real processes and narrates it.
#![allow(clippy::print_stdout, reason = "the narration of this program is its output")]

use clap::Parser;

#[derive(Parser)]
#[command(about = "The main job: a mesh node is rented, watched and refunded")]
struct Arguments {
    /// Folder of the built binaries.
    #[arg(long, env = "X0_BIN_DIR")]
    bin_dir: Option<std::path::PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.bin_dir {
        x0_scenario::process::use_binaries(folder);
    }
    let folder = tempfile::Builder::new().prefix("x0-demo-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(x0_scenario::main_job::run(folder.path(), &|line| println!("{line}")))?;
    println!("\nThe main job is done; every figure above was checked.");
    Ok(())
}
