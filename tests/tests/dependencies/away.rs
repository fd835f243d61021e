//! A registry that is away for a while.

use fermata_tests::{Space, eventually, wheel};
use serde_json::json;

use super::{
    HANDLER, function,
    index::{Index, Pages, bytes},
};

const FILE: &str = "greeting-1.0-py3-none-any.whl";

/// An index of Python packages with one of them.
fn pages() -> Pages {
    let package = bytes(&wheel("greeting", "1.0", "WORDS = 'back again'\n"));
    let links = format!("<html><body><a href=\"/{FILE}\">{FILE}</a></body></html>");
    Pages::from([
        (
            "/simple/greeting/".into(),
            ("text/html", links.into_bytes()),
        ),
        (format!("/{FILE}"), ("application/octet-stream", package)),
    ])
}

#[tokio::test]
async fn a_registry_that_comes_back_is_asked_again() {
    let space = Space::new().await;
    let index = Index::start(&space, pages()).await;
    index.be_away(true);
    let requirements = format!(
        "--index-url http://{}/simple\n--trusted-host {}\ngreeting==1.0\n",
        index.address,
        index.address.ip()
    );
    let source = json!({
        "runtime": "python",
        "build": {"env": [{"name": "PIP_RETRIES", "value": "0"}]},
        "files": {"main.py": HANDLER, "requirements.txt": requirements},
    });
    function(&space, "hello", source).await;
    eventually("the registry is missed", async || {
        let status = space.get("hello").await.status.unwrap_or_default();
        let mut conditions = status.conditions.iter();
        match conditions.find(|condition| condition.type_ == "Built") {
            Some(built) if built.reason == "RegistryUnreachable" => {
                assert_eq!(built.status, "Unknown");
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    index.be_away(false);
    space.answers("hello", "back again").await;
    space.ready("hello").await;
}
