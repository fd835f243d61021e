//! Functions with dependencies, and how soon a change of their code answers. Their packages come from the registries,
//! or what caches of this machine have of those.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use fermata_tests::{Space, Up, eventually_within};
use serde_json::{Value, json};

use crate::{cold::first_call, milliseconds, percentile, row};

/// How long anything may take: registries are others'.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often it is looked whether something has come.
const TICK: Duration = Duration::from_millis(5);

/// What is installed.
const REQUIREMENTS: &str = "requests==2.32.3\npydantic==2.11.7\nJinja2==3.1.6\n";

const WITH_PACKAGES: &str =
    "import requests, pydantic, jinja2\ndef handle(request):\n    return 'ok'\n";

const PLAIN: &str = "def handle(request):\n    return 'ok'\n";

pub(crate) async fn measure(dir: &Path, up: &Up, space: &Space, rounds: usize) {
    installation(space, rounds.min(5)).await;
    cold_starts(space, rounds).await;
    for (runtime, file, code) in [
        (
            "python",
            "main.py",
            "def handle(request):\n    return 'N'\n",
        ),
        ("node", "main.mjs", "export const handle = () => 'N'\n"),
    ] {
        saved(&dir.join(runtime), runtime, file, code, rounds).await;
    }
    pushed(&dir.join("pushed"), up, rounds);
}

fn source(files: &Value) -> Value {
    json!({"source": {"runtime": "python", "files": files}})
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let [half, most] = [50, 100].map(|percent| percentile(&times, percent));
    let result = format!("p50 {}, max {}", milliseconds(half), milliseconds(most));
    row(&format!("{what}, {} rounds", times.len()), &result);
}

/// Beside pip alone, from its own cache, and by a second function for which it is kept.
async fn installation(space: &Space, rounds: usize) {
    let (mut alone, mut built, mut second) = (Vec::new(), Vec::new(), Vec::new());
    // One more than is counted: the first fills the caches.
    for round in 0..=rounds {
        let started = Instant::now();
        pip();
        let pip = started.elapsed();
        // Each round has an installation of its own.
        let list = format!("# {} {round}\n{REQUIREMENTS}", space.name);
        let spec = source(&json!({"main.py": WITH_PACKAGES, "requirements.txt": list}));
        let first = until_answer(space, &format!("first-{round}"), spec.clone()).await;
        let other = until_answer(space, &format!("second-{round}"), spec).await;
        if round > 0 {
            alone.push(pip);
            built.push(first);
            second.push(other);
        }
    }
    told("pip alone, three packages, warm cache", alone);
    told("a function with these, from apply to answer", built);
    told("another with the same, from apply to answer", second);
}

fn pip() {
    let dir = tempfile::tempdir().expect("a directory");
    let list = dir.path().join("requirements.txt");
    fs::write(&list, REQUIREMENTS).expect("a file");
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--target"])
        .arg(dir.path().join("target"))
        .arg("--requirement")
        .arg(&list)
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("python3 runs").success(), "pip has failed");
}

async fn until_answer(space: &Space, name: &str, spec: Value) -> Duration {
    let started = Instant::now();
    space.function(name, spec).await;
    eventually_within(PATIENCE, &format!("{name} answers"), async || {
        let answer = space.call(name, "").await;
        if answer.status.is_success() {
            return Ok(());
        }
        tokio::time::sleep(TICK).await;
        Err(answer.text())
    })
    .await;
    started.elapsed()
}

/// With what is kept, and without any.
async fn cold_starts(space: &Space, rounds: usize) {
    let kept = json!({"main.py": PLAIN, "requirements.txt": REQUIREMENTS});
    let used = json!({"main.py": WITH_PACKAGES, "requirements.txt": REQUIREMENTS});
    let none = json!({"main.py": PLAIN});
    for (name, title, files) in [
        ("none", "without dependencies", none),
        ("kept", "with kept dependencies, none imported", kept),
        ("used", "with kept dependencies, all imported", used),
    ] {
        let mut times = Vec::new();
        for round in 0..=rounds {
            times.push(first_call(space, &format!("{name}-{round}"), source(&files)).await);
        }
        times.remove(0);
        told(&format!("cold start, python, {title}"), times);
    }
}

/// From the change of a file until the function answers with it.
async fn saved(dir: &Path, runtime: &str, file: &str, code: &str, rounds: usize) {
    let folder = dir.join("hello");
    fs::create_dir_all(&folder).expect("a directory");
    let manifest = format!(
        "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {{name: hello}}\nspec: {{source: {{runtime: {runtime}}}}}\n"
    );
    fs::write(folder.join("function.yaml"), manifest).expect("a file");
    let write = |round: usize| {
        let code = code.replace('N', &format!("round {round}"));
        fs::write(folder.join(file), code).expect("a file");
    };
    write(0);
    let up = Up::start(dir, ["--ephemeral", "-f", "hello"]);
    let gateway = up.platform().gateway();
    let mut times = Vec::new();
    for round in 0..=rounds {
        let started = Instant::now();
        write(round);
        let wanted = format!("round {round}");
        eventually_within(PATIENCE, &wanted, async || {
            let text = gateway.get("/function/hello").await.text();
            if text == wanted {
                return Ok(());
            }
            tokio::time::sleep(TICK).await;
            Err(text)
        })
        .await;
        times.push(started.elapsed());
    }
    times.remove(0);
    told(
        &format!("a file is saved until it answers, {runtime}"),
        times,
    );
}

/// A push whose function is the one that runs.
fn pushed(dir: &Path, up: &Up, rounds: usize) {
    fs::create_dir_all(dir).expect("a directory");
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(dir)
            .output()
            .expect("git runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "git {arguments:?}: {said}");
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    fs::write(dir.join("main.py"), PLAIN).expect("a file");
    git(&["add", "--all"]);
    let url = format!("http://{}/git/pushed.git", up.platform().gateway);
    let mut times = Vec::new();
    for _ in 0..=rounds {
        git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
        let started = Instant::now();
        git(&["push", "--quiet", &url, "HEAD:main"]);
        times.push(started.elapsed());
    }
    times.remove(0);
    told("a push of an unchanged function", times);
}
