//! What went wrong, as sentences.

use std::{error::Error, process::ExitStatus};

use kube::{config::KubeconfigError, core::Status, error::DiscoveryError};

/// The exit code where the API server refuses what was to be applied. Anything else may pass.
pub(crate) const REFUSED: u8 = 3;

/// The API server refuses what was to be applied: it would do so again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// Whether this is a refusal by the API server.
pub(crate) fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some()
}

/// What another process of this program has said on standard error when it failed.
pub(crate) fn of_child(status: ExitStatus, said: &[u8]) -> anyhow::Error {
    let said = String::from_utf8_lossy(said);
    // What comes before is how far it was.
    let said = said.trim();
    let at = said.rfind("\nerror: ").map_or(0, |at| at + 1);
    let said = said.get(at..).unwrap_or(said);
    let said = said.trim_start_matches("error: ").to_owned();
    if status.code() == Some(REFUSED.into()) {
        return Refused(said).into();
    }
    if said.is_empty() {
        return anyhow::anyhow!("fermata failed: {status}");
    }
    anyhow::anyhow!(said)
}

/// The error, then its causes, each once and without what it says of the next. An answer of the API
/// server is its own sentence.
pub(crate) fn sentences(error: &anyhow::Error) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    for link in error.chain() {
        let sentence = sentence(link);
        let told = sentences.iter().any(|earlier| earlier.contains(&sentence));
        if !sentence.is_empty() && !told {
            sentences.push(sentence);
        }
    }
    sentences
}

/// The same in one line.
pub(crate) fn line(error: &anyhow::Error) -> String {
    sentences(error).join(": ")
}

/// What this link of the chain says itself.
fn sentence(link: &(dyn Error + 'static)) -> String {
    match link.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => return of_status(status),
        // Its cause says it.
        Some(kube::Error::Discovery(_)) => return String::new(),
        Some(kube::Error::HyperError(_) | kube::Error::Service(_)) => {
            return "the connection to the API server failed".to_owned();
        }
        _ => {}
    }
    // Its own words quote the path twice.
    if let Some(KubeconfigError::ReadConfig(_, path)) = link.downcast_ref() {
        return format!("the kubeconfig {} cannot be read", path.display());
    }
    // Who looked for a kind has said which, in words that are none of Rust's.
    if let Some(DiscoveryError::MissingKind(_)) = link.downcast_ref() {
        return String::new();
    }
    let boxed = link.downcast_ref::<Box<Status>>().map(|status| &**status);
    if let Some(status) = boxed.or_else(|| link.downcast_ref()) {
        return of_status(status);
    }
    let text = link.to_string();
    let Some(cause) = link.source() else {
        return text;
    };
    // Many libraries repeat their cause; it has a line of its own.
    let own = text.strip_suffix(&cause.to_string());
    own.map_or_else(
        || text.clone(),
        |own| own.trim_end_matches([':', ' ']).to_owned(),
    )
}

fn of_status(status: &Status) -> String {
    match (status.message.is_empty(), status.reason.is_empty()) {
        (false, _) => status.message.clone(),
        (true, false) => format!("the API server says {}", status.reason),
        (true, true) => format!("the API server answered with {}", status.code),
    }
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::*;

    fn refused() -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code: 403,
            reason: "Forbidden".into(),
            message: "functions.fermata.dev is forbidden: User \"ann\" cannot list".into(),
            ..Status::default()
        }))
    }

    #[test]
    fn of_what_another_process_has_said_the_error_is_told() {
        let said = b"hello: 5.0 MiB in 3 files\nerror: it is refused\n  and why\n";
        let error = of_child(ExitStatus::default(), said);
        assert_eq!(error.to_string(), "it is refused\n  and why");
        let error = of_child(ExitStatus::default(), b"error: no");
        assert_eq!(error.to_string(), "no");
    }

    #[test]
    fn a_refusal_is_one_whatever_is_said_of_it() {
        let error = anyhow::Error::new(Refused("no".into()));
        assert!(is_refusal(&error) && is_refusal(&error.context("of it")));
        let error = anyhow::Error::new(refused()).context("it cannot be read");
        assert!(!is_refusal(&error));
    }

    #[test]
    fn a_kind_that_is_unknown_is_told_once() {
        let missing = kube::Error::Discovery(DiscoveryError::MissingKind("Functoin".into()));
        let error = anyhow::Error::new(missing).context("the cluster does not know the kind");
        assert_eq!(line(&error), "the cluster does not know the kind");
    }

    #[test]
    fn a_kubeconfig_that_is_missing_is_named_once() {
        let error = Kubeconfig::read_from("/nonexistent/config").unwrap_err();
        let error =
            anyhow::Error::new(error).context("the kubeconfig /nonexistent/config cannot be read");
        let line = line(&error);
        assert_eq!(line.matches("/nonexistent/config").count(), 1, "{line}");
        assert!(line.contains("No such file"), "{line}");
    }

    #[test]
    fn what_the_api_server_answers_is_its_sentence_and_no_more() {
        let error = anyhow::Error::new(refused()).context("the functions cannot be listed");
        let message = "functions.fermata.dev is forbidden: User \"ann\" cannot list";
        assert_eq!(
            sentences(&error),
            ["the functions cannot be listed", message]
        );
        let watch = kube::runtime::watcher::Error::InitialListFailed(refused());
        assert_eq!(
            line(&anyhow::Error::new(watch)),
            format!("failed to perform initial object list: {message}")
        );
    }
}
