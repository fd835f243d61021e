//! A server of SSH on loopback, with keys of its own.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tempfile::TempDir;

/// OpenSSH's server, which wants to be called by its whole path.
const PROGRAM: &str = "/usr/sbin/sshd";

/// The folder in which it gives up its rights when it is root's; its service makes it.
const EMPTY: &str = "/run/sshd";

/// An OpenSSH server for the user of the test, with one key that it takes. It takes connections until it is dropped.
#[derive(Debug)]
pub struct SshServer {
    folder: TempDir,
    address: SocketAddr,
    user: String,
    ended: Arc<AtomicBool>,
}

// === impl SshServer ===

impl SshServer {
    /// Starts one; none where the program is missing.
    ///
    /// # Panics
    ///
    /// When it cannot be set up.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        // Who is not root needs none, and cannot make it.
        let _ = fs::create_dir_all(EMPTY);
        let folder = tempfile::tempdir().expect("a directory");
        let path = |name: &str| folder.path().join(name);
        for name in ["host", "user", "stranger"] {
            keygen(&path(name));
        }
        fs::copy(path("user.pub"), path("authorized_keys")).expect("a file");
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nLogLevel VERBOSE\n",
            path("host").display(),
            path("authorized_keys").display()
        );
        fs::write(path("config"), config).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address");
        let ended = Arc::new(AtomicBool::new(false));
        let (config, log, end) = (path("config"), path("log"), Arc::clone(&ended));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                // A process for each connection, which has it as its standard input and output.
                serve(stream, &config, &log);
            }
        });
        let user = Command::new("id").arg("-un").output().expect("id runs");
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        Some(Self {
            folder,
            address,
            user,
            ended,
        })
    }

    /// The address of a folder of this machine.
    #[must_use]
    pub fn url(&self, folder: &str) -> String {
        format!("ssh://{}@{}{folder}", self.user, self.address)
    }

    /// The private key that it takes.
    #[must_use]
    pub fn key(&self) -> String {
        self.read("user")
    }

    /// A private key that it does not take.
    #[must_use]
    pub fn other_key(&self) -> String {
        self.read("stranger")
    }

    /// What `known_hosts` says of it.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        self.known_as("host.pub")
    }

    /// What `known_hosts` would say of it if it had another key.
    #[must_use]
    pub fn known_as_another(&self) -> String {
        self.known_as("stranger.pub")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn known_as(&self, key: &str) -> String {
        let (host, port) = (self.address.ip(), self.address.port());
        format!("[{host}]:{port} {}", self.read(key))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("a file")
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // So that it sees it.
        let _ = TcpStream::connect(self.address);
    }
}

/// Makes a pair of keys.
fn keygen(path: &PathBuf) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen comes with OpenSSH");
    assert!(made.success(), "{made}");
}

fn serve(stream: TcpStream, config: &Path, log: &Path) {
    let Ok(other) = stream.try_clone() else {
        return;
    };
    let log = File::options().create(true).append(true).open(log);
    let server = Command::new(PROGRAM)
        .args(["-i", "-e", "-f"])
        .arg(config)
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::from(OwnedFd::from(other)))
        .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn();
    if let Ok(mut server) = server {
        thread::spawn(move || server.wait());
    }
}
