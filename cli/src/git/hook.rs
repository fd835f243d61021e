//! What git asks before it takes what was pushed
//! (<https://git-scm.com/docs/githooks#pre-receive>): the commit is deployed, and refused if it does not become ready.

mod checkout;
mod function;
mod updates;

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};

use self::{
    checkout::Checkout,
    updates::{Update, short},
};
use super::{
    UNDER_WAY,
    credentials::Credentials,
    repository::{Pushing, Root},
    told,
    within::Within,
};
use crate::{errors, output};

/// What `fermata deploy` sees of the environment: what containers of the node see too.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A push to a function.
struct Push {
    root: Root,
    namespace: String,
    name: String,
    credentials: Credentials,
    bundles: bool,
    busy: bool,
}

/// Decides on a push; what is printed is what the one who pushes sees.
pub(super) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(&error),
    }
}

fn run() -> anyhow::Result<()> {
    let push = Push::of_environment().context("this is a hook of git for fermata")?;
    if let Ok(commit) = env::var(told::SETTLES) {
        return push.settle(&commit);
    }
    let pushed =
        std::io::read_to_string(std::io::stdin()).context("git does not say what is pushed")?;
    if push.busy {
        bail!("another push to {} {UNDER_WAY}", push.name);
    }
    if push.bundles {
        return checkout::check_bundle(updates::bundle(&pushed)?);
    }
    let decision = updates::decide(&pushed)?;
    for branch in &decision.stored {
        output::note(&format!(
            "{branch} is stored and not deployed: main and master are"
        ));
    }
    match decision.deployed {
        Some(update) => push.deploy(&update),
        None => Ok(()),
    }
}

// === impl Push ===

impl Push {
    fn of_environment() -> Option<Self> {
        Some(Self {
            root: Root::new(PathBuf::from(env::var_os(told::ROOT)?)),
            namespace: env::var(told::NAMESPACE).ok()?,
            name: env::var(told::NAME).ok()?,
            credentials: Credentials::of_environment()?,
            bundles: env::var_os(told::BUNDLES).is_some(),
            busy: env::var_os(told::BUSY).is_some(),
        })
    }

    /// Deploys the commit. Where it does not become ready, what was pushed before is applied again, so that
    /// the cluster is told what it runs.
    fn deploy(&self, update: &Update) -> anyhow::Result<()> {
        self.check_current(update)?;
        let checkout = self.checkout(&update.new)?;
        let repository = self.root.repository(&self.namespace, &self.name, false);
        let pushing = Pushing {
            reference: update.reference.clone(),
            new: update.new.clone(),
            ran: repository.head()?,
        };
        // From here on it is settled by whoever comes next, if this ends before it has: see `settling`.
        let noted = repository.begin_push(&pushing);
        noted.context("the push cannot be noted in its repository")?;
        let deployed = self.fermata(&checkout, &[])?.status();
        if deployed.context("fermata cannot be started")?.success() {
            if let Err(error) = repository.set_head(&update.reference) {
                output::note(&format!("clones may begin with another branch: {error}"));
            }
            return Ok(());
        }
        drop(checkout);
        // Not the branch that was pushed to: main and master are both deployed.
        let Some(old) = &repository.branch(&pushing.ran)? else {
            repository.end_push()?;
            bail!("{} was not taken", short(&update.new));
        };
        let former = self.checkout(old)?;
        let restored = self
            .fermata(&former, &["--no-wait"])?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if restored.is_ok_and(|status| status.success()) {
            repository.end_push()?;
            bail!(
                "{} was not taken: {} stays at {}",
                short(&update.new),
                self.name,
                short(old)
            );
        }
        bail!(
            "{} was not taken, and {} could not be applied again; push it once more",
            short(&update.new),
            short(old)
        );
    }

    /// Applies a commit again, after a push that was broken off.
    fn settle(&self, commit: &str) -> anyhow::Result<()> {
        let checkout = self.checkout(commit)?;
        let mut fermata = self.fermata(&checkout, &["--no-wait"])?;
        let applied = fermata.output().context("fermata cannot be started")?;
        if !applied.status.success() {
            return Err(errors::of_child(applied.status, &applied.stderr));
        }
        Ok(())
    }

    /// The files of a commit, with the manifest of the function.
    fn checkout(&self, commit: &str) -> anyhow::Result<Checkout> {
        let checkout = Checkout::make(&self.root, &self.namespace, &self.name, commit)?;
        function::complete(checkout.dir(), &self.namespace, &self.name)?;
        Ok(checkout)
    }

    /// `fermata deploy` of a commit.
    fn fermata(&self, checkout: &Checkout, more: &[&str]) -> anyhow::Result<Command> {
        let program = env::current_exe().context("this program cannot find itself")?;
        let mut command = Command::new(program);
        if let Credentials::Kubeconfig(file) = &self.credentials {
            command.arg("--kubeconfig").arg(file);
        }
        command
            .args(["--namespace", &self.namespace, "deploy", "-f"])
            .arg(function::file(checkout.dir())?)
            .args(more)
            .current_dir(checkout.dir())
            .env_clear()
            .envs(
                PASSED_ON
                    .iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            )
            .envs(self.credentials.told())
            .envs(Within::of_environment().iter().flat_map(Within::told))
            // A bundle is made there; the container may have no other place.
            .env("TMPDIR", checkout.dir().join(".git"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Git looks for itself whether somebody else has pushed meanwhile, but only after this.
    fn check_current(&self, update: &Update) -> anyhow::Result<()> {
        let mut git = Command::new("git");
        git.args(["rev-parse", "--verify", "--quiet", &update.reference]);
        let current = git.output().context("git cannot be started")?.stdout;
        let current = String::from_utf8_lossy(&current);
        if current.trim() != update.old.as_deref().unwrap_or_default() {
            bail!(
                "somebody else has pushed to {} meanwhile; fetch that first",
                update.reference
            );
        }
        Ok(())
    }
}
