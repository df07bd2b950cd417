//! The binary `x0-mesh-lab`: measures meshes in network namespaces, and writes the report.

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use x0_mesh_lab::{
    fault::Class,
    report::{Document, Plan, measure},
    systems,
};

#[derive(Parser)]
#[command(name = "x0-mesh-lab", about = "Meshes in network namespaces, and what faults cost them (needs root)")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measures and writes mesh.md, mesh-failover.svg and mesh.json.
    Report {
        /// Faults of each class for each system.
        #[arg(long, default_value_t = 20)]
        faults: u64,
        /// The same for systems that need seconds to recover.
        #[arg(long, default_value_t = 5)]
        slow_faults: u64,
        /// Seed of everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Folder of the report.
        #[arg(long)]
        output: PathBuf,
        /// Only these classes, separated by commas; none at all with `none`.
        #[arg(long, value_delimiter = ',')]
        classes: Vec<String>,
        /// Only these systems, by the names of `systems`, separated by commas.
        #[arg(long, value_delimiter = ',')]
        systems: Vec<String>,
        /// Runs of each system's speed.
        #[arg(long, default_value_t = 4)]
        speed_runs: u64,
        /// Length of each, seconds.
        #[arg(long, default_value_t = 5)]
        speed_seconds: u64,
        /// Folder in which the logs of daemons are kept, for those who ask why.
        #[arg(long)]
        logs: Option<PathBuf>,
    },
    /// Writes the table and the graph again from the raw figures.
    Render {
        /// Folder of the report, with its mesh.json.
        #[arg(long)]
        output: PathBuf,
    },
    /// Lists the systems, their versions, and why one is missing.
    Systems,
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Report { faults, slow_faults, seed, output, classes, systems, speed_runs, speed_seconds, logs } => {
            let classes = chosen(&classes)?;
            let plan = Plan { faults, slow_faults, seed, classes, systems, speed_runs, speed_seconds, logs };
            measure(&plan)?.write(&output)
        }
        What::Render { output } => {
            let raw = std::fs::read(output.join("mesh.json")).context("mesh.json")?;
            serde_json::from_slice::<Document>(&raw).context("mesh.json")?.write(&output)
        }
        What::Systems => {
            for system in systems::all() {
                match system.version() {
                    Ok(version) => println!("{}: {version}", system.name()),
                    Err(error) => println!("{}: missing: {error:#}", system.name()),
                }
            }
            Ok(())
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<Class>> {
    if names.is_empty() {
        return Ok(Class::ALL.to_vec());
    }
    if names == ["none"] {
        return Ok(Vec::new());
    }
    let find = |name: &String| {
        Class::ALL.into_iter().find(|class| class.name() == name).with_context(|| format!("there is no class {name}"))
    };
    names.iter().map(find).collect()
}
