//! What changes in a repository reaches its functions when it is looked for.

use serde_json::json;

use super::{answers, function, look_again, source, start, until_answer};

#[tokio::test]
async fn another_look_finds_a_new_commit_and_an_old_commit_its_old_revision() {
    let (space, server) = start().await;
    let first = server.commit("shop", &[("main.py", &answers("one"))]);
    function(
        &space,
        "hello",
        json!({"url": server.url("shop"), "ref": "main"}),
    )
    .await;
    space.ready("hello").await;
    until_answer(&space, "hello", "one").await;

    let second = server.commit("shop", &[("main.py", &answers("two"))]);
    assert_eq!(
        source(&space, "hello").await.commit.as_deref(),
        Some(&*first)
    );
    look_again(&space, "hello", "1").await;
    until_answer(&space, "hello", "two").await;
    assert_eq!(
        source(&space, "hello").await.commit.as_deref(),
        Some(&*second)
    );
    assert_eq!(space.revisions("hello").await.len(), 2);

    server.git("shop", &["reset", "--quiet", "--hard", &first]);
    look_again(&space, "hello", "2").await;
    until_answer(&space, "hello", "one").await;
    let revisions = space.revisions("hello").await;
    assert_eq!(revisions.len(), 2, "the old commit has its Revision");
    space.ready("hello").await;

    // What leads to the same commit makes no other Revision.
    function(
        &space,
        "hello",
        json!({"url": server.url("shop"), "ref": first}),
    )
    .await;
    space.ready("hello").await;
    assert_eq!(space.revisions("hello").await.len(), 2);
}

#[tokio::test]
async fn a_poll_finds_a_new_commit_by_itself() {
    let (space, server) = start().await;
    server.commit("shop", &[("main.py", &answers("one"))]);
    function(
        &space,
        "hello",
        json!({"url": server.url("shop"), "poll": "30s"}),
    )
    .await;
    space.ready("hello").await;
    server.commit("shop", &[("main.py", &answers("two"))]);
    until_answer(&space, "hello", "two").await;
}
