//! A bill of materials: what the programs are made of, as CycloneDX, by the tool of its authors. What Debian
//! gives to the images is listed in them, in `var/lib/dpkg/status.d`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::VERSION;
use crate::shell;

/// The programs, the folders of their crates, and the features that they are built with.
const PROGRAMS: [(&str, &str, Option<&str>); 6] = [
    ("fermata", "cli", None),
    ("fermata-operator", "operator", None),
    ("fermata-gateway", "gateway", None),
    ("fermata-events", "events", Some("nats")),
    ("fermata-invoker", "invoker", None),
    ("fermata-push", "push", None),
];

/// The version of `cargo-cyclonedx` that is installed if there is none on `PATH`.
const TOOL: &str = "0.5.9";

/// Writes a bill for each program.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    let tool = tool()?;
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    for (program, crate_folder, features) in PROGRAMS {
        let manifest = shell::root().join(crate_folder).join("Cargo.toml");
        let name = format!("{program}-{VERSION}.cdx");
        let mut bill = Command::new(&tool);
        bill.args([
            "cyclonedx",
            "--format=json",
            "--spec-version=1.5",
            "--quiet",
            "--target",
        ])
        .arg(&target)
        .args(features.map(|features| format!("--features={features}")))
        .arg("--override-filename")
        .arg(&name)
        .arg("--manifest-path")
        .arg(&manifest)
        // A random serial number and the time would make each another.
        .env("SOURCE_DATE_EPOCH", "0")
        .current_dir(shell::root());
        shell::run(&format!("bill of materials of {program}"), &mut bill)?;
        // The tool writes next to each manifest that the program is made of.
        let written = written(&name)?;
        let own = manifest.with_file_name(format!("{name}.json"));
        anyhow::ensure!(
            written.contains(&own),
            "cargo-cyclonedx wrote no {}",
            own.display()
        );
        for file in &written {
            if *file == own {
                // As in the programs, the folder of this machine is nobody's business.
                let root = shell::root().display().to_string();
                let bill = fs::read_to_string(file)?.replace(&root, "/fermata");
                fs::write(folder.join(format!("{name}.json")), bill)?;
            }
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    Ok(())
}

/// The bills of that name in the workspace's folders.
fn written(name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut metadata = shell::cargo();
    metadata.args(["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let text = shell::output(&mut metadata).context("cargo metadata failed")?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    Ok(packages
        .iter()
        .filter_map(|package| package["manifest_path"].as_str())
        .map(|manifest| Path::new(manifest).with_file_name(format!("{name}.json")))
        .filter(|file| file.is_file())
        .collect())
}

/// The tool on `PATH`, or one below the target directory, which is installed if it is not there.
fn tool() -> anyhow::Result<PathBuf> {
    let on_path = PathBuf::from("cargo-cyclonedx");
    if shell::output(Command::new(&on_path).args(["cyclonedx", "--version"])).is_some() {
        return Ok(on_path);
    }
    let folder = shell::root().join("target/tools/cargo-cyclonedx");
    let program = folder.join("bin/cargo-cyclonedx");
    if !program.is_file() {
        let mut install = shell::cargo();
        install
            .args([
                "install",
                "--locked",
                "--quiet",
                "--version",
                TOOL,
                "--root",
            ])
            .arg(&folder)
            .arg("cargo-cyclonedx");
        shell::run("install cargo-cyclonedx", &mut install)?;
    }
    Ok(program)
}
