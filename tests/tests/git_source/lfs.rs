//! Files that Git LFS keeps.

use fermata_tests::has_git_lfs;
use serde_json::json;

use super::{function, start, until_answer};

const HANDLER: &str = "from pathlib import Path\n\n\ndef handle(request):\n    return Path('model.bin').read_text()\n";

#[tokio::test]
async fn what_git_lfs_keeps_is_there() {
    let (space, server) = start().await;
    if space.platform.embedded && !has_git_lfs() {
        return;
    }
    let model = server.keep("a large model");
    let files = [
        (".gitattributes", "*.bin filter=lfs\n"),
        ("main.py", HANDLER),
        ("model.bin", &model),
    ];
    server.commit("shop", &files);
    function(&space, "shop", json!({"url": server.url("shop")})).await;
    space.ready("shop").await;
    until_answer(&space, "shop", "a large model").await;
}
