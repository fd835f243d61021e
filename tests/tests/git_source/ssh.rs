//! Repositories by SSH, from a real server: the key and the host are looked at, and what is wrong is told as what it is.
//! For the embedded cluster, whose pods reach loopback.

use fermata_tests::{GitServer, Space, SshServer};
use serde_json::{Value, json};

use super::{answers, function, look_again, start, until_answer};

/// A namespace with a function of a repository by SSH, whose Secret has this.
struct Private {
    space: Space,
    ssh: SshServer,
    git: GitServer,
}

impl Private {
    /// None where there is no server, or the cluster is a real one.
    async fn start() -> Option<Self> {
        let (space, git) = start().await;
        if !space.platform.embedded {
            return None;
        }
        let Some(ssh) = SshServer::start() else {
            println!("OpenSSH's server is not installed: repositories by SSH are not tested");
            return None;
        };
        git.commit("shop", &[("main.py", &answers("by ssh"))]);
        Some(Self { space, ssh, git })
    }

    /// Makes the Secret, or changes it.
    async fn secret(&self, data: Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": data});
        self.space.apply(&secret).await;
    }

    async fn function(&self) {
        let folder = self.git.git("shop", &["rev-parse", "--absolute-git-dir"]);
        let git = json!({"url": self.ssh.url(&folder), "secretName": "key"});
        function(&self.space, "hello", git).await;
    }

    /// Waits until the look has failed so, and gives what is told. No key is told.
    async fn fails(&self, reason: &str) -> String {
        let message = self.space.fails("hello", reason).await;
        assert!(!message.contains("PRIVATE KEY"), "{message}");
        message
    }
}

#[tokio::test]
async fn the_right_key_of_a_known_host_is_enough() {
    let Some(private) = Private::start().await else {
        return;
    };
    let ssh = &private.ssh;
    let right = json!({"ssh-privatekey": ssh.key(), "known_hosts": ssh.known_hosts()});
    private.secret(right).await;
    private.function().await;
    private.space.ready("hello").await;
    until_answer(&private.space, "hello", "by ssh").await;
    assert!(ssh.log().contains("Accepted publickey"), "{}", ssh.log());
}

#[tokio::test]
async fn a_key_that_is_not_taken_is_told_as_the_key_and_the_right_one_mends_it() {
    let Some(private) = Private::start().await else {
        return;
    };
    let ssh = &private.ssh;
    let wrong = json!({"ssh-privatekey": ssh.other_key(), "known_hosts": ssh.known_hosts()});
    private.secret(wrong).await;
    private.function().await;
    let message = private.fails("AuthenticationFailed").await;
    for part in ["Permission denied (publickey)", "ssh-privatekey"] {
        assert!(message.contains(part), "{message}");
    }
    let right = json!({"ssh-privatekey": ssh.key(), "known_hosts": ssh.known_hosts()});
    private.secret(right).await;
    look_again(&private.space, "hello", "1").await;
    private.space.ready("hello").await;
}

#[tokio::test]
async fn what_is_no_key_is_told_as_the_key() {
    let Some(private) = Private::start().await else {
        return;
    };
    let none = json!({"ssh-privatekey": "none", "known_hosts": private.ssh.known_hosts()});
    private.secret(none).await;
    private.function().await;
    let message = private.fails("AuthenticationFailed").await;
    assert!(message.contains("ssh-privatekey"), "{message}");
}

#[tokio::test]
async fn a_host_with_another_key_is_told_as_the_host() {
    let Some(private) = Private::start().await else {
        return;
    };
    let ssh = &private.ssh;
    let other = json!({"ssh-privatekey": ssh.key(), "known_hosts": ssh.known_as_another()});
    private.secret(other).await;
    private.function().await;
    let message = private.fails("LookFailed").await;
    assert!(message.contains("known_hosts"), "{message}");
    assert!(!message.contains("credentials"), "{message}");
    assert!(!ssh.log().contains("Accepted publickey"), "{}", ssh.log());
}

#[tokio::test]
async fn a_host_that_is_not_known_is_told_as_the_host() {
    let Some(private) = Private::start().await else {
        return;
    };
    let ssh = &private.ssh;
    private.secret(json!({"ssh-privatekey": ssh.key()})).await;
    private.function().await;
    let message = private.fails("LookFailed").await;
    assert!(message.contains("ssh-keyscan"), "{message}");

    let unknown =
        json!({"ssh-privatekey": ssh.key(), "known_hosts": "other.example ssh-ed25519 AAAA"});
    private.secret(unknown).await;
    look_again(&private.space, "hello", "1").await;
    let told = fermata_tests::eventually("the unknown host is told", async || {
        let message = private.fails("LookFailed").await;
        let is_told = message.contains("host key is known for");
        if is_told { Ok(message) } else { Err(message) }
    })
    .await;
    assert!(told.contains("known_hosts"), "{told}");
    assert!(!ssh.log().contains("Accepted publickey"), "{}", ssh.log());
}
