//! Names, labels and annotations that the parts of Fermata agree on.

/// Beginning of labels and annotations that are Fermata's own.
pub const RESERVED_PREFIX: &str = "fermata.dev/";

/// Label on every child: name of the Function.
pub const FUNCTION_LABEL: &str = "fermata.dev/function";

/// Label on every child of a Revision: name of the Revision.
pub const REVISION_LABEL: &str = "fermata.dev/revision";

/// Label on Revisions: digest of the template, which finds the Revision of a template that comes
/// back.
pub const TEMPLATE_HASH_LABEL: &str = "fermata.dev/template-hash";

/// The standard label that names who manages an object; its value here is [`MANAGED_BY`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Value of [`MANAGED_BY_LABEL`] on everything the operator makes.
pub const MANAGED_BY: &str = "fermata";

/// Annotation on pods that get no new requests because they are about to go. Set by the gateway
/// together with [`DELETION_COST_ANNOTATION`]; its value is the time, RFC 3339.
pub const DRAINING_ANNOTATION: &str = "fermata.dev/draining";

/// The annotation by which a ReplicaSet chooses the pods that go first.
pub const DELETION_COST_ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Field manager of everything the operator applies.
pub const OPERATOR_FIELD_MANAGER: &str = "fermata-operator";

/// Field manager of everything the gateway writes.
pub const GATEWAY_FIELD_MANAGER: &str = "fermata-gateway";

/// Name of a function's container.
pub const CONTAINER: &str = "function";

/// Name of the container port that takes requests.
pub const PORT_NAME: &str = "http";

/// Name of the volume with the source files.
pub const SOURCE_VOLUME: &str = "fermata-source";

/// Where the source files are mounted; also the working directory.
pub const SOURCE_PATH: &str = "/function";

/// Name of the init container that installs a function's dependencies.
pub const BUILD_CONTAINER: &str = "fermata-build";

/// Name of the volume with the files that name the dependencies.
pub const INPUTS_VOLUME: &str = "fermata-inputs";

/// Where these files are mounted; also the working directory of the installation.
pub const INPUTS_PATH: &str = "/source";

/// Name of the volume with the dependencies.
pub const DEPENDENCIES_VOLUME: &str = "fermata-dependencies";

/// Name of the volume that the installation works in.
pub const BUILD_VOLUME: &str = "fermata-build";

/// Where that volume is mounted.
pub const BUILD_PATH: &str = "/tmp";

/// Annotation on Functions, and on pods of their Revisions: a text, such as a time. Another one installs the
/// dependencies anew, although nothing else has changed.
pub const BUILD_ANNOTATION: &str = "fermata.dev/build";

/// Name of the init container that fetches the source files from a git repository.
pub const FETCH_CONTAINER: &str = "fermata-fetch";

/// Name of the volume that it works in.
pub const FETCH_VOLUME: &str = "fermata-fetch";

/// Where that volume is mounted.
pub const FETCH_PATH: &str = "/tmp";

/// Name of the volume with the Secret for the repository.
pub const GIT_VOLUME: &str = "fermata-git";

/// Where it is mounted, in that container alone.
pub const GIT_PATH: &str = "/credentials";

/// Annotation on Functions: a text, such as a time. Another one looks again to which commit the reference of a git
/// source leads.
pub const LOOK_ANNOTATION: &str = "fermata.dev/look";

/// Label on the pods that look: name of the Function. They are no pods of a Revision.
pub const LOOK_LABEL: &str = "fermata.dev/look";

/// Label on the Jobs that build images and on their pods: name of the Revision.
pub const IMAGE_BUILD_LABEL: &str = "fermata.dev/image-build";

/// Name of the container that pushes an image.
pub const PUSH_CONTAINER: &str = "fermata-push";

/// Name of the volume that it works in.
pub const PUSH_VOLUME: &str = "fermata-push";

/// Where that volume is mounted.
pub const PUSH_PATH: &str = "/tmp";

/// Name of the volume with the Secret for the registry.
pub const REGISTRY_VOLUME: &str = "fermata-registry";

/// Where it is mounted, in that container alone.
pub const REGISTRY_PATH: &str = "/credentials";

/// Namespace of the ConfigMap that says where folders go that are too large for a manifest. Everybody may read it.
pub const BUNDLES_NAMESPACE: &str = "kube-public";

/// Name of that ConfigMap.
pub const BUNDLES_CONFIG_MAP: &str = "fermata-bundles";

/// Namespace of the Secret by which the gateway of `fermata up` knows its user.
pub const OWNER_NAMESPACE: &str = "fermata-system";

/// Name of that Secret: `url` is where the gateway is, `token` is what is shown there.
pub const OWNER_SECRET: &str = "fermata-owner";

/// Names of volumes that a manifest with source cannot use.
pub const RESERVED_VOLUMES: [&str; 6] = [
    SOURCE_VOLUME,
    INPUTS_VOLUME,
    DEPENDENCIES_VOLUME,
    BUILD_VOLUME,
    FETCH_VOLUME,
    GIT_VOLUME,
];

/// The longest name of a Function, in characters. It leaves room for the Revision's number within
/// a DNS label.
pub const MAX_FUNCTION_NAME: usize = 50;

/// Prefix of the gateway's path for calls by name.
pub const FUNCTION_PATH_PREFIX: &str = "/function/";

/// Prefix of the gateway's path for calls by name whose callers do not wait: that of OpenFaaS.
pub const ASYNC_FUNCTION_PATH_PREFIX: &str = "/async-function/";

/// Prefixes of the gateway's paths to which messages are published; the second one is riff's.
pub const TOPIC_PATH_PREFIXES: [&str; 2] = ["/topics/", "/messages/"];

/// First segments of paths that are the gateway's own, those that later versions need included.
pub const GATEWAY_PATHS: [&str; 8] = [
    "function",
    "async-function",
    "topics",
    "messages",
    "requests",
    "invocations",
    "git",
    "hooks",
];

/// Path of the calls whose callers do not wait, on every host (RFC 8615): it is followed by their id. No function gets
/// requests under it.
pub const INVOCATIONS_PATH: &str = "/.well-known/fermata/invocations/";

/// Path of what whoever a function belongs to asks of it, on every host that is no function's: it is followed by
/// `NAMESPACE/NAME/invocations`. No function gets requests under it.
pub const FUNCTIONS_PATH: &str = "/.well-known/fermata/functions/";

/// Header that the gateway sets for the events program: the uid of the function that is called. On a request from
/// inside the cluster it says that no later function of the same name is meant.
pub const FUNCTION_UID_HEADER: &str = "x-fermata-function-uid";

/// Header that the gateway sets for the events program: `public` or `internal`, by where the request came in.
pub const ENTRANCE_HEADER: &str = "x-fermata-entrance";

/// Header that the gateway sets for the events program: the trigger of which a call is a run. Nobody else has such a
/// call kept, whatever its `Idempotency-Key`.
pub const TRIGGER_HEADER: &str = "x-fermata-trigger";

/// Header that the gateway sets for the events program: the function's `spec.delivery`, as JSON.
pub const DELIVERY_HEADER: &str = "x-fermata-delivery";

/// Header that the gateway sets for the events program: the namespace of the function that publishes, if one does.
pub const PUBLISHER_HEADER: &str = "x-fermata-publisher";

/// Header of a message that a function has answered with: how many functions have answered so, one to the other.
pub const HOPS_HEADER: &str = "x-fermata-hops";

/// Header of a call whose caller does not wait: its id, the same at each attempt.
pub const INVOCATION_HEADER: &str = "x-fermata-invocation";

/// Header of a call whose caller does not wait: how often it was made, this time included.
pub const ATTEMPT_HEADER: &str = "x-fermata-attempt";

/// Header with the reason why the gateway answers, and not the function.
pub const REASON_HEADER: &str = "x-fermata-reason";

/// Environment variables that Fermata sets and that a manifest cannot give. Names beginning with
/// [`RESERVED_ENV_PREFIX`] are reserved too.
pub const RESERVED_ENV: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];

/// Beginning of environment variable names that are Fermata's own.
pub const RESERVED_ENV_PREFIX: &str = "FERMATA_";

/// The Revision's name: the function's with a number that counts up from 1.
#[must_use]
pub fn revision_name(function: &str, number: u64) -> String {
    format!("{function}-{number:05}")
}

/// The name of the Job that builds a Revision's image.
#[must_use]
pub fn build_job_name(revision: &str) -> String {
    format!("{revision}-build")
}

/// The number in a Revision's name, if it is one of this function's.
#[must_use]
pub fn revision_number(function: &str, revision: &str) -> Option<u64> {
    let digits = revision.strip_prefix(function)?.strip_prefix('-')?;
    let canonical = digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    canonical.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_numbers_round_trip() {
        assert_eq!(revision_name("hello", 1), "hello-00001");
        assert_eq!(revision_name("hello", 123_456), "hello-123456");
        assert_eq!(revision_number("hello", "hello-00012"), Some(12));
        assert_eq!(revision_number("hello", "hello-123456"), Some(123_456));
    }

    #[test]
    fn other_names_have_no_revision_number() {
        for other in [
            "hello",
            "hello-1",
            "hello-0000x",
            "hell-00001",
            "hello-x-00001",
            "hello-+0001",
        ] {
            assert_eq!(revision_number("hello", other), None, "{other}");
        }
    }
}
