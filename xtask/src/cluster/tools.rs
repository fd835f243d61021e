//! The programs of the cluster, built from their Go modules once for each version.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::shell;

/// The oldest minor version of Kubernetes 1 that the tests take from elsewhere.
const OLDEST_KUBECTL: u32 = 30;

/// The programs and their packages. What Go names otherwise than the world does is renamed.
const PROGRAMS: [(&str, &str); 13] = [
    (
        "containerd",
        "github.com/containerd/containerd/v2/cmd/containerd",
    ),
    (
        "containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    ("coredns", "./coredns"),
    ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("helm", "helm.sh/helm/v3/cmd/helm"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    (
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    ("pause", "./pause"),
];

/// A folder with all programs.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    folder: PathBuf,
}

// === impl Tools ===

impl Tools {
    /// Builds what is not there yet. This takes minutes, the first time.
    pub(crate) fn build() -> anyhow::Result<Self> {
        if let Some(built) = Self::built() {
            return Ok(built);
        }
        let module = Module::read()?;
        let folder = module.folder();
        // The programs appear under their name all at once, so a half-built folder is never used.
        let building = folder.with_extension("building");
        fs::create_dir_all(&building)
            .with_context(|| format!("cannot make {}", building.display()))?;
        let at_hand = copy_assets(&module, &building)?;
        let packages: Vec<&str> = PROGRAMS
            .iter()
            .filter(|(name, _)| !at_hand.contains(name))
            .map(|(_, package)| *package)
            .collect();
        let title = format!("build Kubernetes {} (once, some minutes)", module.version);
        shell::run(&title, &mut module.go_build(&building, &packages))
            .context("see tests/cluster/go.mod for the versions")?;
        if !at_hand.contains(&"etcd") {
            fs::rename(building.join("server"), building.join("etcd"))
                .context("etcd was not built")?;
        }
        fs::rename(&building, &folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// What an earlier run has built.
    pub(crate) fn built() -> Option<Self> {
        let folder = Module::read().ok()?.folder();
        folder.is_dir().then_some(Self { folder })
    }

    /// The folder, for `PATH`.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// One program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command of one program, which finds the others on its `PATH`.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        let mut path = self.folder.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        command
    }
}

/// A kubectl for the tests: the cluster's own if it was built, the one on `PATH` if it is new
/// enough, else one built from its module.
pub(crate) fn kubectl() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("KUBECTL").map(PathBuf::from);
    let own = Tools::built().map(|tools| tools.program("kubectl"));
    let built = shell::root().join("target/tools/kubectl");
    let candidates = named
        .into_iter()
        .chain(own)
        .chain([PathBuf::from("kubectl"), built.clone()]);
    for candidate in candidates {
        if minor(&candidate).is_some_and(|minor| minor >= OLDEST_KUBECTL) {
            return Ok(candidate);
        }
    }
    if shell::output(Command::new("go").arg("version")).is_none() {
        bail!("the tests need kubectl 1.{OLDEST_KUBECTL} or newer on PATH, or Go to build one");
    }
    let module = Module::read()?;
    let mut go = module.go_build(&built, &["k8s.io/kubernetes/cmd/kubectl"]);
    shell::run("build kubectl", &mut go).context("see tests/cluster/go.mod for the version")?;
    Ok(built)
}

fn minor(kubectl: &Path) -> Option<u32> {
    let text = shell::output(Command::new(kubectl).args(["version", "--client", "--output=json"]))?;
    let version: serde_json::Value = serde_json::from_str(&text).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches('+').parse().ok()
}

/// The Go module that names all versions.
struct Module {
    folder: PathBuf,
    /// Of Kubernetes, such as `v1.36.3`.
    version: String,
    hash: u64,
}

impl Module {
    fn read() -> anyhow::Result<Self> {
        let folder = shell::root().join("tests/cluster");
        let read = |name: &str| {
            fs::read_to_string(folder.join(name))
                .with_context(|| format!("cannot read tests/cluster/{name}"))
        };
        let module = read("go.mod")?;
        let version = module
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
            .and_then(|rest| rest.split(' ').next())
            .context("tests/cluster/go.mod does not require k8s.io/kubernetes")?
            .to_owned();
        let mut hasher = DefaultHasher::new();
        for text in [&module, &read("coredns/main.go")?, &read("pause/main.go")?] {
            text.hash(&mut hasher);
        }
        // How they are built is in this file.
        include_str!("tools.rs").hash(&mut hasher);
        let hash = hasher.finish();
        Ok(Self {
            folder,
            version,
            hash,
        })
    }

    /// Where its programs are kept. Another version, or other sources, have another folder.
    fn folder(&self) -> PathBuf {
        let name = format!("kubernetes-{}-{:08x}", self.version, self.hash >> 32);
        shell::root().join("target/tools").join(name)
    }

    /// `go build` of static programs that know their version.
    fn go_build(&self, output: &Path, packages: &[&str]) -> Command {
        let mut numbers = self.version.trim_start_matches('v').split('.');
        let mut number = || numbers.next().unwrap_or_default();
        let (major, minor) = (number(), number());
        let set =
            |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
        let flags = [
            "-s -w".to_owned(),
            set("gitVersion", &self.version),
            set("gitMajor", major),
            set("gitMinor", minor),
            set("gitTreeState", "clean"),
            // What helm takes charts to be for, where it has no cluster to ask.
            format!(" -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor={major}"),
            format!(" -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}"),
            format!(" -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor={major}"),
            format!(" -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={minor}"),
        ];
        let mut go = Command::new("go");
        go.current_dir(&self.folder)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-ldflags"])
            .arg(flags.concat())
            .arg("-o")
            .arg(output)
            .args(packages);
        go
    }
}

/// Takes the control plane from `KUBEBUILDER_ASSETS`, where that is of the same minor version.
fn copy_assets(module: &Module, to: &Path) -> anyhow::Result<Vec<&'static str>> {
    let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) else {
        return Ok(Vec::new());
    };
    let wanted = module
        .version
        .rsplit_once('.')
        .map_or("", |(minor, _)| minor);
    let version = shell::output(Command::new(assets.join("kube-apiserver")).arg("--version"));
    if !version.is_some_and(|version| version.contains(wanted)) {
        return Ok(Vec::new());
    }
    let names = vec!["etcd", "kube-apiserver", "kubectl"];
    for name in &names {
        fs::copy(assets.join(name), to.join(name))
            .with_context(|| format!("KUBEBUILDER_ASSETS has no {name}"))?;
    }
    Ok(names)
}
