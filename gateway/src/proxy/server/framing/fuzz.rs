use fermata_crds::sample::{Choices, chosen_by, pick};

use super::{tests::taken_by_hyper, *};

/// What stands between a request and the next, good or bad.
const PARTS: [&str; 24] = [
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\n",
    "content-length: 5\r\n\r\n",
    "Content-Length: 0\r\n\r\n",
    "content-length:3\r\n",
    "content-length: +3\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "transfer-encoding: x\r\n",
    "transfer-encoding : chunked\r\n",
    "3\r\nabc\r\n",
    "3;x=\"\n\"\r\nabc\r\n",
    "0003 \r\n\r\n\r\r\n",
    "0\r\n\r\n",
    "0\r\nx: y\r\n\r\n",
    "abc",
    "\r\n",
    "\n",
    "\r",
    " ",
    "x: y\r\n",
    "x: y\n",
    " folded\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "\0",
];

fn stream(choose: Choices<'_>) -> Vec<u8> {
    let parts: Vec<&str> = (0..choose(24)).map(|_| pick(&PARTS, choose)).collect();
    parts.concat().into_bytes()
}

/// Follows bytes that come in parts: how many heads there are, what is found if anything is, and how many
/// bytes pass before that.
fn follow(bytes: &[u8], size: usize) -> (u64, Option<Finding>, usize) {
    let mut framing = Framing::default();
    let mut passed = 0;
    for part in bytes.chunks(size) {
        match framing.follow(part) {
            Ok(()) => passed += part.len(),
            // Of a body that is lost all passes, and no further request is taken.
            Err(found) if found.finding == Finding::Lost => {
                return (framing.heads(), Some(Finding::Lost), bytes.len());
            }
            Err(found) => return (framing.heads(), Some(found.finding), passed + found.begin),
        }
    }
    (framing.heads(), None, passed)
}

#[test]
fn fuzz_hyper_reads_no_request_that_was_not_followed() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let bytes = stream(&mut choose);
        let (heads, found, passed) = follow(&bytes, bytes.len().max(1));
        for size in [1, 2, 7] {
            let (again, the_same, _) = follow(&bytes, size);
            assert_eq!(
                (again, the_same),
                (heads, found),
                "{}",
                bytes.escape_ascii()
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let taken = runtime.block_on(taken_by_hyper(&bytes[..passed]));
        if found == Some(Finding::Lost) {
            // The last of them is not whole, or is the last that is taken.
            return;
        }
        assert!(
            taken as u64 <= heads,
            "{taken} of {heads}: {}",
            bytes.escape_ascii()
        );
    });
}

#[test]
fn fuzz_any_bytes_are_followed() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let whole = follow(bytes, bytes.len().max(1));
        let (heads, found, _) = follow(bytes, 3);
        assert_eq!((heads, found), (whole.0, whole.1));
    });
}
