//! The suites on a real Kubernetes.

use super::{Setting, builds, release};
use crate::{platform::Platform, shell};

/// Suites of one installation, which they upgrade, starve and cut off: each runs alone.
pub(super) const SUITES: [&str; 7] = [
    "chart",
    "rights",
    "node",
    "pushes",
    "events",
    "outages",
    builds::NAME,
];

/// The suites that run on the embedded cluster too.
const SHARED: [&str; 14] = [
    "asynchronous",
    "bad_http",
    "cli",
    "dead_letters",
    "dependencies",
    "examples",
    "failures",
    "git_source",
    "kubectl",
    "lifecycle",
    "manifests",
    "scaling",
    "schedules",
    "topics",
];

/// How many tests run at once. One node has room for so many pods, and two cores.
const THREADS: usize = 6;

pub(super) fn run(setting: &Setting<'_>) -> anyhow::Result<()> {
    Platform::prepare()?.during(|platform| {
        api(setting, platform)?;
        platform.install()?;
        suites(setting, platform, &SHARED, THREADS)?;
        for suite in SUITES.into_iter().filter(|suite| *suite != builds::NAME) {
            suites(setting, platform, &[suite], 1)?;
        }
        // Last, since it installs something else.
        if setting
            .filter
            .is_none_or(|filter| release::NAME.contains(filter))
        {
            release::run(platform)?;
        }
        if setting.filter.is_none_or(builds::is_chosen_by) {
            builds::run(setting, platform)?;
        }
        Ok(())
    })
}

/// The tests of the embedded API server, on the real one, without an operator which would put right
/// what they do to its objects.
fn api(setting: &Setting<'_>, platform: &Platform) -> anyhow::Result<()> {
    platform.without_operators()?;
    let mut test = shell::cargo();
    test.args(["test", "--workspace", "--no-fail-fast", "--test=api"])
        .env(
            "FERMATA_TEST_API_KUBECONFIG",
            platform.cluster().kubeconfig(),
        )
        .env("KUBECTL", platform.cluster().tools().program("kubectl"));
    setting.choose(&mut test, Some(THREADS));
    shell::run("tests of the API on the real cluster", &mut test)
}

fn suites(
    setting: &Setting<'_>,
    platform: &Platform,
    names: &[&str],
    threads: usize,
) -> anyhow::Result<()> {
    let mut test = shell::cargo();
    test.args(["test", "--workspace", "--no-fail-fast"]);
    test.args(names.iter().flat_map(|name| ["--test", name]));
    platform.describe_to(&mut test)?;
    setting.choose(&mut test, Some(threads));
    let title = format!("tests on the real cluster: {}", names.join(", "));
    shell::run(&title, &mut test)
}
