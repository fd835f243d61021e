//! Builds that take more than they may, or do what they should not: each ends in a sentence, and harms nobody.

use fermata_crds::Runtime;
use fermata_tests::{Platform, Space, eventually};
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

/// A Runtime with a build of its own. Runtimes belong to no namespace: each test has its own.
struct Own {
    space: Space,
    name: String,
}

// === impl Own ===

impl Own {
    /// A script of the shell, with variables.
    async fn script(script: &str, env: &Value) -> Self {
        let command = json!(["fermata-invoker", "build", "--", "sh", "-c", script]);
        Self::new(&command, env).await
    }

    /// A command that has all files of the function.
    async fn new(command: &Value, env: &Value) -> Self {
        let space = Space::new().await;
        let name = format!("own-{}", space.name);
        let image = "ghcr.io/fermata-dev/runtime-python:0.1.0";
        let build_image = "ghcr.io/fermata-dev/build-python:0.1.0";
        let runtime = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Runtime", "metadata": {"name": name},
            "spec": {
                "image": image, "command": ["fermata-invoker", "python"], "handler": "main.handle", "file": "main.py",
                "build": {"image": build_image, "command": command, "target": "/dependencies", "env": env},
            },
        });
        space.apply(&runtime).await;
        Self { space, name }
    }

    /// A function that is built by it.
    async fn function(&self, build: &Value) {
        let files = json!({"main.py": "def handle(request):\n    return 'built'\n"});
        let source = json!({"runtime": self.name, "build": build, "files": files});
        self.space
            .function("hello", json!({"source": source}))
            .await;
    }

    async fn remove(self) {
        let runtimes = Api::<Runtime>::all(self.space.client.clone());
        let removed = runtimes.delete(&self.name, &DeleteParams::default()).await;
        removed.expect("the Runtime goes");
    }
}

/// Waits for what is told of a build, with this status and reason.
async fn told(space: &Space, status: &str, reason: &str) -> String {
    eventually(reason, async || {
        let function = space.get("hello").await.status.unwrap_or_default();
        let mut conditions = function.conditions.iter();
        match conditions.find(|condition| condition.type_ == "Built") {
            Some(built) if (&*built.status, &*built.reason) == (status, reason) => {
                Ok(built.message.clone())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_result_that_is_too_much_is_refused_with_the_limit() {
    for (script, env, words) in [
        (
            "head -c 2000000 /dev/zero > $FERMATA_TARGET/file",
            json!([{"name": "FERMATA_BUILD_MAX_BYTES", "value": "1048576"}]),
            "larger than 1.0 MiB; FERMATA_BUILD_MAX_BYTES",
        ),
        (
            "i=0; while [ $i -le 100000 ]; do : > $FERMATA_TARGET/$i; i=$((i+1)); done",
            json!([]),
            "more than 100000 files and folders; FERMATA_BUILD_MAX_FILES",
        ),
        (
            "ln -s /etc/passwd $FERMATA_TARGET/link",
            json!([]),
            "a link that leads out of it, link to /etc/passwd",
        ),
        (
            "ln -s ../../.. $FERMATA_TARGET/up",
            json!([]),
            "a link that leads out of it, up to ../../..",
        ),
    ] {
        let own = Own::script(script, &env).await;
        own.function(&json!({})).await;
        let message = told(&own.space, "False", "BuildFailed").await;
        assert!(message.contains(words), "{message}");
        own.remove().await;
    }
}

#[tokio::test]
async fn a_build_that_does_not_end_is_ended_and_told() {
    let script = "sleep 3000";
    let own = Own::script(script, &json!([])).await;
    own.function(&json!({"timeout": "2s"})).await;
    let message = told(&own.space, "False", "BuildFailed").await;
    assert!(
        message.contains("took longer than 2 s and was ended; source.build.timeout"),
        "{message}"
    );
    own.remove().await;
}

#[tokio::test]
async fn a_build_that_the_kernel_ends_for_its_memory_is_told_with_the_way_out() {
    // The embedded cluster limits no memory: there a program of the build does to itself what the kernel does.
    let script = match Platform::shared().embedded {
        true => "sh -c 'kill -9 $PPID'; true",
        false => "exec python3 -c \"x = b'x' * (160 << 20)\"",
    };
    let own = Own::script(script, &json!([])).await;
    let resources = json!({"requests": {"memory": "16Mi"}, "limits": {"memory": "64Mi"}});
    own.function(&json!({"resources": resources})).await;
    let message = told(&own.space, "False", "BuildFailed").await;
    assert!(message.contains("source.build.resources"), "{message}");
    own.remove().await;
}

#[tokio::test]
async fn a_disk_that_is_full_is_no_mistake_of_the_function() {
    let own = Own::script("cp /proc/version /dev/full", &json!([])).await;
    own.function(&json!({})).await;
    let message = told(&own.space, "Unknown", "DiskFull").await;
    for words in ["it is tried again", "the disk of the build is full"] {
        assert!(message.contains(words), "{message}");
    }
    eventually("it is tried again", async || {
        let pods = own.space.pods("hello", 1).await;
        let status = pods[0].status.clone().unwrap_or_default();
        let containers = status.init_container_statuses.unwrap_or_default();
        match containers.first().map(|build| build.restart_count) {
            Some(1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    own.remove().await;
}

/// What pip runs of a package that has no wheel. It looks for what it should not see, and leaves behind a process
/// that has gone away from it and changes the result.
const BACKEND: &str = r#"
import os, subprocess, zipfile

def build_wheel(folder, settings=None, metadata=None):
    subprocess.Popen("while :; do echo 'SEEN = 1' > $FERMATA_TARGET/nosy.py; sleep 0.1; done",
                     shell=True, start_new_session=True, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = [name for name in os.environ if name in ("TOKEN", "PLAIN", "KUBECONFIG")]
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    if os.path.exists(token):
        seen.append(token)
    with zipfile.ZipFile(os.path.join(folder, "nosy-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("found.py", f"SEEN = {seen!r}\n")
        wheel.writestr("nosy.py", "SEEN = 0\n")
        wheel.writestr("nosy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nosy\nVersion: 1.0\n")
        wheel.writestr("nosy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("nosy-1.0.dist-info/RECORD", "")
    return "nosy-1.0-py3-none-any.whl"
"#;

#[tokio::test]
async fn what_a_package_runs_sees_nothing_of_the_function_and_does_not_outlive_the_build() {
    let own = Own::new(
        &json!(["fermata-invoker", "build", "python"]),
        &json!([{"name": "PIP_NO_INDEX", "value": "1"}]),
    )
    .await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own"}, "stringData": {"key": "s"}});
    own.space.apply(&secret).await;
    let handler = "import os, time\n\
        place = os.environ.get('FERMATA_ROOT', '') + os.environ['FERMATA_DEPENDENCIES'] + '/'\n\
        def handle(request):\n\
        \x20   before = os.stat(place + 'nosy.py').st_mtime_ns\n\
        \x20   time.sleep(1)\n\
        \x20   return open(place + 'found.py').read() + str(os.stat(place + 'nosy.py').st_mtime_ns - before)\n";
    let project =
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n";
    let spec = json!({
        "env": [
            {"name": "PLAIN", "value": "x"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "own", "key": "key"}}},
        ],
        "source": {"runtime": own.name, "files": {
            "main.py": handler,
            "requirements.txt": "./nosy\n",
            "nosy/pyproject.toml": project,
            "nosy/backend.py": BACKEND,
        }},
    });
    own.space.function("hello", spec).await;
    own.space.ready("hello").await;
    own.space.answers("hello", "SEEN = []\n0").await;
    own.remove().await;
}
