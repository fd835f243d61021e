//! The pods that look at git repositories: they are made, and they go.

use std::time::Duration;

use fermata_crds::conditions::Status;
use fermata_daemon::watch::Key;

use super::{
    dereference::Inputs,
    look::{self, Next},
};
use crate::{context::Context, reasons, writes::WriteError};

/// How soon a pod is asked again for its answer.
const PAUSE: Duration = Duration::from_secs(1);

/// How soon it is asked again whether there is room for another pod.
const FULL: Duration = Duration::from_secs(3);

/// How soon a pod that the cluster refused is tried again.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// Makes the pod if one is wanted and there is room. When to come back.
pub(super) async fn begin(
    inputs: &mut Inputs,
    context: &Context,
) -> Result<Option<Duration>, WriteError> {
    let source = inputs.function.spec.template.source.as_ref();
    let git = source.and_then(|source| source.git.as_ref());
    let key = Key::of(&*inputs.function);
    let Some((look, git)) = inputs.look.as_mut().zip(git) else {
        // Before the status says nothing of a repository any more, by which it is found.
        if let Some(pod) = inputs.left.take() {
            context.writes.delete(&*pod).await?;
        }
        context.looks.free(&key);
        return Ok(None);
    };
    match &look.next {
        Next::Rest(again) => {
            context.looks.free(&key);
            Ok(*again)
        }
        // A place is taken for it as well: it may be of an operator that is gone.
        Next::Wait => {
            context.looks.take(&key);
            Ok(Some(PAUSE))
        }
        Next::Discard(_, again) => Ok(*again),
        Next::Start(asked) => {
            if !context.looks.take(&key) {
                return Ok(Some(FULL));
            }
            let pod = look::pod::build(&inputs.function, git, asked, &context.options);
            match context.writes.create(&pod).await {
                Ok(_) => Ok(Some(PAUSE)),
                Err(error) => {
                    context.looks.free(&key);
                    let Some(sentence) = error.refusal() else {
                        return Err(error);
                    };
                    look.outcome.status = Status::False;
                    reasons::LOOK_FAILED.clone_into(&mut look.outcome.reason);
                    look.outcome.message =
                        format!("the cluster refuses the pod that looks: {sentence}");
                    Ok(Some(REFUSED_RETRY))
                }
            }
        }
    }
}

/// Deletes the pod, now that what it has found is written.
pub(super) async fn end(inputs: &Inputs, context: &Context) -> Result<(), WriteError> {
    let Some(Next::Discard(pod, _)) = inputs.look.as_ref().map(|look| &look.next) else {
        return Ok(());
    };
    context.writes.delete(&**pod).await?;
    context.looks.free(&Key::of(&*inputs.function));
    Ok(())
}
