//! The example with pictures, which has a package of Python's index: uploads are made small by calls that nobody waits for,
//! and an album is told.

use std::time::Duration;

use fermata_tests::{Gateway, Up, eventually, eventually_within, examples};
use http::{Request, StatusCode};
use http_body_util::Full;

/// How long the installation may take, which depends on others.
const DEADLINE: Duration = Duration::from_secs(900);

/// A picture of one colour, as a portable pixmap: it needs no library.
fn picture(width: usize, height: usize) -> Vec<u8> {
    let mut picture = format!("P6\n{width} {height}\n255\n").into_bytes();
    picture.extend([200, 100, 50].repeat(width * height));
    picture
}

/// Width and height of a PNG, which are where its header says.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n"), "it is no PNG");
    let number = |at| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

/// Uploads a picture; gives the path at which is told what became of it.
async fn upload(gateway: &Gateway, picture: Vec<u8>) -> String {
    let album = format!("http://localhost:{}/function/album", gateway.address.port());
    let request = Request::post("/async-function/resize")
        .header("x-callback-url", album)
        .body(Full::from(picture));
    let told = gateway.send(request.expect("a request")).await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "{}", told.text());
    told.header("location").to_owned()
}

#[tokio::test]
async fn uploads_are_made_small_and_an_album_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = examples("resize").display().to_string();
    let arguments = ["--ephemeral", "--callback-allow=localhost", "-f", &folder];
    let up = Up::start(dir.path(), arguments);
    let gateway = up.platform().gateway();
    eventually_within(DEADLINE, "the functions are there", async || {
        for name in ["album", "resize"] {
            let answer = gateway.get(&format!("/function/{name}")).await;
            // Nothing is no picture, and told as that.
            if ![StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY].contains(&answer.status) {
                return Err(format!("{name}: {} {}", answer.status, answer.text()));
            }
        }
        Ok(())
    })
    .await;

    let location = upload(&gateway, picture(512, 384)).await;
    let call = location.rsplit('/').next().expect("an id");
    let small = eventually("the album has it", async || {
        let calls = gateway.get("/function/album").await.ok().text();
        if !calls.lines().any(|line| line == call) {
            let state = gateway.get(&location).await.text();
            return Err(format!("{calls}; {state}"));
        }
        Ok(gateway.get(&format!("/function/album/{call}")).await.ok())
    })
    .await;
    assert_eq!(small.header("content-type"), "image/png");
    assert_eq!(size(&small.body), (128, 96));

    // What is no picture has failed, and is in no album.
    let location = upload(&gateway, b"no picture".to_vec()).await;
    eventually("it has failed", async || {
        let state = gateway.get(&location).await.ok().json();
        if (&state["state"], &state["code"]) == (&"Failed".into(), &422.into()) {
            Ok(())
        } else {
            Err(state.to_string())
        }
    })
    .await;
    let calls = gateway.get("/function/album").await.ok().text();
    assert_eq!(calls, format!("{call}\n"));
}
