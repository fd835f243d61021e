//! A server of git repositories over HTTP, and the repositories.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

const SCRIPT: &str = include_str!("git_server.py");

/// The user and the password of what is private.
pub const LOGIN: (&str, &str) = ("reader", "pass word:with@signs/%");

/// The folder with git-lfs that `cargo xtask test` has unpacked, if it is not on `PATH`.
#[must_use]
pub fn git_lfs() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let folder = tools.join("target/tools/git-lfs/usr/bin");
    folder.join("git-lfs").is_file().then_some(folder)
}

/// Whether git-lfs is there, one way or the other.
#[must_use]
#[allow(clippy::print_stdout, reason = "it is for people")]
pub fn has_git_lfs() -> bool {
    let found = Command::new("git-lfs").arg("version").output().is_ok();
    if !found && git_lfs().is_none() {
        println!("git-lfs is not on PATH: what Git LFS keeps is not tested");
        return false;
    }
    true
}

/// Repositories of a folder, served until this is dropped.
#[derive(Debug)]
pub struct GitServer {
    folder: TempDir,
    address: IpAddr,
    port: u16,
    server: Option<Child>,
}

// === impl GitServer ===

impl GitServer {
    /// A server without repositories, at an address of this machine.
    ///
    /// # Panics
    ///
    /// When there is no Python.
    #[must_use]
    pub fn start(address: IpAddr) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        fs::create_dir(folder.path().join("private")).expect("a directory");
        let mut server = Self {
            folder,
            address,
            port: 0,
            server: None,
        };
        server.resume();
        server
    }

    /// The server goes away.
    ///
    /// # Panics
    ///
    /// When it cannot be ended.
    pub fn pause(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it can be ended");
            server.wait().expect("it ends");
        }
    }

    /// The server comes back where it was.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn resume(&mut self) {
        let (user, password) = LOGIN;
        let mut server = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(self.folder.path())
            .arg(self.address.to_string())
            .arg(self.port.to_string())
            .arg(format!("{user}:{password}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tests need python3");
        let output = server.stdout.take().expect("a pipe");
        let mut line = String::new();
        let mut output = BufReader::new(output);
        output.read_line(&mut line).expect("a line");
        self.port = line.trim().parse().expect("the server says its port");
        self.server = Some(server);
    }

    /// The address of a repository, such as `shop` or `private/shop`.
    #[must_use]
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}:{}/{repository}", self.address, self.port)
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs git in a repository, which is made if it is not there, and gives what it prints.
    ///
    /// # Panics
    ///
    /// When git fails.
    pub fn git(&self, repository: &str, arguments: &[&str]) -> String {
        let folder = self.repository(repository);
        let run = |arguments: &[&str]| {
            let output = Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
                .args(["-c", "protocol.file.allow=always"])
                .args(arguments)
                .current_dir(&folder)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .expect("the tests need git");
            let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "git {arguments:?}: {err}");
            String::from_utf8_lossy(out).trim().to_owned()
        };
        if !folder.join(".git").exists() {
            fs::create_dir_all(&folder).expect("a directory");
            run(&["init", "--quiet", "--initial-branch=main"]);
        }
        run(arguments)
    }

    /// Writes files into a repository and commits them; the commit.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn commit(&self, repository: &str, files: &[(&str, &str)]) -> String {
        self.git(repository, &["status", "--short"]);
        for (path, text) in files {
            self.put(repository, path, text.as_bytes());
        }
        self.git(repository, &["add", "--all"]);
        self.git(
            repository,
            &["commit", "--quiet", "--allow-empty", "--message=x"],
        );
        self.git(repository, &["rev-parse", "HEAD"])
    }

    /// Puts a file into a repository, for the next commit.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn put(&self, repository: &str, path: &str, content: &[u8]) {
        let path = self.repository(repository).join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    /// Has Git LFS keep a content for all repositories, and gives what a commit has in its place.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[must_use]
    pub fn keep(&self, content: &str) -> String {
        let kept = self.folder.path().join(".lfs");
        fs::create_dir_all(&kept).expect("a directory");
        let new = tempfile::NamedTempFile::new_in(&kept).expect("a file");
        fs::write(new.path(), content).expect("a file");
        let sum = Command::new("sha256sum").arg(new.path()).output();
        let sum = sum.expect("the tests need sha256sum").stdout;
        let oid: String = String::from_utf8_lossy(&sum).chars().take(64).collect();
        new.persist(kept.join(&oid)).expect("a file");
        pointer(&oid, content.len())
    }

    /// Puts a link into a repository.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn link(&self, repository: &str, path: &str, to: &str) {
        let path = self.repository(repository).join(path);
        std::os::unix::fs::symlink(to, path).expect("a link");
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.pause();
    }
}

/// What Git LFS puts in the place of a file.
#[must_use]
pub fn pointer(oid: &str, size: usize) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n")
}
