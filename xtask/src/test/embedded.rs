//! All tests that need no cluster but the embedded one.

use super::Setting;
use crate::{cluster, fuzz, shell};

pub(super) fn run(setting: &Setting<'_>) -> anyhow::Result<()> {
    let mut test = shell::cargo();
    test.args(["test", "--workspace", "--no-fail-fast"])
        .envs([fuzz::among_tests()?])
        .env("KUBECTL", cluster::kubectl()?);
    setting.choose(&mut test, None);
    shell::run("tests on the embedded cluster", &mut test)
}
