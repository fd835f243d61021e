//! Completion, and kubectl.

use std::process::Command;

use fermata_tests::{Platform, Space, fermata_bin};
use serde_json::json;

use crate::ok;

#[tokio::test]
async fn a_completion_script_is_there_for_each_shell() {
    let platform = Platform::shared();
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(&platform.kubeconfig, &["completion", shell]).contains("fermata"));
    }
}

#[test]
fn it_is_a_plugin_of_kubectl_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-fermata");
    std::os::unix::fs::symlink(fermata_bin(), &plugin).unwrap();
    let help = Command::new(plugin)
        .args(["deploy", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Usage: kubectl fermata deploy"), "{help}");
    assert!(
        help.contains("  kubectl fermata deploy -f hello/"),
        "{help}"
    );
}

#[tokio::test]
async fn names_are_completed() {
    let space = Space::new().await;
    space
        .test_function("long-name", &["serve"], json!({}))
        .await;
    let output = Command::new(fermata_bin())
        .args(["--", "fermata", "logs", "-n", &space.name, "lo"])
        .env("KUBECONFIG", &space.platform.kubeconfig)
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "4")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "long-name",
        "{output:?}"
    );
}
