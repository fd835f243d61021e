//! The cluster's certificate authority and the certificates of its parts.

use std::{fs, os::unix::fs::OpenOptionsExt as _};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::layout::{API_SERVICE, Layout, NODE_ADDRESS, NODE_NAME};

/// The group whose members may do everything. The cluster is for tests.
const MASTERS: &str = "system:masters";

/// Who a certificate is for.
struct Subject {
    file: &'static str,
    name: String,
    group: Option<&'static str>,
    /// Names and addresses, for those that serve.
    names: Vec<String>,
}

/// Makes all certificates and keys, unless they are there.
pub(super) fn make(layout: &Layout) -> anyhow::Result<()> {
    if layout.pki("complete").exists() {
        return Ok(());
    }
    let key = KeyPair::generate().context("no key")?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name
        .push(DnType::CommonName, "fermata test cluster");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let certificate = ca.self_signed(&key).context("no certificate authority")?;
    write(layout, "ca.crt", &certificate.pem())?;
    let issuer = Issuer::new(ca, key);
    for subject in subjects() {
        let (certificate, key) = sign(&subject, &issuer)
            .with_context(|| format!("no certificate for {}", subject.file))?;
        write(layout, &format!("{}.crt", subject.file), &certificate)?;
        write(layout, &format!("{}.key", subject.file), &key)?;
    }
    // Tokens of ServiceAccounts are signed with it.
    let tokens = KeyPair::generate().context("no key")?;
    write(layout, "service-account.key", &tokens.serialize_pem())?;
    write(layout, "service-account.pub", &tokens.public_key_pem())?;
    write(layout, "complete", "")
}

fn subjects() -> Vec<Subject> {
    let client = |file, name: &str, group| Subject {
        file,
        name: name.into(),
        group,
        names: Vec::new(),
    };
    let serving = |file, name: String, group, names: &[&str]| Subject {
        file,
        name,
        group,
        names: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let api_names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        API_SERVICE,
        NODE_ADDRESS,
    ];
    vec![
        client("admin", "admin", Some(MASTERS)),
        client("coredns", "coredns", Some(MASTERS)),
        client("kube-apiserver-client", "kube-apiserver", Some(MASTERS)),
        client(
            "kube-controller-manager",
            "system:kube-controller-manager",
            None,
        ),
        client("kube-scheduler", "system:kube-scheduler", None),
        client("kube-proxy", "system:kube-proxy", None),
        serving("kube-apiserver", "kube-apiserver".into(), None, &api_names),
        serving(
            "kubelet",
            format!("system:node:{NODE_NAME}"),
            Some("system:nodes"),
            &[NODE_NAME, NODE_ADDRESS],
        ),
    ]
}

fn sign(subject: &Subject, issuer: &Issuer<'_, KeyPair>) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(subject.names.clone())?;
    params
        .distinguished_name
        .push(DnType::CommonName, subject.name.as_str());
    if let Some(group) = subject.group {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(layout: &Layout, name: &str, content: &str) -> anyhow::Result<()> {
    let path = layout.pki(name);
    let mut options = fs::File::options();
    let file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, content.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
