//! The part of a Function that a Revision freezes: what runs, and how it is called.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, LocalObjectReference, Probe, ResourceRequirements, SeccompProfile,
    Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GoDuration, Source, pod_security::Level};

/// The port a function listens on when the manifest does not say.
pub const DEFAULT_PORT: u16 = 8080;

/// Time for a whole request when the manifest does not say.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Time for a start from zero when the manifest does not say.
pub const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest that any of the timeouts may be. The schema says so too; what was stored before it did is
/// taken as this.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// What runs, and how it is called. A change of any of this makes a new Revision.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// The container image, such as registry.example.com/team/orders:1.4. Exactly one of image
    /// and source must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// Code that a Runtime runs, without building an image. Exactly one of image and source must
    /// be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,

    /// The executable and its first arguments. Default: the image's entrypoint. Not allowed with
    /// source, where the Runtime decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,

    /// Arguments to the command. Default: the image's own. Not allowed with source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,

    /// Environment variables, as in a Pod. PORT, K_SERVICE, K_CONFIGURATION, K_REVISION and names
    /// that begin with FERMATA_ are set by Fermata and cannot be given here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvVar>>,

    /// ConfigMaps and Secrets whose keys become environment variables, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_from: Option<Vec<EnvFromSource>>,

    /// CPU and memory the function asks for and may use at most, as in a Pod. A quantity with a point
    /// is a text: '0.5', or 500m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// The directory the process starts in. Default: the image's own, or the directory with the
    /// source files. Not allowed with source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,

    /// When the node pulls the image: Always, IfNotPresent or Never. Default: Always for the tag
    /// :latest, else IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,

    /// Secrets in the function's namespace with credentials for the image's registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// The ServiceAccount the function runs as. Its token is mounted only when this is given.
    /// Default: the namespace's default account, without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,

    /// Volumes, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<Volume>>,

    /// Where the volumes appear in the function's file system, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_mounts: Option<Vec<VolumeMount>>,

    /// When an instance may get requests. The gateway runs an httpGet probe itself, every few
    /// milliseconds while the instance starts. Default, also where only times are given: the port
    /// accepts a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,

    /// When an instance is beyond help and restarted. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,

    /// When a slow starter has started; the other probes wait for it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,

    /// The port the container listens on; it is also in the environment variable PORT. 1 to
    /// 65535. Default: 8080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,

    /// How the gateway talks to the function: http1, or h2c (HTTP/2 without TLS, needed for
    /// gRPC). Default: http1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,

    /// The most requests one replica works on at once, from all gateways together; further ones wait
    /// for a free replica. 0 to 1000, 0 is no limit. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,

    /// How long each part of a request may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,

    /// How much the function's process may do on its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<SecurityOptions>,

    /// A partial PodTemplateSpec that is merged over the one Fermata builds (strategic merge: the
    /// container is called function). For what the fields above do not offer: node selectors,
    /// tolerations, affinity, sidecars, and the pods' labels and annotations, since those of the
    /// Function go to its Service, Revisions and Deployments alone. The merged pod has to meet
    /// security.profile; nodeName, and labels and annotations below fermata.dev/, cannot be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How the gateway talks to the function: http1, or h2c (HTTP/2 without TLS, needed for gRPC).
/// Default: http1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive; WebSocket and other upgrades pass through.
    #[default]
    Http1,
    /// HTTP/2 without TLS, prior knowledge (RFC 9113, section 3.3).
    H2c,
}

/// How long each part of a request may take. Durations are written like 300ms, 30s or 5m.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From handing the request to an instance until the last byte of the response; waiting for a
    /// start does not count. Connections upgraded to WebSocket are only bound by idle. At most
    /// 24h. Default: 300s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<GoDuration>,

    /// From handing the request to an instance until the head of the response. At most 24h. Default:
    /// request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<GoDuration>,

    /// The longest silence, in both directions, in the middle of a request, a response or an
    /// upgraded connection. The wait for the head of the response is firstByte's. At most 24h. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<GoDuration>,

    /// How long a request waits for an instance to start or to become free. At most 24h. Default:
    /// 120s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<GoDuration>,
}

/// How much the function's process may do on its node.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityOptions {
    /// The Pod Security Standard the function's pods meet, with everything that podTemplate adds:
    /// restricted; baseline for images that must run as root; or privileged, which is no restriction
    /// and has to be allowed by the installation. Default: restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<SecurityLevel>,

    /// The numeric user the process runs as; not 0 (root) under restricted. Default: the image's user,
    /// or 65532 for source functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,

    /// The seccomp profile, as in a Pod. Default: RuntimeDefault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,

    /// The RuntimeClass the pods run under, such as gvisor. Default: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,

    /// Whether the pods use the node's user namespace. false isolates users at some cost of start
    /// time. Default: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_users: Option<bool>,
}

/// The Pod Security Standard the function's pods meet, with everything that podTemplate adds:
/// restricted; baseline for images that must run as root; or privileged, which is no restriction and has
/// to be allowed by the installation. Default: restricted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecurityLevel {
    /// Non-root, no capabilities, no privilege escalation, seccomp.
    #[default]
    Restricted,
    /// Known privilege escalations are off; the image may run as root.
    Baseline,
    /// Everything is allowed, the node included.
    Privileged,
}

// === impl Template ===

impl Template {
    /// The port the container listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// How the gateway talks to the function.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default()
    }

    /// The most requests one replica works on at once; `None` is no limit.
    #[must_use]
    pub fn concurrency(&self) -> Option<u32> {
        self.concurrency.filter(|limit| *limit > 0)
    }

    /// The timeouts; an absent section means every default.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts.clone().unwrap_or_default()
    }

    /// The security options; an absent section means every default.
    #[must_use]
    pub fn security(&self) -> SecurityOptions {
        self.security.clone().unwrap_or_default()
    }
}

// === impl SecurityLevel ===

impl SecurityLevel {
    /// The Pod Security Standard that pods have to meet.
    #[must_use]
    pub fn standard(self) -> Level {
        match self {
            Self::Restricted => Level::Restricted,
            Self::Baseline => Level::Baseline,
            Self::Privileged => Level::Privileged,
        }
    }
}

// === impl SecurityOptions ===

impl SecurityOptions {
    /// How much the function's process may do on its node.
    #[must_use]
    pub fn profile(&self) -> SecurityLevel {
        self.profile.unwrap_or_default()
    }
}

// === impl Timeouts ===

impl Timeouts {
    /// Time for a whole request, at most [`MAX_TIMEOUT`].
    #[must_use]
    pub fn request(&self) -> Duration {
        self.request.map_or(DEFAULT_REQUEST_TIMEOUT, bounded)
    }

    /// Time until the head of the response, at most [`MAX_TIMEOUT`].
    #[must_use]
    pub fn first_byte(&self) -> Duration {
        self.first_byte.map_or_else(|| self.request(), bounded)
    }

    /// The longest silence, at most [`MAX_TIMEOUT`]; `None` is no bound.
    #[must_use]
    pub fn idle(&self) -> Option<Duration> {
        self.idle.map(bounded)
    }

    /// Time a request waits for an instance, at most [`MAX_TIMEOUT`].
    #[must_use]
    pub fn start(&self) -> Duration {
        self.start.map_or(DEFAULT_START_TIMEOUT, bounded)
    }
}

fn bounded(timeout: GoDuration) -> Duration {
    Duration::from(timeout).min(MAX_TIMEOUT)
}
