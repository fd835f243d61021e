//! The static programs of the images.

use std::{env, fs, path::PathBuf};

use anyhow::Context as _;

use super::{archive::Platform, elf};
use crate::shell;

/// All programs that an image can hold. They are always built together: which features of a
/// dependency are on depends on what is built with it, and so do a program's bytes.
const PACKAGES: [&str; 7] = [
    // Without the embedded platform, which no image needs.
    COMMAND_LINE,
    "fermata-operator",
    "fermata-gateway",
    "fermata-events",
    "fermata-invoker",
    "fermata-push",
    "fermata-test-function",
];

/// The command line, which people have with all that is in it.
const COMMAND_LINE: &str = "fermata";

/// The profile of Cargo by which they are built.
pub(crate) const PROFILE: &str = "image";

/// The folder with the built programs.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds them, into a folder of their own, since their flags differ from all other builds'.
    pub(super) fn build(platform: &Platform) -> anyhow::Result<Self> {
        let features = &["--no-default-features", "--features=fermata-events/nats"];
        Self::build_packages("static programs", &PACKAGES, features, platform)
    }

    /// Builds one, with all that is in it by default; those of the images are the same as in them, but for the
    /// command line.
    pub(super) fn build_one(name: &str, platform: &Platform) -> anyhow::Result<Self> {
        if name != COMMAND_LINE && PACKAGES.contains(&name) {
            return Self::build(platform);
        }
        Self::build_packages(&format!("static {name}"), &[name], &[], platform)
    }

    fn build_packages(
        title: &str,
        packages: &[&str],
        features: &[&str],
        platform: &Platform,
    ) -> anyhow::Result<Self> {
        let target = format!("{}-unknown-linux-gnu", platform.machine);
        let folder = shell::root().join("target/static");
        let mut cargo = shell::cargo();
        cargo
            .args(["build", "--profile", PROFILE, "--locked", "--bins"])
            .args(["--target", &target, "--target-dir"])
            .arg(&folder)
            .args(features)
            .args(packages.iter().flat_map(|package| ["--package", package]))
            .env("CARGO_ENCODED_RUSTFLAGS", flags())
            .env_remove("CARGO_BUILD_BUILD_DIR");
        shell::run(title, &mut cargo)?;
        Ok(Self {
            folder: folder.join(target).join(PROFILE),
        })
    }

    /// A program's file, which is static.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let file = self.folder.join(name);
        let program = fs::read(&file).with_context(|| {
            let known = PACKAGES.join(", ");
            format!("cannot read {}; programs are {known}", file.display())
        })?;
        elf::check_static(&program)
            .with_context(|| format!("{} cannot be the program of an image", file.display()))?;
        Ok(program)
    }
}

/// Static, and without the folders of this machine, which messages of panics would show.
fn flags() -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::home_dir()?;
        Some(home.join(".cargo"))
    });
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let folders = [(Some(shell::root()), "/fermata"), (home, "/cargo")];
    for (folder, name) in folders {
        if let Some(folder) = folder {
            flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
        }
    }
    flags.join("\u{1f}")
}
