//! Packages of Python and Node.js, made here, so that a test needs no registry.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// What makes archives, the same each time: the standard library of Python, which the tests need anyway.
const SCRIPT: &str = "
import base64, gzip, io, json, sys, tarfile, zipfile
kind, files = json.load(sys.stdin)
data = io.BytesIO()
if kind == 'wheel':
    with zipfile.ZipFile(data, 'w') as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
else:
    packed = gzip.GzipFile(fileobj=data, mode='wb', mtime=0)
    with packed, tarfile.open(fileobj=packed, mode='w') as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
print(base64.b64encode(data.getvalue()).decode(), end='')
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
