//! Environment variables of a function.

use std::collections::HashSet;

use fermata_crds::Revision;
use k8s_openapi::api::core::v1::EnvVar;
use kube::ResourceExt as _;

use crate::options::Options;

/// Fermata's own variables first, so that the others can refer to them as `$(PORT)`; then the
/// Runtime's and the function's, where the function's go first.
pub(crate) fn build(revision: &Revision, gateway: &str) -> Vec<EnvVar> {
    let template = &revision.spec.template;
    let function = revision.spec.function_name.as_str();
    let name = revision.name_any();
    let namespace = revision.namespace().unwrap_or_default();
    let port = template.port().to_string();
    let mut env: Vec<EnvVar> = [
        ("PORT", port.as_str()),
        ("FERMATA_FUNCTION", function),
        ("FERMATA_REVISION", &name),
        ("FERMATA_NAMESPACE", &namespace),
        // Names of the cluster do not resolve everywhere; this address does.
        ("FERMATA_GATEWAY", gateway),
        // What images made for Knative and Cloud Run look at.
        ("K_SERVICE", function),
        ("K_CONFIGURATION", function),
        ("K_REVISION", &name),
    ]
    .into_iter()
    .map(|(name, value)| variable(name, value))
    .collect();
    if let Some(handler) = template
        .source
        .as_ref()
        .and_then(|source| source.handler.as_deref())
    {
        env.push(variable("FERMATA_HANDLER", &literal(handler)));
    }
    if let Some(limit) = template.concurrency() {
        env.push(variable("FERMATA_CONCURRENCY", &limit.to_string()));
    }
    if let Some(build) = revision.spec.build() {
        env.push(variable("FERMATA_DEPENDENCIES", &build.target));
    }
    let own = template.env.as_deref().unwrap_or_default();
    let runtime = revision.spec.runtime.as_ref();
    let runtime = runtime
        .and_then(|runtime| runtime.env.as_deref())
        .unwrap_or_default();
    let taken: HashSet<&str> = own.iter().map(|variable| variable.name.as_str()).collect();
    let inherited = runtime
        .iter()
        .filter(|variable| !taken.contains(variable.name.as_str()));
    let system: HashSet<String> = env.iter().map(|variable| variable.name.clone()).collect();
    env.extend(
        inherited
            .chain(own)
            .filter(|variable| !system.contains(&variable.name))
            .cloned(),
    );
    env
}

pub(crate) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

/// Variables of what fetches, builds and pushes, by which it knows the proxy.
pub(crate) fn proxy(options: &Options) -> Vec<EnvVar> {
    let variables = options.proxy.variables(&options.cluster_domain).into_iter();
    variables
        .map(|(name, value)| variable(name, &literal(&value)))
        .collect()
}

/// The value as Kubernetes has to be given it so that it stays as it is: `$(` begins a reference to
/// another variable and `$$` stands for one dollar sign, but a handler may be a line of shell.
pub(crate) fn literal(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        escaped.push(character);
        if character == '$' && matches!(characters.peek(), Some('$' | '(')) {
            escaped.push('$');
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kubernetes makes of a value without any references to variables that exist.
    fn expanded(value: &str) -> String {
        value.replace("$$", "$")
    }

    #[test]
    fn a_line_of_shell_reaches_the_function_unchanged() {
        for line in ["echo $HOME", "echo $(date)", "echo $$", "a$$(b)$", "$$$("] {
            assert_eq!(expanded(&literal(line)), line);
        }
        assert_eq!(literal("main.handle"), "main.handle");
    }

    #[test]
    fn exceptions_of_the_proxy_reach_what_builds_unchanged() {
        let mut options = Options::default();
        options.proxy.https = Some("http://proxy:3128".to_owned());
        options.proxy.except = vec!["$(HOME).example".to_owned()];
        let variables = proxy(&options);
        let except = variables.iter().find(|known| known.name == "no_proxy");
        let value = except.and_then(|known| known.value.as_deref()).unwrap();
        assert!(value.ends_with(",$$(HOME).example"), "{value}");
    }
}
