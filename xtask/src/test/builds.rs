//! Builds into images: the chart is installed from a registry, and builds functions into it.

use std::fs;

use super::Setting;
use crate::{
    platform::Platform,
    release::{self, Push},
    shell,
};

/// The suite, and what a filter may choose.
pub(super) const NAME: &str = "builds";

/// What has to be in the registry: an image is made on that of its Runtime.
const IMAGES: [&str; 6] = [
    "operator",
    "gateway",
    "runtime-python",
    "build-python",
    "git",
    "push",
];

/// Whether a filter chooses the suite, or tests of it.
pub(super) fn is_chosen_by(filter: &str) -> bool {
    NAME.contains(filter) || filter.starts_with(NAME)
}

/// Pushes the images, installs the chart with builds switched on, and runs the suite.
pub(super) fn run(setting: &Setting<'_>, platform: &Platform) -> anyhow::Result<()> {
    // What other suites have left would be built too, and take the places of what is to be tested. Functions of the
    // chart come back with the installation.
    let mut delete = platform.command("kubectl");
    shell::quiet(delete.args(["delete", "functions", "--all", "--all-namespaces"]))?;
    let registry = platform.cluster().registry()?;
    let folder = shell::root().join("target/cluster/builds");
    fs::create_dir_all(&folder)?;
    let values = folder.join("values.yaml");
    release::push_some(&Push::to(registry.to_owned(), values.clone()), &IMAGES)?;
    platform.install_with(&[
        "--set=operator.image.pullPolicy=IfNotPresent,gateway.image.pullPolicy=IfNotPresent".into(),
        // Nothing of it is tested here, and its image is not in the registry.
        "--set-string=events.store=".into(),
        "--values".into(),
        values.into(),
        format!("--set=builds.registry={registry}/functions,builds.plainHttp=true").into(),
    ])?;
    let mut test = shell::cargo();
    test.args(["test", "--workspace", "--test", NAME])
        .env("FERMATA_TEST_REGISTRY", registry);
    platform.describe_to(&mut test)?;
    setting.choose(&mut test, Some(1));
    shell::run("tests of builds into images", &mut test)
}
