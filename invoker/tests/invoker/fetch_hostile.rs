//! Fetches from repositories and servers that are broken, or mean harm.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::{
    fetch::{Job, server},
    git_server::GitServer,
};

/// Makes a tree of these entries, and gives its name.
fn tree(repository: &str, entries: &str) -> String {
    let mut git = Command::new("git")
        .args(["--git-dir", repository, "mktree"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tests need git");
    let mut stdin = git.stdin.take().expect("a pipe");
    stdin.write_all(entries.as_bytes()).expect("git reads");
    drop(stdin);
    let output = git.wait_with_output().expect("git ends");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A commit of a few hundred bytes with ten thousand million files.
fn bomb(server: &GitServer) -> String {
    server.commit("bomb", &[("main.py", "1")]);
    let repository = server.git("bomb", &["rev-parse", "--absolute-git-dir"]);
    let blob = server.git("bomb", &["rev-parse", "HEAD:main.py"]);
    let entries = |kind: &str, object: &str| {
        let entry = |number| format!("{kind} {object}\t{number}\n");
        (0..10).map(entry).collect::<String>()
    };
    let mut last = tree(&repository, &entries("100644 blob", &blob));
    for _ in 0..9 {
        last = tree(&repository, &entries("040000 tree", &last));
    }
    let commit = server.git("bomb", &["commit-tree", "-m", "x", &last]);
    server.git("bomb", &["update-ref", "refs/heads/main", &commit]);
    commit
}

#[test]
fn a_tree_that_lists_more_than_fits_anywhere_is_cut_off_at_the_number_of_files() {
    let server = server();
    let commit = bomb(&server);
    let outcome = Job::new(&server.url("bomb")).commit(&commit).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let last = outcome.last();
    assert!(last.contains("more than 100000 files"), "{last}");
}

/// A server that lists branches for as long as somebody reads.
fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || list(stream));
        }
    });
    address
}

/// Answers everything with a page, as a host of repositories does where there is none; its address.
fn page() -> SocketAddr {
    const PAGE: &str = "<html>\n<body>Sign in</body>\n</html>\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
                PAGE.len()
            );
        }
    });
    address
}

fn list(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let object = "a".repeat(40);
    let packet = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\nconnection: close\r\n\r\n";
    write!(
        stream,
        "{head}{}0000",
        packet("# service=git-upload-pack\n")
    )?;
    let first = packet(&format!("{object} HEAD\0multi_ack\n"));
    stream.write_all(first.as_bytes())?;
    let many = packet(&format!("{object} refs/heads/{}\n", "b".repeat(200))).repeat(1000);
    loop {
        stream.write_all(many.as_bytes())?;
    }
}

#[test]
fn a_server_that_lists_without_end_is_cut_off() {
    let url = format!("http://{}/shop", endless());
    let outcome = Job::new(&url).look();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let last = outcome.last();
    assert!(last.contains("more than 512.0 MiB of memory"), "{last}");
}

#[test]
fn a_page_is_told_to_be_no_repository() {
    let url = format!("http://{}/team/shop", page());
    let looked = Job::new(&url).look();
    let fetched = Job::new(&url).commit(&"1".repeat(40)).run();
    for outcome in [looked, fetched] {
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        let last = outcome.last();
        assert!(last.contains("that `git clone` takes"), "{last}");
    }
}

#[test]
fn a_damaged_repository_is_told_as_one() {
    let server = server();
    let commit = server.commit("shop", &[("main.py", "1"), ("lib.py", "2")]);
    let repository = server.git("shop", &["rev-parse", "--absolute-git-dir"]);
    let blob = server.git("shop", &["rev-parse", "HEAD:lib.py"]);
    let (folder, file) = blob.split_at(2);
    let object = Path::new(&repository)
        .join("objects")
        .join(folder)
        .join(file);
    fs::remove_file(&object).expect("an object");
    fs::write(&object, "no object").expect("a file");
    let outcome = Job::new(&server.url("shop")).commit(&commit).run();
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let last = outcome.last();
    assert!(last.contains("the repository is damaged"), "{last}");
}

#[test]
fn a_commit_in_short_is_told_to_be_short() {
    let server = server();
    let commit = server.commit("shop", &[("main.py", "1")]);
    let job = Job::new(&server.url("shop"));
    let outcome = job.reference(&commit[..8]).look();
    assert_eq!(outcome.code, Some(66), "{}", outcome.stderr);
    let last = outcome.last();
    assert!(last.contains("give all of its 40 digits"), "{last}");
}
