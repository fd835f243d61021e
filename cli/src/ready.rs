//! Waiting until functions are ready, or will not be.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use fermata_crds::{Function, conditions};
use fermata_operator::reasons;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time::{self, Instant};

use crate::{cluster::Cluster, errors, output, output::Structure, unready, urls::Urls};

/// How long a failure has to stand before it counts: what is applied together is not seen together.
const GRACE: Duration = Duration::from_secs(2);

/// The same for a failure that stood before and whose cause may be gone, which the cluster finds out when
/// it tries again.
const OLD_GRACE: Duration = Duration::from_secs(12);

/// How long there may be no news before it is asked what the instances themselves say.
const SILENCE: Duration = Duration::from_secs(5);

/// Functions that are waited for at once.
const AT_ONCE: usize = 32;

/// What the state of a function means to somebody who waits.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    Ready,
    /// Not yet, and what there is to say.
    NotYet(String),
    /// Not without somebody's help; whether the cluster tries again all the same.
    Failed {
        sentence: String,
        again: bool,
    },
}

/// Whether a command waits for the functions that it has written, and what it prints then.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Print the functions for programs when they are ready.
    #[arg(short, long, value_enum)]
    output: Option<Structure>,

    /// Do not wait until the functions are ready.
    #[arg(long)]
    no_wait: bool,

    /// How long to wait until the functions are ready, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

// === impl Waiting ===

impl Waiting {
    /// How the functions are printed, if they are printed for programs.
    pub(crate) fn output(self) -> Option<Structure> {
        self.output
    }

    /// Waits for functions, by namespace and name, unless nobody wants that, and prints them.
    ///
    /// # Errors
    ///
    /// When one will not become ready, or the time is over.
    pub(crate) async fn wait(
        self,
        cluster: &Cluster,
        functions: Vec<(String, String)>,
    ) -> anyhow::Result<()> {
        if !self.no_wait {
            let timeout = Duration::from_secs(self.timeout);
            return all(cluster, functions, timeout, self.output).await;
        }
        match self.output {
            Some(structure) => print(cluster, functions, structure).await,
            None => Ok(()),
        }
    }
}

/// Waits for all these functions, and prints where they are.
async fn all(
    cluster: &Cluster,
    functions: Vec<(String, String)>,
    timeout: Duration,
    output: Option<Structure>,
) -> anyhow::Result<()> {
    let several = functions.len() > 1;
    let waits = stream::iter(functions)
        .map(|(namespace, name)| {
            let client = cluster.client.clone();
            async move {
                match time::timeout(timeout, wait(client, &namespace, &name)).await {
                    Ok(result) => result,
                    Err(_) => bail!(
                        "{name} is not ready after {} s; `fermata describe {name}` and `fermata logs {name}` show more",
                        timeout.as_secs()
                    ),
                }
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut waits = std::pin::pin!(waits);
    let (mut ready, mut failed) = (Vec::new(), Vec::new());
    while let Some(result) = waits.next().await {
        match result {
            Ok(function) => {
                if output.is_none() {
                    let urls = Urls::of(&function, cluster.embedded);
                    if let Some(path) = &urls.path {
                        output::note(&format!("{} also answers at {path}", function.name_any()));
                    }
                    output::line(&urls.host);
                }
                ready.push(function);
            }
            Err(error) => {
                if several {
                    output::note(&errors::line(&error));
                }
                failed.push(error);
            }
        }
    }
    if let Some(structure) = output {
        output::objects(structure, &ready)?;
    }
    match failed.len() {
        0 => Ok(()),
        1 if !several => failed.pop().map_or(Ok(()), Err),
        number => bail!("{number} functions are not ready"),
    }
}

async fn print(
    cluster: &Cluster,
    functions: Vec<(String, String)>,
    structure: Structure,
) -> anyhow::Result<()> {
    let mut read = Vec::with_capacity(functions.len());
    for (namespace, name) in functions {
        let api = Api::<Function>::namespaced(cluster.client.clone(), &namespace);
        read.push(api.get(&name).await?);
    }
    output::objects(structure, &read)
}

/// Waits until the function is ready, and says what it is waiting for.
async fn wait(client: Client, namespace: &str, name: &str) -> anyhow::Result<Function> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let api = Api::<Function>::namespaced(client.clone(), namespace);
    let changes = watcher(api, config).default_backoff().applied_objects();
    let mut changes = std::pin::pin!(changes);
    let mut said = String::new();
    let mut failure: Option<(Instant, String)> = None;
    // Nothing has moved since the beginning: what is told may be old.
    let mut moved = false;
    loop {
        let end = failure.as_ref().map(|(end, _)| *end);
        let over = async {
            match end {
                Some(end) => time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let function = tokio::select! {
            () = over => {
                let sentence = failure.map(|(_, sentence)| sentence).unwrap_or_default();
                bail!("{name} will not become ready: {sentence}; `fermata describe {name}` and `fermata logs {name}` show more");
            }
            () = time::sleep(SILENCE) => {
                if let Some(why) = unready::why(&client, namespace, name).await {
                    let sentence = format!("{name}: {why}");
                    if sentence != said {
                        output::note(&sentence);
                        said = sentence;
                    }
                }
                continue;
            }
            function = changes.try_next() => function.with_context(|| format!("{name} cannot be watched"))?,
        };
        let Some(function) = function else {
            bail!("the watch of {name} ended");
        };
        let sentence = match judge(&function) {
            None => continue,
            Some(Verdict::Ready) => {
                output::note(&format!("{name} is ready"));
                return Ok(function);
            }
            Some(Verdict::NotYet(sentence)) => {
                (failure, moved) = (None, true);
                sentence
            }
            Some(Verdict::Failed { sentence, again }) => {
                let grace = if again && !moved { OLD_GRACE } else { GRACE };
                let end = failure.map_or_else(|| Instant::now() + grace, |(end, _)| end);
                failure = Some((end, sentence.clone()));
                sentence
            }
        };
        let sentence = format!("{name}: {sentence}");
        if sentence != said {
            output::note(&sentence);
            said = sentence;
        }
    }
}

/// `None` while the status is about an earlier manifest.
fn judge(function: &Function) -> Option<Verdict> {
    let status = function.status.as_ref()?;
    let ready = conditions::find(&status.conditions, conditions::READY)?;
    if status.observed_generation != function.metadata.generation {
        return None;
    }
    let sentence = match ready.message.as_str() {
        "" => ready.reason.clone(),
        message => format!("{}: {message}", ready.reason),
    };
    Some(match ready.status.as_str() {
        "True" => Verdict::Ready,
        "False" if reasons::needs_help(&ready.reason) => Verdict::Failed {
            sentence,
            again: reasons::is_tried_again(&ready.reason),
        },
        _ => Verdict::NotYet(sentence),
    })
}

#[cfg(test)]
mod tests {
    use fermata_crds::{FunctionSpec, FunctionStatus};

    use super::*;

    fn function(status: &str, reason: &str) -> Function {
        let mut function = Function::new("hello", FunctionSpec::default());
        let conditions = serde_json::json!({"conditions": [{"type": "Ready", "status": status, "reason": reason,
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        function.status = Some(serde_json::from_value::<FunctionStatus>(conditions).unwrap());
        function
    }

    #[test]
    fn what_nobody_mends_is_not_waited_for() {
        let failed = |reason: &str| {
            matches!(
                judge(&function("False", reason)),
                Some(Verdict::Failed { .. })
            )
        };
        for reason in [
            reasons::RUNTIME_NOT_FOUND,
            reasons::CRASH_LOOP,
            reasons::ROUTE_CONFLICT,
        ] {
            assert!(failed(reason), "{reason}");
        }
        for reason in [
            reasons::UNSCHEDULABLE,
            reasons::QUOTA_EXCEEDED,
            reasons::POD_FAILED,
        ] {
            assert!(!failed(reason), "{reason}");
        }
        assert_eq!(judge(&function("True", "Ready")), Some(Verdict::Ready));
        let unknown = judge(&function("Unknown", reasons::DEPLOYING));
        assert_eq!(unknown, Some(Verdict::NotYet("Deploying".into())));
        let mut old = function("True", "Ready");
        old.metadata.generation = Some(2);
        assert_eq!(judge(&old), None);
    }
}
