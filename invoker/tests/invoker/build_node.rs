//! Builds of packages of Node.js, with npm and a packed package in place of a registry.

use std::fs;

use crate::{
    build::{Job, closed, registry, tool},
    function::Setup,
};

/// Packs a package as `npm pack` does, without npm.
const PACK: &str = "
import io, json, sys, tarfile
name = sys.argv[1]
with tarfile.open(f'{name}-1.0.0.tgz', 'w:gz') as archive:
    for file, text in {
        'package.json': json.dumps({'name': name, 'version': '1.0.0', 'main': 'index.js', 'bin': 'index.js'}),
        'index.js': 'exports.version = \"1.0.0\";',
    }.items():
        entry = tarfile.TarInfo(f'package/{file}')
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
";

const PACKAGE: &str = r#"{"dependencies": {"sample": "file:./sample-1.0.0.tgz"}, "devDependencies": {"never": "file:./never-1.0.0.tgz"}}"#;

fn node(package: &str) -> Job {
    Job::new(&["node"])
        .file("package.json", package)
        .variable("npm_config_registry", &closed())
}

fn with_archives(job: Job) -> Job {
    for name in ["sample", "never"] {
        tool("python3", &["-c", PACK, name], &job.source());
    }
    job
}

#[test]
fn a_package_is_installed_by_npm_without_those_for_development() {
    let job = with_archives(node(PACKAGE));
    let outcome = job.succeed();
    let words = "installing 1 package of package.json with npm install";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    let names = job.names("");
    assert!(
        names.contains(&"sample".to_owned()) && !names.contains(&"never".to_owned()),
        "{names:?}"
    );
    assert!(job.names(".bin").contains(&"sample".to_owned()));
}

#[test]
fn a_lock_is_installed_as_it_is() {
    let package = r#"{"dependencies": {"sample": "file:./sample-1.0.0.tgz"}}"#;
    let job = with_archives(node(package));
    tool(
        "npm",
        &["install", "--package-lock-only", "--no-audit"],
        &job.source(),
    );
    let outcome = job.succeed();
    let words = "installing 1 package of package-lock.json with npm ci";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    assert!(job.target().join("sample/index.js").is_file());
    let job = job.file(
        "package.json",
        r#"{"dependencies": {"never": "file:./never-1.0.0.tgz"}}"#,
    );
    let (code, last) = job.fail();
    assert_eq!(code, 1);
    assert!(
        last.starts_with("npm error EUSAGE: `npm ci` can only install"),
        "{last}"
    );
}

#[test]
fn without_dependencies_npm_is_not_even_started() {
    let job = node(r#"{"type": "module"}"#).variable("PATH", "/nowhere");
    let outcome = job.succeed();
    assert_eq!(
        outcome.stderr,
        "fermata: nothing to install: package.json names no dependencies\n"
    );
    assert_eq!(job.names(""), Vec::<String>::new());
    let (code, last) = with_archives(node(PACKAGE))
        .variable("PATH", "/nowhere")
        .fail();
    assert_eq!(code, 1);
    assert!(
        last.contains("cannot run \"npm\"; install Node.js with npm"),
        "{last}"
    );
}

#[test]
fn a_lock_that_npm_does_not_read_is_refused() {
    let (code, last) = node(PACKAGE).file("yarn.lock", "").fail();
    assert_eq!(code, 1);
    assert!(last.contains("yarn.lock is Yarn's and not read"), "{last}");
    let (code, last) = node("{").fail();
    assert_eq!(code, 1);
    assert!(last.contains("package.json is no JSON"), "{last}");
}

#[test]
fn a_package_that_is_only_a_link_is_refused() {
    let job = node(r#"{"dependencies": {"own": "file:./lib"}}"#)
        .file("lib/package.json", r#"{"name": "own", "version": "1.0.0"}"#);
    let (code, last) = job.fail();
    assert_eq!(code, 1);
    assert!(last.contains("leads out of it, own to ../lib"), "{last}");
}

#[test]
fn a_registry_out_of_reach_is_worth_another_try() {
    let package = r#"{"dependencies": {"fermata-no-such-package": "9"}}"#;
    for (index, why) in [
        (closed(), "it refuses connections"),
        (registry("503 Service Unavailable"), "a failure of its own"),
    ] {
        let (code, last) = node(package).variable("npm_config_registry", &index).fail();
        assert_eq!(code, 75, "{last}");
        assert!(
            last.contains("a registry cannot be reached") && last.contains(why),
            "{last}"
        );
    }
    let index = registry("404 Not Found");
    let (code, last) = node(package).variable("npm_config_registry", &index).fail();
    assert_eq!(code, 1);
    assert!(
        last.starts_with("npm error E404: 404 Not Found - GET http://"),
        "{last}"
    );
}

#[tokio::test]
async fn a_handler_imports_what_stands_beside_its_folder_and_its_own_folders() {
    let job = with_archives(node(PACKAGE));
    job.succeed();
    // As on a node: /function beside /node_modules.
    let root = job.target().parent().unwrap().join("root");
    fs::create_dir_all(root.join("function/lib")).unwrap();
    std::os::unix::fs::symlink(job.target(), root.join("node_modules")).unwrap();
    let folder = root.join("function");
    let source = "
import { createRequire } from 'node:module';
import sample from 'sample';
import { name } from './lib/util.mjs';
const require = createRequire(import.meta.url);
export function handle() {
  return [sample.version, require('sample').version, name];
}
";
    fs::write(folder.join("main.mjs"), source).unwrap();
    fs::write(folder.join("lib/util.mjs"), "export const name = 'util';").unwrap();
    let function = Setup::new("node").directory(&folder).start();
    assert_eq!(
        function.get("/").await.json(),
        serde_json::json!(["1.0.0", "1.0.0", "util"])
    );
}
