//! What a repository asks for before it gives anything. It stays in files that git and ssh read, and is never an
//! argument or a variable.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{address::Address, error::Error};

/// The user of a token, where nobody says another. Most forges take any.
const DEFAULT_USER: &str = "x-access-token";

/// Where git and ssh find what they need.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// A file of git-credential-store(1), which names the host it is for: git asks it for no other.
    pub(super) store: Option<PathBuf>,
    /// The private key and the hosts that are known.
    pub(super) ssh: Option<(PathBuf, PathBuf)>,
    /// Authorities to trust.
    pub(super) authorities: Option<PathBuf>,
}

// === impl Credentials ===

impl Credentials {
    /// Takes what the keys of the Secret hold for this address.
    pub(super) fn read(secret: &Path, address: &Address, scratch: &Path) -> Result<Self, Error> {
        let mut credentials = Self::default();
        if let Some(authorities) = value(secret, "ca.crt")? {
            credentials.authorities = Some(put(scratch, "ca.crt", &authorities)?);
        }
        match address {
            Address::Http { scheme, host } => {
                let password = match value(secret, "password")? {
                    Some(password) => Some(password),
                    None => value(secret, "token")?,
                };
                if let Some(password) = password {
                    let user = value(secret, "username")?;
                    let user = user.as_deref().unwrap_or(DEFAULT_USER);
                    let (user, password) = (encoded(user), encoded(&password));
                    let line = format!("{scheme}://{user}:{password}@{host}\n");
                    credentials.store = Some(put(scratch, "store", &line)?);
                } else if secret.is_dir() && credentials.authorities.is_none() {
                    return Err(Error::Refused(
                        "the Secret of source.git.secretName has none of password, token and ca.crt"
                            .to_owned(),
                    ));
                }
            }
            Address::Ssh => {
                let key = value(secret, "ssh-privatekey")?;
                let hosts = value(secret, "known_hosts")?;
                let Some((key, hosts)) = key.zip(hosts) else {
                    return Err(Error::Refused(
                        "a repository by SSH needs a Secret in source.git.secretName with ssh-privatekey and known_hosts, as `ssh-keyscan HOST` prints them"
                            .to_owned(),
                    ));
                };
                credentials.ssh = Some((
                    put(scratch, "key", &format!("{key}\n"))?,
                    put(scratch, "known_hosts", &format!("{hosts}\n"))?,
                ));
            }
        }
        Ok(credentials)
    }
}

/// What a key of the Secret holds, without the end of the line that editors leave.
fn value(secret: &Path, key: &str) -> Result<Option<String>, Error> {
    let path = secret.join(key);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

/// Writes a file that nobody else can read.
fn put(scratch: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = scratch.join(name);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
    Ok(path)
}

/// With everything but letters and digits as `%XX`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            // Writing to a text does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
