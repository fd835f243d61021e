//! Builds of Python's packages, with pip and a folder of wheels in place of an index.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    build::{Job, closed, registry, tool},
    function::Setup,
};

/// Writes a wheel: its folder, name, version, and what it requires.
const WHEEL: &str = "
import sys, zipfile, hashlib
folder, name, version, *requires = sys.argv[1:]
path = f'{folder}/{name}-{version}-py3-none-any.whl'
with zipfile.ZipFile(path, 'w') as wheel:
    info = f'{name}-{version}.dist-info'
    wheel.writestr(f'{name}/__init__.py', f'version = {version!r}\\n')
    needs = ''.join(f'Requires-Dist: {one}\\n' for one in requires)
    wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{needs}')
    wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(f'{info}/RECORD', f'{name}/__init__.py,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n')
with open(f'{path}.sha256', 'w') as file:
    file.write(hashlib.sha256(open(path, 'rb').read()).hexdigest())
";

fn wheel(folder: &Path, name: &str, version: &str, requires: &[&str]) -> String {
    let path = folder.to_str().unwrap();
    let mut arguments = vec!["-c", WHEEL, path, name, version];
    arguments.extend(requires);
    tool("python3", &arguments, folder);
    fs::read_to_string(folder.join(format!("{name}-{version}-py3-none-any.whl.sha256"))).unwrap()
}

/// Wheels of two packages, of which one requires the other; the hash of each.
fn wheels() -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let sample = wheel(folder.path(), "sample", "1.0", &["other>=2"]);
    let other = wheel(folder.path(), "other", "2.1", &[]);
    (folder, sample, other)
}

fn python(file: &str, text: &str) -> Job {
    Job::new(&["python"]).file(file, text)
}

/// Has pip look into a folder and nowhere else.
fn from(job: Job, folder: &Path) -> Job {
    job.variable("PIP_NO_INDEX", "1")
        .variable("PIP_FIND_LINKS", folder.to_str().unwrap())
}

#[test]
fn requirements_are_installed_with_what_they_require_and_compiled() {
    let (folder, ..) = wheels();
    let list = format!(
        "--no-index\n--find-links {}\n# what is needed\nsample>=1\n",
        folder.path().display()
    );
    let job = python("requirements.txt", &list).file("requirements-dev.txt", "nothing-of-this");
    let outcome = job.succeed();
    let begin = "fermata: installing 1 package of requirements.txt with pip ";
    assert!(outcome.stderr.starts_with(begin), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("Successfully installed"),
        "{}",
        outcome.stderr
    );
    let last = outcome.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("fermata: built in ") && last.ends_with("iB"),
        "{last}"
    );
    let names = job.names("");
    assert!(
        names.contains(&"sample".to_owned()) && names.contains(&"other".to_owned()),
        "{names:?}"
    );
    assert!(job.target().join("sample/__pycache__").is_dir());
}

/// All files below a folder, and what they hold.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut due, mut found) = (vec![folder.to_owned()], BTreeMap::new());
    while let Some(here) = due.pop() {
        for entry in fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                due.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_same_packages_are_the_same_bytes_wherever_they_are_installed() {
    let (folder, ..) = wheels();
    let built = || {
        let job = from(python("requirements.txt", "sample\n"), folder.path())
            .variable("SOURCE_DATE_EPOCH", "1");
        job.succeed();
        contents(&job.target())
    };
    let (one, other) = (built(), built());
    let is_byte_code = |path: &PathBuf| path.extension().is_some_and(|end| end == "pyc");
    assert!(one.keys().any(is_byte_code), "{:?}", one.keys());
    for (path, content) in &one {
        assert_eq!(other.get(path), Some(content), "{}", path.display());
    }
    assert_eq!(one.len(), other.len());
}

#[test]
fn a_wheel_beside_the_list_is_found_and_one_alone_is_enough() {
    let job = python("requirements.txt", "./vendor/other-2.1-py3-none-any.whl\n")
        .variable("PIP_NO_INDEX", "1");
    fs::create_dir(job.source().join("vendor")).unwrap();
    wheel(&job.source().join("vendor"), "other", "2.1", &[]);
    job.succeed();
    assert!(job.target().join("other/__init__.py").is_file());
    fs::remove_file(job.source().join("requirements.txt")).unwrap();
    let outcome = job.succeed();
    assert!(
        outcome.stderr.contains("installing 1 wheel with pip"),
        "{}",
        outcome.stderr
    );
    assert!(job.target().join("other/__init__.py").is_file());
}

#[test]
fn what_is_not_to_be_had_is_the_last_line() {
    let (folder, ..) = wheels();
    let job = from(python("requirements.txt", "foo==9\n"), folder.path());
    assert_eq!(
        job.fail(),
        (
            1,
            "ERROR: No matching distribution found for foo==9".to_owned()
        )
    );
}

#[test]
fn a_wrong_hash_is_refused() {
    let (folder, ..) = wheels();
    let hash = "0".repeat(64);
    let list = format!("other==2.1 --hash=sha256:{hash}\n");
    let (code, last) = from(python("requirements.txt", &list), folder.path()).fail();
    assert_eq!(code, 1);
    assert!(
        last.starts_with("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"),
        "{last}"
    );
}

#[test]
fn a_registry_out_of_reach_is_worth_another_try() {
    let down = closed();
    let failing = registry("503 Service Unavailable");
    for (index, why) in [
        (down, "it refuses connections"),
        (failing, "a failure of its own"),
    ] {
        let job = python("requirements.txt", "foo==9\n")
            .variable("PIP_INDEX_URL", &index)
            .variable("PIP_NO_CACHE_DIR", "1");
        let (code, last) = job.fail();
        assert_eq!(code, 75, "{last}");
        assert!(
            last.contains("a registry cannot be reached") && last.contains(why),
            "{last}"
        );
    }
    // One that does not have it is another matter.
    let index = registry("404 Not Found");
    let job = python("requirements.txt", "foo==9\n").variable("PIP_INDEX_URL", &index);
    assert_eq!(
        job.fail(),
        (
            1,
            "ERROR: No matching distribution found for foo==9".to_owned()
        )
    );
}

#[test]
fn dependencies_of_a_project_are_installed_and_the_project_is_not() {
    let (folder, ..) = wheels();
    let project = "[project]\nname = 'shop'\nversion = '1'\ndependencies = ['sample']\n";
    let job = from(python("pyproject.toml", project), folder.path());
    let outcome = job.succeed();
    assert!(
        outcome.stderr.contains("1 package of pyproject.toml"),
        "{}",
        outcome.stderr
    );
    assert!(job.target().join("other").is_dir());
    assert!(!job.names("").iter().any(|name| name.starts_with("shop")));
    let tools = python("pyproject.toml", "[tool.ruff]\nline-length = 100\n");
    let outcome = tools.succeed();
    assert!(
        outcome
            .stderr
            .starts_with("fermata: nothing to install: pyproject.toml"),
        "{}",
        outcome.stderr
    );
    let dynamic = python(
        "pyproject.toml",
        "[project]\nname = 'x'\ndynamic = ['dependencies']\n",
    );
    let (code, last) = dynamic.fail();
    assert_eq!(code, 1);
    assert!(
        last.contains("dynamic") && last.contains("requirements.txt"),
        "{last}"
    );
}

/// As uv writes it, of a project that wants one package, and another one in a marker's case.
fn uv_lock(sample: &str, other: &str) -> String {
    format!(
        r#"version = 1
requires-python = ">=3.9"

[[package]]
name = "shop"
version = "0.1.0"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "never", marker = "sys_platform == 'win32'" }},
    {{ name = "sample" }},
]
[package.dev-dependencies]
dev = [{{ name = "never" }}]

[[package]]
name = "never"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}

[[package]]
name = "sample"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}
dependencies = [{{ name = "other" }}]
wheels = [{{ url = "https://files.example/sample-1.0-py3-none-any.whl", hash = "sha256:{sample}", size = 1 }}]

[[package]]
name = "other"
version = "2.1"
source = {{ registry = "https://pypi.org/simple" }}
sdist = {{ url = "https://files.example/other-2.1.tar.gz", hash = "sha256:{other}", size = 1 }}
"#
    )
}

#[test]
fn a_lock_of_uv_is_installed_as_it_is_with_its_hashes() {
    let (folder, sample, other) = wheels();
    wheel(folder.path(), "other", "3.0", &[]);
    let job = from(python("uv.lock", &uv_lock(&sample, &other)), folder.path());
    let outcome = job.succeed();
    assert!(
        outcome.stderr.contains("2 packages of uv.lock"),
        "{}",
        outcome.stderr
    );
    assert!(job.names("").contains(&"other-2.1.dist-info".to_owned()));
    let wrong = "0".repeat(64);
    let (code, last) = from(python("uv.lock", &uv_lock(&sample, &wrong)), folder.path()).fail();
    assert_eq!(code, 1);
    assert!(
        last.starts_with("ERROR: THESE PACKAGES DO NOT MATCH"),
        "{last}"
    );
    let git = uv_lock(&sample, &other).replace(
        "source = { registry = \"https://pypi.org/simple\" }\nsdist",
        "source = { git = \"https://git.example/other\" }\nsdist",
    );
    let (code, last) = python("uv.lock", &git).fail();
    assert_eq!(code, 1);
    assert!(
        last.contains("uv.lock: other is no package of an index"),
        "{last}"
    );
}

#[test]
fn a_standard_lock_is_installed_as_it_is_with_its_hashes() {
    let (folder, sample, other) = wheels();
    let lock = format!(
        r#"lock-version = "1.0"
created-by = "test"
[[packages]]
name = "sample"
version = "1.0"
[[packages.wheels]]
url = "https://files.example/sample-1.0-py3-none-any.whl"
hashes = {{ sha256 = "{sample}" }}
[[packages]]
name = "other"
version = "2.1"
marker = "python_version >= '3.8'"
sdist = {{ url = "https://files.example/other-2.1.tar.gz", hashes = {{ sha256 = "{other}" }} }}
[[packages]]
name = "never"
version = "1.0"
marker = "sys_platform == 'win32'"
"#
    );
    let job = from(python("pylock.toml", &lock), folder.path());
    let outcome = job.succeed();
    assert!(
        outcome.stderr.contains("2 packages of pylock.toml"),
        "{}",
        outcome.stderr
    );
    assert!(job.names("").contains(&"other".to_owned()));
    let (code, last) = python("pylock.toml", "[[packages").fail();
    assert_eq!(code, 1);
    assert!(last.contains("pylock.toml is no TOML"), "{last}");
}

#[test]
fn what_a_package_runs_ends_with_the_time_of_the_build() {
    let (folder, ..) = wheels();
    // pip runs the backend of a package that has no wheel.
    let backend = "import os, subprocess, time\n\
        def get_requires_for_build_wheel(settings=None):\n\
        \x20   child = subprocess.Popen(['sleep', '300'], start_new_session=True)\n\
        \x20   open(os.environ['MARK'], 'w').write(str(child.pid))\n\
        \x20   time.sleep(300)\n";
    let project =
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n";
    let mark = folder.path().join("mark");
    let job = from(python("requirements.txt", "./slow\n"), folder.path())
        .file("slow/pyproject.toml", project)
        .file("slow/backend.py", backend)
        .variable("MARK", mark.to_str().unwrap())
        .variable("FERMATA_BUILD_TIMEOUT", "8");
    let (code, last) = job.fail();
    assert_eq!(code, 1);
    assert!(last.contains("took longer than 8 s"), "{last}");
    let pid = fs::read_to_string(mark).expect("the backend has run");
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[tokio::test]
async fn a_handler_imports_what_was_installed_and_its_own_folders() {
    let (folder, ..) = wheels();
    let job = from(python("requirements.txt", "sample\n"), folder.path());
    job.succeed();
    let source = "
import json, subprocess, sys
import sample
from lib import util
def handle(request):
    child = subprocess.run([sys.executable, '-c', 'import other; print(other.version)'], capture_output=True, text=True)
    return [sample.version, util.name, child.stdout.strip(), sys.path[1]]
";
    let root = job.target().parent().unwrap().to_owned();
    let start = |variables: &[(&str, &str)]| {
        let mut setup = Setup::new("python").file("main.py", source);
        for (name, value) in variables {
            setup = setup.variable(name, value);
        }
        setup
            .variable("FERMATA_SITE_PACKAGES", "warn")
            .start_in(|dir| {
                fs::create_dir(dir.join("lib")).unwrap();
                fs::write(dir.join("lib/util.py"), "name = 'util'").unwrap();
            })
    };
    let target = job.target();
    let target = target.to_str().unwrap();
    for variables in [
        vec![("FERMATA_DEPENDENCIES", target)],
        vec![
            ("FERMATA_DEPENDENCIES", "/target"),
            ("FERMATA_ROOT", root.to_str().unwrap()),
        ],
    ] {
        let function = start(&variables);
        let answer = function.get("/").await.json();
        assert_eq!(answer, serde_json::json!(["1.0", "util", "2.1", target]));
        assert_eq!(function.log(), "");
    }
    // A folder that is not there changes nothing.
    let function = Setup::new("python")
        .file(
            "main.py",
            "import sys\ndef handle(r): return str('/nowhere' in sys.path)",
        )
        .variable("FERMATA_DEPENDENCIES", "/nowhere")
        .start();
    assert_eq!(function.get("/").await.text(), "False");
}
