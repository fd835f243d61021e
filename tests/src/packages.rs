//! Packages of Python, Node.js and Ruby, made here, so that a test needs no registry.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// What makes archives, the same each time: the standard library of Python, which the tests need anyway.
const SCRIPT: &str = "
import base64, gzip, io, json, sys, tarfile, zipfile
kind, files = json.load(sys.stdin)
files = {name: text.encode() for name, text in files.items()}
def wheel(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()
def tar(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o644, len(content)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()
def packed(content):
    return gzip.compress(content, mtime=0)
def gem(files):
    metadata = files.pop('metadata')
    return tar({'metadata.gz': packed(metadata), 'data.tar.gz': packed(tar(files))})
kinds = {'wheel': wheel, 'tar': lambda files: packed(tar(files)), 'gem': gem}
print(base64.b64encode(kinds[kind](files)).decode(), end='')
";

/// A wheel (PEP 427) with one module of the package's name, in base64. Its file is named
/// `NAME-VERSION-py3-none-any.whl`.
///
/// # Panics
///
/// When there is no Python.
#[must_use]
pub fn wheel(name: &str, version: &str, module: &str) -> String {
    let info = format!("{name}-{version}.dist-info");
    let files = serde_json::json!({
        format!("{name}.py"): module,
        format!("{info}/METADATA"): format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
        format!("{info}/WHEEL"): "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        format!("{info}/RECORD"): format!("{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"),
    });
    archive("wheel", &files)
}

/// A package of Node.js as `npm pack` makes it, in base64: a CommonJS module.
///
/// # Panics
///
/// When there is no Python.
#[must_use]
pub fn node_package(name: &str, version: &str, module: &str) -> String {
    let files = serde_json::json!({
        "package/package.json": serde_json::json!({"name": name, "version": version, "main": "index.js"}).to_string(),
        "package/index.js": module,
    });
    archive("tar", &files)
}

/// A gem with one module, `lib/NAME.rb`, in base64. Its file is named `NAME-VERSION.gem`.
///
/// # Panics
///
/// When there is no Python.
#[must_use]
pub fn gem(name: &str, version: &str, module: &str) -> String {
    let any = "!ruby/object:Gem::Requirement\n  requirements:\n  - - \">=\"\n    - !ruby/object:Gem::Version\n      version: '0'";
    let metadata = format!(
        "--- !ruby/object:Gem::Specification\nname: {name}\nversion: !ruby/object:Gem::Version\n  version: {version}\n\
        platform: ruby\nauthors: [test]\nsummary: for a test\ndependencies: []\nfiles: [lib/{name}.rb]\nrequire_paths: [lib]\n\
        required_ruby_version: {any}\nrequired_rubygems_version: {any}\nrubygems_version: 3.3.15\nspecification_version: 4\n"
    );
    let files = serde_json::json!({"metadata": metadata, format!("lib/{name}.rb"): module});
    archive("gem", &files)
}

fn archive(kind: &str, files: &serde_json::Value) -> String {
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tests need python3");
    let input = serde_json::json!([kind, files]).to_string();
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("python3 reads");
    drop(stdin);
    let output = python.wait_with_output().expect("python3 ends");
    assert!(output.status.success(), "python3: {}", output.status);
    String::from_utf8(output.stdout).expect("base64")
}
