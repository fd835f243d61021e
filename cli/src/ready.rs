//! Waiting until functions are ready, or will not be.

mod clock;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use fermata_crds::{Function, conditions, reasons};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time::{self, Instant};

use self::clock::Clock;
use crate::{
    building::{self, Show},
    cluster::Cluster,
    errors, output,
    output::Structure,
    unready,
    urls::Urls,
};

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
    /// Not without somebody's help, and for which reason.
    Failed {
        reason: String,
        sentence: String,
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

    /// How long to wait until the functions are ready, in seconds. Their builds do not count.
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
            async move { wait(client, &namespace, &name, timeout).await }
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
async fn wait(
    client: Client,
    namespace: &str,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<Function> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let api = Api::<Function>::namespaced(client.clone(), namespace);
    let changes = watcher(api, config).default_backoff().applied_objects();
    let mut changes = std::pin::pin!(changes);
    let mut clock = Clock::started(timeout, Instant::now());
    let mut build = Show::new(client.clone(), |function, sentence| {
        output::note(&format!("{} {sentence}", function.name_any()));
    });
    let mut said = String::new();
    let mut failure: Option<Failure> = None;
    // Nothing has moved since the beginning: what is told may be old.
    let mut moved = false;
    let mut built = false;
    loop {
        let function = tokio::select! {
            () = until(failure.as_ref().map(|failure| failure.end)) => {
                let (sentence, more) = failure.map(|failure| (failure.sentence, failure.more)).unwrap_or_default();
                bail!("{name} will not become ready: {sentence}; {more}");
            }
            () = until(clock.end()) => bail!("{}", late(name, timeout, built)),
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
        let Some(verdict) = judge(&function) else {
            continue;
        };
        built = is_built(&function);
        clock.stand(building::is_running(&function), Instant::now());
        build.see(&function).await;
        let sentence = match verdict {
            Verdict::Ready => {
                output::note(&format!("{name} is ready"));
                return Ok(function);
            }
            Verdict::NotYet(sentence) => {
                (failure, moved) = (None, true);
                sentence
            }
            Verdict::Failed { reason, sentence } => {
                let end = failure.map_or_else(
                    || Instant::now() + grace(&reason, moved),
                    |failure| failure.end,
                );
                failure = Some(Failure {
                    end,
                    sentence: sentence.clone(),
                    more: more(&reason, name),
                });
                sentence
            }
        };
        let sentence = format!("{name}: {sentence}");
        let is_end = failure
            .as_ref()
            .is_some_and(|failure| failure.end <= Instant::now());
        if sentence != said && !is_end {
            output::note(&sentence);
            said = sentence;
        }
    }
}

/// Whether something was to be built.
fn is_built(function: &Function) -> bool {
    let status = function.status.as_ref();
    status.is_some_and(|status| conditions::find(&status.conditions, conditions::BUILT).is_some())
}

/// What is told of a function that took too long.
fn late(name: &str, timeout: Duration, built: bool) -> String {
    let seconds = timeout.as_secs();
    let (and, log) = if built {
        (",", format!(" and `fermata build logs {name}`"))
    } else {
        (" and", String::new())
    };
    format!(
        "{name} is not ready after {seconds} s; `fermata describe {name}`{and} `fermata logs {name}`{log} show more"
    )
}

/// A failure that is not yet the last word.
struct Failure {
    /// When it will be.
    end: Instant,
    sentence: String,
    /// Where there is more about it.
    more: String,
}

/// Waits for a time, or for ever if there is none.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// How long a failure has to stand before it counts. `moved` says that it did not stand at the beginning.
fn grace(reason: &str, moved: bool) -> Duration {
    match reason {
        // It was waited for all the while, and comes from nothing else that is applied.
        reasons::BUILD_FAILED if moved => Duration::ZERO,
        reasons::BUILD_FAILED => GRACE,
        _ if reasons::is_tried_again(reason) && !moved => OLD_GRACE,
        _ => GRACE,
    }
}

/// Where there is more about a failure: a function that has never run has no log.
fn more(reason: &str, name: &str) -> String {
    match reason {
        reasons::BUILD_FAILED => {
            format!("`fermata build logs {name}` shows all of it; correct it and deploy again")
        }
        reasons::CRASH_LOOP => {
            format!("`fermata describe {name}` and `fermata logs {name}` show more")
        }
        _ => format!("`fermata describe {name}` shows more"),
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
            reason: ready.reason.clone(),
            sentence,
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
    fn the_log_of_a_build_is_named_where_there_is_one() {
        let late = |built| late("hello", Duration::from_secs(5), built);
        assert_eq!(
            late(false),
            "hello is not ready after 5 s; `fermata describe hello` and `fermata logs hello` show more"
        );
        assert_eq!(
            late(true),
            "hello is not ready after 5 s; `fermata describe hello`, `fermata logs hello` and `fermata build logs hello` show more"
        );
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
            reasons::BUILD_FAILED,
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

    #[test]
    fn a_failure_leads_to_where_there_is_more_about_it() {
        let leads = |reason: &str, to: &str| more(reason, "hello").contains(to);
        assert!(leads(reasons::CRASH_LOOP, "fermata logs hello"));
        assert!(leads(reasons::BUILD_FAILED, "fermata build logs hello"));
        for reason in [reasons::IMAGE_PULL_FAILED, reasons::RUNTIME_NOT_FOUND] {
            assert!(leads(reason, "fermata describe hello") && !leads(reason, "logs"));
        }
    }

    #[test]
    fn a_build_that_fails_is_told_at_once() {
        assert_eq!(grace(reasons::BUILD_FAILED, true), Duration::ZERO);
        assert!(grace(reasons::CRASH_LOOP, true) < grace(reasons::CRASH_LOOP, false));
    }
}
