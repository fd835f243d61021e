//! `fermata invocations redrive` and `purge`.

use anyhow::Context as _;
use http::Method;

use super::{Change, GatewayOptions, ManyOptions, find};
use crate::{
    args::Target,
    cluster::{self, Cluster},
    gateway::owner::Gateway,
    output,
};

/// Calls of a step.
const STEP: usize = 500;

// === impl Change ===

impl Change {
    fn path(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Purge => "purge",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Redrive => "tried anew",
            Self::Purge => "removed",
        }
    }
}

pub(super) async fn run(
    target: &Target,
    way: &GatewayOptions,
    options: &ManyOptions,
    change: Change,
) -> anyhow::Result<()> {
    let cluster = cluster::connect_to_write(target, options.consent).await?;
    let gateway = Gateway::of(&cluster, way.gateway.as_ref()).await?;
    cluster.announce();
    if let Some(function) = &options.all {
        return all(&cluster, &gateway, function, change).await;
    }
    let (id, named) = (
        options.id.as_deref().unwrap_or_default(),
        options.function.as_deref(),
    );
    let function = find::function_of(&cluster, &gateway, id, named).await?;
    let (key, path) = (
        (&*cluster.namespace, &*function),
        format!("/{id}/{}", change.path()),
    );
    let answer = gateway.ask(Method::POST, key, &path).await?;
    let what = || format!("the call {id} of {function} is not {}", change.done());
    answer.json().with_context(what)?;
    output::line(&format!("invocation/{id} {}", change.done()));
    Ok(())
}

/// All that have failed by now, step by step.
async fn all(
    cluster: &Cluster,
    gateway: &Gateway,
    function: &str,
    change: Change,
) -> anyhow::Result<()> {
    let key = (&*cluster.namespace, function);
    let (mut done, mut skipped, mut query) = (0, 0, String::new());
    let mut total = None;
    loop {
        let path = format!("/{}?limit={STEP}{query}", change.path());
        let step = gateway.ask(Method::POST, key, &path).await?.json();
        let step = step.with_context(|| {
            format!(
                "{done} calls of {function} are {}, and no more; the same command goes on",
                change.done()
            )
        })?;
        let number = |name: &str| step[name].as_u64().unwrap_or_default();
        done += number("done");
        skipped += number("skipped");
        // Those that are left are told after the step.
        let total = *total.get_or_insert_with(|| number("done") + number("failed"));
        let Some(behind) = step["continue"].as_str() else {
            break;
        };
        let until = step["until"].as_str().unwrap_or_default();
        query = format!("&until={until}&continue={behind}");
        output::note(&format!(
            "{} of {} calls looked at",
            done + skipped,
            total.max(done + skipped)
        ));
    }
    output::line(&format!(
        "function/{function}: {done} calls {}",
        change.done()
    ));
    if skipped > 0 && change == Change::Redrive {
        output::note(&format!(
            "{skipped} calls were tried anew by somebody else meanwhile, or their time was over."
        ));
    }
    Ok(())
}
