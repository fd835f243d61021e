//! What was installed is kept on the embedded node, and used by all that need the same.

use fermata_tests::{Space, eventually};
use serde_json::json;

use super::{HANDLER, ask_anew, build_log, function, source};

/// What each installation leaves in its own log, and no other.
async fn log(space: &Space, name: &str) -> Option<String> {
    build_log(space, name).await.filter(|log| !log.is_empty())
}

#[tokio::test]
async fn what_needs_the_same_is_installed_once_until_it_is_asked_for_anew() {
    let space = Space::new().await;
    // Its words are its own, so that nobody else has had it installed.
    let handler = format!("{HANDLER}# {}\n", space.name);
    let mut own = source("1.0", &handler, "");
    let requirements = format!(
        "# {}\n--no-index\n--find-links wheels\ngreeting==1.0\n",
        space.name
    );
    own["files"]["requirements.txt"] = json!(requirements);
    function(&space, "one", own.clone()).await;
    space.ready("one").await;
    assert!(log(&space, "one").await.is_some(), "nothing was installed");
    if !space.platform.embedded {
        let (_, message) = space.condition("one", "Built", "True").await;
        assert!(message.contains("each instance"), "{message}");
        return;
    }

    function(&space, "two", own.clone()).await;
    space.ready("two").await;
    space.answers("two", "hello 1.0").await;
    assert_eq!(log(&space, "two").await, None);

    // Code alone.
    own["files"]["main.py"] = json!(format!("{handler}# changed\n"));
    function(&space, "one", own).await;
    space.ready("one").await;
    eventually("the new revision has a pod", async || {
        match space.revisions("one").await.len() {
            2 => Ok(()),
            number => Err(format!("{number} revisions")),
        }
    })
    .await;
    assert_eq!(log(&space, "one").await, None);

    ask_anew(&space, "one", "now").await;
    eventually("it is installed anew", async || {
        let revisions = space.revisions("one").await.len();
        match (revisions, log(&space, "one").await) {
            (3, Some(_)) => Ok(()),
            (revisions, log) => Err(format!("{revisions} revisions, {log:?}")),
        }
    })
    .await;
    space.ready("one").await;
}
