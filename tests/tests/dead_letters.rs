//! What whoever a function belongs to sees and does of calls whose callers do not wait. On a cluster that is an account with
//! the role `edit` of the namespace; the user of `fermata up` needs no token.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use fermata_tests::{Space, eventually, fermata_bin, kubectl};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

/// Fails unless its environment says that it is mended.
const CODE: &str = r#"
import os

def handle(request):
    if "MENDED" not in os.environ:
        raise ValueError("broken")
    return f"did {request.text()}"
"#;

fn spec(mended: bool) -> Value {
    let env = match mended {
        true => json!([{"name": "MENDED", "value": "yes"}]),
        false => json!([]),
    };
    json!({
        "source": {"runtime": "python", "files": {"main.py": CODE}},
        "env": env,
        "scale": {"max": 1},
        "delivery": {"attempts": 1},
    })
}

/// A namespace, and the command line in it.
struct World {
    space: Space,
    kubeconfig: PathBuf,
    /// What the gateway is shown on a cluster.
    token: Option<String>,
}

/// The token of an account with this role in the namespace.
fn token(space: &Space, role: &str) -> String {
    let ok = |arguments: &[&str]| {
        let all = [&["-n", &*space.name], arguments].concat();
        let output = kubectl(&space.platform.kubeconfig, &all);
        assert!(output.status.success(), "kubectl {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    ok(&["create", "serviceaccount", role]);
    let account = format!("--serviceaccount={}:{role}", space.name);
    let named = format!("--clusterrole={role}");
    ok(&["create", "rolebinding", role, &named, &account]);
    ok(&["create", "token", role]).trim().to_owned()
}

impl World {
    async fn new(function: &str) -> Self {
        let space = Space::new().await;
        space.function(function, spec(false)).await;
        space.ready(function).await;
        let token = (!space.platform.embedded).then(|| token(&space, "edit"));
        let kubeconfig = space.platform.kubeconfig.clone();
        Self {
            space,
            kubeconfig,
            token,
        }
    }

    /// Runs the command line; `Err` has what it says when it fails.
    async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut fermata = Command::new(fermata_bin());
        fermata
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["-n", &self.space.name])
            .args(arguments)
            .envs(self.token.iter().map(|token| ("FERMATA_TOKEN", token)));
        let ran = tokio::task::spawn_blocking(move || -> Output {
            fermata.output().expect("fermata can be run")
        });
        let output = ran.await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments).await;
        ran.unwrap_or_else(|said| panic!("fermata {arguments:?}: {said}"))
    }

    async fn defer(&self, function: &str, body: &str) {
        let request = Request::post(self.space.path(function))
            .header("prefer", "respond-async")
            .body(Full::from(body.to_owned()));
        let told = self.space.gateway().send(request.unwrap()).await;
        assert_eq!(told.status, 202, "{}", told.text());
    }

    /// The ids of calls in this state, once there are so many.
    async fn until(&self, function: &str, state: &str, count: usize) -> Vec<String> {
        let what = format!("{count} calls of {function} are {state}");
        eventually(&what, async || {
            let list = ["invocations", "list", function, "--state", state, "-o"];
            let ids = self.ok(&[&list[..], &["name"]].concat()).await;
            let ids: Vec<String> = ids.lines().map(ToOwned::to_owned).collect();
            if ids.len() == count {
                Ok(ids)
            } else {
                Err(self.ok(&["invocations", "list", function]).await)
            }
        })
        .await
    }
}

#[tokio::test]
async fn dead_letters_are_listed_shown_tried_anew_and_purged() {
    let world = World::new("mails").await;
    for body in ["one", "two", "three", "four"] {
        world.defer("mails", body).await;
    }
    let failed = world.until("mails", "failed", 4).await;
    let table = world.ok(&["dlq", "list"]).await;
    assert!(table.starts_with("ID "), "{table}");
    assert!(
        table.contains("mails") && table.contains("Failed"),
        "{table}"
    );
    let few = world.ok(&["dlq", "list", "mails", "--limit", "3", "-o", "name"]);
    assert_eq!(few.await.lines().count(), 3);

    let shown = world.ok(&["dlq", "show", &failed[0]]).await;
    assert!(
        shown.contains("Body bytes:") && shown.contains("500"),
        "{shown}"
    );
    let shown = world
        .ok(&["invocations", "show", &failed[0], "-o", "json"])
        .await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["function"], &shown["request"]["method"]),
        (&json!("mails"), &json!("POST"))
    );
    let result = world
        .run(&["invocations", "result", &failed[0]])
        .await
        .unwrap_err();
    assert!(result.contains("500"), "{result}");

    let gone = &failed[1];
    let purged = world.ok(&["dlq", "purge", gone]).await;
    assert!(purged.contains("removed"), "{purged}");
    let unknown = world.run(&["dlq", "show", gone]).await.unwrap_err();
    assert!(
        unknown.contains("no function") && unknown.contains("seven days"),
        "{unknown}"
    );

    world.space.function("mails", spec(true)).await;
    eventually("the mended code answers", async || {
        let answer = world.space.call("mails", "x").await;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(answer.text()),
        }
    })
    .await;
    let one = world.ok(&["invocations", "redrive", &failed[0]]).await;
    assert!(one.contains("tried anew"), "{one}");
    let all = world.ok(&["dlq", "redrive", "--all", "mails"]).await;
    assert!(all.contains("2 calls tried anew"), "{all}");
    let good = world.until("mails", "succeeded", 3).await;
    let result = world.ok(&["invocations", "result", &good[0]]).await;
    assert!(result.starts_with("did "), "{result}");
    assert_eq!(world.ok(&["dlq", "list", "mails"]).await, "");
    let refused = world.run(&["dlq", "purge", &good[0]]).await.unwrap_err();
    assert!(refused.contains("only a call that has failed"), "{refused}");
}

#[tokio::test]
async fn on_a_cluster_a_role_says_who_sees_the_calls() {
    let mut world = World::new("mails").await;
    if world.token.is_none() {
        return;
    }
    world.defer("mails", "one").await;
    let failed = world.until("mails", "failed", 1).await;
    for (token, says) in [
        (None, "FERMATA_TOKEN"),
        (Some(token(&world.space, "view")), "functions/invocations"),
        (Some("guessed".to_owned()), "does not know this token"),
    ] {
        world.token = token;
        for arguments in [
            &["dlq", "list", "mails"][..],
            &["dlq", "show", &failed[0], "--function", "mails"],
        ] {
            let refused = world.run(arguments).await.unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }
}

#[tokio::test]
async fn calls_go_with_their_function_and_a_later_one_has_none_of_them() {
    let world = World::new("orders").await;
    for body in ["one", "two"] {
        world.defer("orders", body).await;
    }
    let failed = world.until("orders", "failed", 2).await;
    let named = ["dlq", "show", &*failed[0], "--function", "orders"];
    assert!(world.ok(&named).await.contains("Failed"));
    world.space.remove("orders").await;
    eventually("the gateway knows that it is gone", async || {
        match world.run(&["dlq", "list", "orders"]).await {
            Ok(list) => Err(list),
            Err(said) => Ok(said),
        }
    })
    .await;
    world.space.function("orders", spec(false)).await;
    world.space.ready("orders").await;
    eventually("the gateway knows the later one", async || {
        world.run(&["dlq", "list", "orders"]).await
    })
    .await;
    assert_eq!(world.ok(&["dlq", "list", "orders"]).await, "");
    let refused = world.run(&named).await.unwrap_err();
    assert!(refused.contains("no call of this id"), "{refused}");
    let none = world.ok(&["dlq", "purge", "--all", "orders"]).await;
    assert!(none.contains("0 calls removed"), "{none}");
}

#[tokio::test]
async fn what_makes_no_sense_gets_a_sentence() {
    let world = World::new("mails").await;
    for (arguments, says) in [
        (&["invocations", "show", "no/id"][..], "no id of a call"),
        (&["dlq", "redrive"], "<ID>"),
        (&["dlq", "redrive", "7", "--all", "mails"], "--all"),
        (&["invocations", "list", "--state", "dead"], "waiting"),
        (&["invocations", "list", "--limit", "0"], "--limit"),
        (
            &["invocations", "list", "--gateway", "http://192.0.2.7"],
            "https",
        ),
        (&["invocations", "list", "--gateway", "ftp://x"], "https://"),
    ] {
        let said = world.run(arguments).await.unwrap_err();
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    // Nobody without the secret gets anything, and no function either.
    let path = format!(
        "/.well-known/fermata/functions/{}/mails/invocations",
        world.space.name
    );
    for token in [None, Some("Bearer guessed")] {
        let mut request = Request::get(&path).header("host", "127.0.0.1");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let request = request.body(Full::default()).unwrap();
        let refused = world.space.gateway().send(request).await;
        assert!(
            [401, 403].contains(&refused.status.as_u16()),
            "{}",
            refused.text()
        );
    }
}
