//! A certificate authority of our own, and the certificates of the server and of its one client.
//!
//! The authority is kept, so that a kubeconfig goes on working over restarts. The certificates
//! are issued anew at each start.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use crate::auth::{GROUP, USER, token::Signer};

/// Names and addresses under which the server is reached.
const NAMES: &[&str] = &[
    "127.0.0.1",
    "::1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

const CA_NAME: &str = "fermata-ca";
const CA_YEARS: i16 = 30;
const LEAF_YEARS: i16 = 10;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file of the authority cannot be read or written.
    #[error("cannot use {}; check that the directory is writable by you", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The kept authority is damaged.
    #[error("{} holds no usable key and certificate; delete ca.crt and ca.key there to have new ones made, then fetch the kubeconfig again", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// The kept key of tokens is damaged.
    #[error("{} is no usable key; delete it to have a new one made, which ends all tokens of ServiceAccounts", path.display())]
    TokenKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Issue(#[source] rcgen::Error),
    /// TLS does not take the certificates.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The authority is not taken as one that vouches for clients.
    #[error("cannot check client certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// A certificate or key that was just made cannot be read back.
    #[error("cannot read a certificate")]
    Pem(#[source] rustls::pki_types::pem::Error),
}

/// The authority's certificate, and what it issued.
pub(crate) struct Pki {
    pub(crate) ca_pem: String,
    server_pem: String,
    server_key_pem: String,
    pub(crate) client_pem: String,
    pub(crate) client_key_pem: String,
}

// === impl Pki ===

impl Pki {
    /// With the authority kept in `dir`, which is made if it is absent; or with one that is
    /// forgotten.
    pub(crate) fn new(dir: Option<&Path>) -> Result<Self, PkiError> {
        let (ca_pem, key) = match dir {
            Some(dir) => kept(dir)?,
            None => made()?,
        };
        let params = ca_params();
        let issuer = Issuer::from_params(&params, &key);
        let (server_pem, server_key_pem) = {
            let names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
            let params = CertificateParams::new(names).map_err(PkiError::Issue)?;
            issue(
                params,
                "kube-apiserver",
                ExtendedKeyUsagePurpose::ServerAuth,
                &issuer,
            )?
        };
        let (client_pem, client_key_pem) = {
            let mut params = CertificateParams::default();
            params
                .distinguished_name
                .push(DnType::OrganizationName, GROUP);
            issue(params, USER, ExtendedKeyUsagePurpose::ClientAuth, &issuer)?
        };
        Ok(Self {
            ca_pem,
            server_pem,
            server_key_pem,
            client_pem,
            client_key_pem,
        })
    }

    /// TLS that knows clients by their certificate, and lets strangers as far as the answer that
    /// they are.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, PkiError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let ca = CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).map_err(PkiError::Pem)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(PkiError::Tls)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(PkiError::Verifier)?;
        let chain = vec![
            CertificateDer::from_pem_slice(self.server_pem.as_bytes()).map_err(PkiError::Pem)?,
        ];
        let key =
            PrivateKeyDer::from_pem_slice(self.server_key_pem.as_bytes()).map_err(PkiError::Pem)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(PkiError::Tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(PkiError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, CA_YEARS);
    params
}

/// From yesterday, for clocks that are off, for some years.
fn valid(params: &mut CertificateParams, years: i16) {
    let yesterday = Timestamp::now()
        .to_zoned(TimeZone::UTC)
        .saturating_sub(1.day())
        .date();
    let (year, month, day) = (yesterday.year(), yesterday.month(), yesterday.day().min(28));
    let day_of = |year: i16| {
        date_time_ymd(
            i32::from(year),
            u8::try_from(month).unwrap_or(1),
            u8::try_from(day).unwrap_or(1),
        )
    };
    params.not_before = day_of(year);
    params.not_after = day_of(year.saturating_add(years));
}

fn made() -> Result<(String, KeyPair), PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Issue)?;
    let certificate = ca_params().self_signed(&key).map_err(PkiError::Issue)?;
    Ok((certificate.pem(), key))
}

/// What signs tokens: with the key kept in `dir`, so that they outlast a restart, or with one that is forgotten.
pub(crate) fn signer(dir: Option<&Path>) -> Result<Signer, PkiError> {
    let path = dir.map(|dir| dir.join("sa.key"));
    let refuse = |source| PkiError::Io {
        path: path.clone().unwrap_or_default(),
        source,
    };
    let damaged = || PkiError::TokenKey {
        path: path.clone().unwrap_or_default(),
    };
    let kept = match path.as_ref().map(fs::read_to_string) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(refuse(error)),
        Some(Ok(text)) => Some(text),
        _ => None,
    };
    let key = match &kept {
        Some(text) => KeyPair::from_pem(text).map_err(|_| damaged())?,
        None => KeyPair::generate().map_err(PkiError::Issue)?,
    };
    if let Some(path) = &path {
        match kept {
            Some(_) => fs::set_permissions(path, fs::Permissions::from_mode(0o600)),
            None => write(path, &key.serialize_pem()),
        }
        .map_err(refuse)?;
    }
    Signer::new(&key.serialize_der()).map_err(|_| damaged())
}

fn kept(dir: &Path) -> Result<(String, KeyPair), PkiError> {
    let refuse = |path: &Path| {
        let path = path.to_owned();
        move |source| PkiError::Io { path, source }
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
        .map_err(refuse(dir))?;
    let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refuse(path)(error)),
    };
    if let (Some(certificate), Some(key)) = (read(&certificate_path)?, read(&key_path)?) {
        let damaged = |source| PkiError::Damaged {
            path: dir.to_owned(),
            source,
        };
        let key = KeyPair::from_pem(&key).map_err(damaged)?;
        if CertificateDer::from_pem_slice(certificate.as_bytes()).is_err() {
            return Err(damaged(rcgen::Error::CouldNotParseCertificate));
        }
        fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600))
            .map_err(refuse(&key_path))?;
        return Ok((certificate, key));
    }
    let (certificate, key) = made()?;
    // The key first: a certificate without its key would be taken for damage at the next start.
    write(&key_path, &key.serialize_pem()).map_err(refuse(&key_path))?;
    write(&certificate_path, &certificate).map_err(refuse(&certificate_path))?;
    Ok((certificate, key))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn issue(
    mut params: CertificateParams,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'_, &KeyPair>,
) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Issue)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, LEAF_YEARS);
    let certificate = params.signed_by(&key, issuer).map_err(PkiError::Issue)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
