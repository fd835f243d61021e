//! An unmodified kubectl: the program that `KUBECTL` names, or else the one on `PATH`.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// kubectl with a kubeconfig of its own.
pub(crate) struct Kubectl {
    dir: tempfile::TempDir,
    namespace: String,
}

fn program() -> OsString {
    std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into())
}

impl Kubectl {
    pub(crate) fn new(kubeconfig: &str, namespace: &str) -> Self {
        let found = Command::new(program())
            .args(["version", "--client"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            found.is_ok_and(|status| status.success()),
            "this test needs kubectl 1.30 or newer, on PATH or named by KUBECTL: https://kubernetes.io/docs/tasks/tools/"
        );
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig).expect("kubeconfig");
        Self {
            dir,
            namespace: namespace.to_owned(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(["--namespace", &self.namespace])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .current_dir(self.dir.path());
        command
    }

    /// Runs off the runtime's threads, on which the server runs.
    pub(crate) async fn output(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        tokio::task::spawn_blocking(move || command.output().expect("kubectl"))
            .await
            .expect("kubectl")
    }

    /// What kubectl prints when it succeeds.
    pub(crate) async fn run(&self, args: &[&str]) -> String {
        let output = self.output(args).await;
        assert!(
            output.status.success(),
            "kubectl {}\n{}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// What kubectl complains about when it fails.
    pub(crate) async fn fail(&self, args: &[&str]) -> String {
        let output = self.output(args).await;
        assert!(
            !output.status.success(),
            "kubectl {} succeeded:\n{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    }
}
