//! What runs: the image or the source, its container and its pod.

use super::{Rule, duration, rule};

/// Rules for the place where a template stands: `spec` of a Function.
pub(crate) const TEMPLATE: &[Rule] = &[
    rule(
        "",
        "has(self.image) != has(self.source)",
        "give exactly one of image (a container image) and source (code that a runtime runs)",
    ),
    rule(
        "",
        "!has(self.source) || !(has(self.command) || has(self.args) || has(self.workingDir))",
        "command, args and workingDir do not go with source: the runtime decides; name what to call in source.handler",
    ),
    rule(
        "",
        "!has(self.source) || !has(self.volumes) || self.volumes.all(v, !(v.name in ['fermata-source', 'fermata-inputs', 'fermata-dependencies', 'fermata-build', 'fermata-fetch', 'fermata-git']))",
        "the volume names fermata-source, fermata-inputs, fermata-dependencies, fermata-build, fermata-fetch and fermata-git are taken by the source files and what is built of them; choose another name",
    ),
    rule(
        "",
        "!has(self.source) || !has(self.volumeMounts) || self.volumeMounts.all(m, !m.mountPath.matches('^/function/*$'))",
        "the mount path /function is taken by the source files; choose another path",
    ),
    rule(
        "image",
        "self.matches('^[^\\\\s]+$')",
        "image must be a reference without white space, such as registry.example.com/team/orders:1.4",
    ),
    rule(
        "imagePullPolicy",
        "self in ['Always', 'IfNotPresent', 'Never']",
        "imagePullPolicy must be Always, IfNotPresent or Never",
    ),
    rule(
        "source",
        "[has(self.files) || has(self.binaryFiles), has(self.configMap), has(self.git)].filter(given, given).size() == 1",
        "give the code either in source.files and source.binaryFiles (inline), in source.configMap or in source.git",
    ),
    rule(
        "source.files",
        "size(self) > 0",
        "source.files needs at least one file",
    ),
    rule("source.files", PATHS, PATHS_MESSAGE),
    rule(
        "source.binaryFiles",
        "size(self) > 0",
        "source.binaryFiles needs at least one file",
    ),
    rule("source.binaryFiles", PATHS, PATHS_MESSAGE),
    rule("source.git.url", GIT_URL, GIT_URL_MESSAGE),
    rule("source.git.ref", GIT_REF, GIT_REF_MESSAGE),
    rule("source.git.path", GIT_PATH, GIT_PATH_MESSAGE),
    rule(
        "source.git.secretName",
        SUBDOMAIN,
        "source.git.secretName must be the name of a Secret: lower case letters, digits, '-' and '.'",
    ),
    duration!("source.git.poll", "30s", "24h"),
    rule(
        "source.git.webhook.secretName",
        SUBDOMAIN,
        "source.git.webhook.secretName must be the name of a Secret: lower case letters, digits, '-' and '.'",
    ),
    duration!("source.build.timeout", "1s", "1h"),
    rule("source.build.env[]", ENV_NAME, ENV_NAME_MESSAGE),
    rule("source.build.env[]", OWN_ENV, OWN_ENV_MESSAGE),
    rule("source.build.env[]", ONE_VALUE, ONE_VALUE_MESSAGE),
    rule(
        "source.build.env[].valueFrom.configMapKeyRef.name",
        SUBDOMAIN,
        CONFIG_MAP_KEY_MESSAGE,
    ),
    rule(
        "source.build.env[].valueFrom.secretKeyRef.name",
        SUBDOMAIN,
        SECRET_KEY_MESSAGE,
    ),
    rule(
        "source.build.resources.limits",
        RESOURCES,
        RESOURCES_MESSAGE,
    ),
    rule(
        "source.build.resources.requests",
        RESOURCES,
        RESOURCES_MESSAGE,
    ),
    rule(
        "source.build.resources",
        REQUESTS_WITHIN_LIMITS,
        REQUESTS_WITHIN_LIMITS_MESSAGE,
    ),
    rule(
        "source.runtime",
        "self.matches('^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$')",
        "source.runtime is the name of a Runtime, such as python",
    ),
    rule("env[]", OWN_ENV, OWN_ENV_MESSAGE),
    rule("env[]", ENV_NAME, ENV_NAME_MESSAGE),
    rule(
        "port",
        "self >= 1 && self <= 65535",
        "port must be between 1 and 65535",
    ),
    rule(
        "concurrency",
        "self >= 0 && self <= 1000",
        "concurrency must be between 0 (no limit) and 1000",
    ),
    duration!("timeouts.request", "1ms", "24h"),
    duration!("timeouts.firstByte", "1ms", "24h"),
    duration!("timeouts.idle", "1ms", "24h"),
    duration!("timeouts.start", "1ms", "24h"),
    rule(
        "security.runAsUser",
        "self >= 0",
        "security.runAsUser must be a user id, 0 or more",
    ),
    rule(
        "security",
        "!(has(self.runAsUser) && self.runAsUser == 0) || (has(self.profile) && self.profile in ['baseline', 'privileged'])",
        "user 0 is root, which the restricted profile forbids; choose another runAsUser or set security.profile to baseline",
    ),
    rule(
        "serviceAccountName",
        SUBDOMAIN,
        "serviceAccountName must be the name of a ServiceAccount: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "security.runtimeClassName",
        SUBDOMAIN,
        "security.runtimeClassName must be the name of a RuntimeClass: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "security.seccompProfile",
        "self.type in ['RuntimeDefault', 'Localhost', 'Unconfined'] && has(self.localhostProfile) == (self.type == 'Localhost')",
        "security.seccompProfile.type must be RuntimeDefault, Localhost or Unconfined; Localhost alone needs localhostProfile",
    ),
    rule(
        "source.configMap.name",
        SUBDOMAIN,
        "source.configMap.name must be the name of a ConfigMap: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "imagePullSecrets[].name",
        SUBDOMAIN,
        "imagePullSecrets must name Secrets: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "volumes[].name",
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "the name of a volume is made of lower case letters, digits and '-'",
    ),
    rule(
        "volumes[].configMap.name",
        SUBDOMAIN,
        "a volume's configMap.name must be the name of a ConfigMap: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "volumes[].secret.secretName",
        SUBDOMAIN,
        "a volume's secret.secretName must be the name of a Secret: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "",
        "has(self.podTemplate) || !has(self.volumeMounts) || self.volumeMounts.all(m, has(self.source) && m.name == 'fermata-source' || has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
        "volumeMounts must name volumes of spec.volumes; add the volume, or correct the name",
    ),
    rule(
        "volumeMounts[].mountPath",
        "self != '' && !self.contains(':')",
        "mountPath must not be empty or contain ':'",
    ),
    rule("resources.limits", RESOURCES, RESOURCES_MESSAGE),
    rule("resources.requests", RESOURCES, RESOURCES_MESSAGE),
    rule(
        "resources",
        REQUESTS_WITHIN_LIMITS,
        REQUESTS_WITHIN_LIMITS_MESSAGE,
    ),
    rule(
        "env[]",
        "self.name.matches('^[ -~]*$')",
        "the name of an environment variable is made of printable ASCII characters",
    ),
    rule("env[]", ONE_VALUE, ONE_VALUE_MESSAGE),
    rule(
        "env[].valueFrom.configMapKeyRef.name",
        SUBDOMAIN,
        CONFIG_MAP_KEY_MESSAGE,
    ),
    rule(
        "env[].valueFrom.secretKeyRef.name",
        SUBDOMAIN,
        SECRET_KEY_MESSAGE,
    ),
    rule(
        "envFrom[]",
        "has(self.configMapRef) != has(self.secretRef)",
        "envFrom needs exactly one of configMapRef and secretRef",
    ),
    rule(
        "envFrom[].configMapRef.name",
        SUBDOMAIN,
        "configMapRef.name must be the name of a ConfigMap: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "envFrom[].secretRef.name",
        SUBDOMAIN,
        "secretRef.name must be the name of a Secret: lower case letters, digits, '-' and '.'",
    ),
    rule(
        "readinessProbe",
        "[has(self.exec), has(self.grpc), has(self.httpGet), has(self.tcpSocket)].filter(given, given).size() <= 1",
        "a probe has at most one of exec, grpc, httpGet and tcpSocket",
    ),
    rule("livenessProbe", ONE_HANDLER, ONE_HANDLER_MESSAGE),
    rule("startupProbe", ONE_HANDLER, ONE_HANDLER_MESSAGE),
    rule("readinessProbe", PROBE_NUMBERS, PROBE_NUMBERS_MESSAGE),
    rule("livenessProbe", PROBE_NUMBERS, PROBE_NUMBERS_MESSAGE),
    rule("startupProbe", PROBE_NUMBERS, PROBE_NUMBERS_MESSAGE),
    rule(
        "livenessProbe",
        ONE_SUCCESS,
        "livenessProbe.successThreshold must be 1",
    ),
    rule(
        "startupProbe",
        ONE_SUCCESS,
        "startupProbe.successThreshold must be 1",
    ),
];

/// The name of an object (RFC 1123, section 2.1); its length is bounded by the schema.
const SUBDOMAIN: &str =
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";

/// See `source_files::check_path`.
const PATHS: &str = "self.all(path, path.size() <= 253 && path.matches('^[^\\\\\\\\\\\\x00-\\\\x1f\\\\x7f]+$') && !path.startsWith('..') && !path.matches('(^|/)[.]{0,2}(/|$)'))";
const PATHS_MESSAGE: &str = "a file's path has at most 253 characters, is relative and has no '.', '..' or empty segments, no backslash, no control characters and no '..' at its beginning, such as lib/util.py";

/// What git takes as an address of another machine. Nothing that begins with '-', which it would take for an option.
const GIT_URL: &str = "self.matches('^https?://([A-Za-z0-9][A-Za-z0-9._-]*|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]+)?(/[!-~]*)?$') || self.matches('^ssh://([A-Za-z0-9][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9._-]*|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]+)?/[!-~]+$') || self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9._-]*:[A-Za-z0-9._~/][!-~]*$')";
const GIT_URL_MESSAGE: &str = "source.git.url is https://HOST/PATH, http://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH, without a password: that belongs into the Secret source.git.secretName";

/// See git-check-ref-format(1).
const GIT_REF: &str = "self.matches('^[^\\\\x00-\\\\x20\\\\x7f~^:?*\\\\[\\\\\\\\]+$') && !self.matches('(^|/)[.]|[.][.]|//|@[{]|^[-/]|^@$|[./]$|[.]lock(/|$)')";
const GIT_REF_MESSAGE: &str = "source.git.ref is a branch, a tag, a reference such as refs/heads/main or a commit in all of its 40 digits, as git takes them";

/// A path as source files have them, and nothing of git's own.
const GIT_PATH: &str = "self.size() <= 253 && self.matches('^[^\\\\\\\\\\\\x00-\\\\x1f\\\\x7f]+$') && !self.matches('(^|/)([.]{0,2}|[.][gG][iI][tT])(/|$)')";
const GIT_PATH_MESSAGE: &str = "source.git.path is a folder of the repository such as functions/orders: relative, without '.', '..', '.git' or empty segments, without backslashes and control characters";

const OWN_ENV: &str = "!(self.name in ['PORT', 'K_SERVICE', 'K_CONFIGURATION', 'K_REVISION']) && !self.name.startsWith('FERMATA_')";
const OWN_ENV_MESSAGE: &str = "PORT, K_SERVICE, K_CONFIGURATION, K_REVISION and names beginning with FERMATA_ are set by Fermata; choose another name (the port is set with spec.port)";
const ENV_NAME: &str = "self.name.matches('^[^=]+$')";
const ENV_NAME_MESSAGE: &str =
    "the name of an environment variable must not be empty or contain '='";
const ONE_VALUE: &str = "!has(self.valueFrom) || !has(self.value) || self.value == ''";
const ONE_VALUE_MESSAGE: &str = "an environment variable has either value or valueFrom";
const CONFIG_MAP_KEY_MESSAGE: &str =
    "configMapKeyRef.name must be the name of a ConfigMap: lower case letters, digits, '-' and '.'";
const SECRET_KEY_MESSAGE: &str =
    "secretKeyRef.name must be the name of a Secret: lower case letters, digits, '-' and '.'";
const REQUESTS_WITHIN_LIMITS: &str = "!has(self.requests) || !has(self.limits) || ['cpu', 'memory'].all(r, !(r in self.requests) || !(r in self.limits) || !isQuantity(string(self.requests[r])) || !isQuantity(string(self.limits[r])) || quantity(string(self.requests[r])).compareTo(quantity(string(self.limits[r]))) <= 0)";
const REQUESTS_WITHIN_LIMITS_MESSAGE: &str = "resources.requests must be at most resources.limits";

const RESOURCES: &str = "self.all(r, (r in ['cpu', 'memory', 'ephemeral-storage'] || r.startsWith('hugepages-') || r.contains('/')) && isQuantity(string(self[r])))";
const RESOURCES_MESSAGE: &str = "resources are cpu, memory, ephemeral-storage, hugepages-SIZE or names with a domain, and their values quantities such as 500m, 2, 128Mi or 1Gi";

const ONE_HANDLER: &str = "[has(self.exec), has(self.grpc), has(self.httpGet), has(self.tcpSocket)].filter(given, given).size() == 1";
const ONE_HANDLER_MESSAGE: &str =
    "this probe needs exactly one of exec, grpc, httpGet and tcpSocket";
const ONE_SUCCESS: &str = "!has(self.successThreshold) || self.successThreshold in [0, 1]";
const PROBE_NUMBERS: &str = "(!has(self.initialDelaySeconds) || self.initialDelaySeconds >= 0) && (!has(self.periodSeconds) || self.periodSeconds >= 0) && (!has(self.timeoutSeconds) || self.timeoutSeconds >= 0) && (!has(self.failureThreshold) || self.failureThreshold >= 0) && (!has(self.successThreshold) || self.successThreshold >= 0)";
const PROBE_NUMBERS_MESSAGE: &str = "the numbers of a probe must not be negative";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn volumes_of_fermatas_own_are_not_for_manifests() {
        let rule = TEMPLATE
            .iter()
            .find(|rule| rule.rule.contains("v.name in ["));
        let rule = rule.expect("a rule about names of volumes");
        for volume in names::RESERVED_VOLUMES {
            assert!(rule.rule.contains(&format!("'{volume}'")), "{volume}");
            assert!(rule.message.contains(volume), "{volume}");
        }
    }
}
