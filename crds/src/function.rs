//! `Function`: the one manifest a user writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Delivery, Expose, GoDuration, Output, Scale, SourceStatus, Template, Trigger, TriggerStatus,
};

/// How many old Revisions are kept when the manifest does not say.
pub const DEFAULT_REVISION_HISTORY_LIMIT: u32 = 10;

/// A function: an image or source code, reachable over HTTP, running only while it is needed.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "fermata.dev",
    version = "v1alpha1",
    kind = "Function",
    plural = "functions",
    shortname = "fn",
    category = "fermata",
    namespaced,
    status = "FunctionStatus",
    scale(
        spec_replicas_path = ".spec.scale.min",
        status_replicas_path = ".status.replicas"
    ),
    derive = "PartialEq",
    doc = "A function: an image or source code, reachable over HTTP, running only while it is needed.",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".status.url"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.latestReadyRevision"}"#,
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".status.replicas"}"#,
    printcolumn = r#"{"name":"Backlog","type":"integer","jsonPath":".status.backlog"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct FunctionSpec {
    /// What runs: everything here makes a new Revision when it changes.
    #[serde(flatten)]
    pub template: Template,

    /// How many replicas run, and when. Changes take effect on the running Revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,

    /// Under which hosts and paths, and to whom, the function answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,

    /// What calls the function besides its callers: times of day, and messages of topics. At most 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggers: Option<Vec<Trigger>>,

    /// Where the answers to messages go: an answer with a body becomes a message of that topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,

    /// How calls are made whose callers do not wait for the answer (Prefer: respond-async), and messages are delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,

    /// How many Revisions that get no traffic are kept, so that an old template can come back at
    /// once. 0 to 100. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<u32>,
}

/// What the cluster made of the Function.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, RevisionReady, Routable and Active; Built where dependencies are installed, SourceResolved where
    /// the source is in a git repository, and Subscribed where triggers hear topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,

    /// Where to call the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// The host of the URL, to be sent as the Host header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,

    /// The Revision made from the newest template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_created_revision: Option<String>,

    /// The newest Revision that has been ready; it gets the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_ready_revision: Option<String>,

    /// Which Revision gets which share of the requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<TrafficTarget>,

    /// Replicas that exist now, over all Revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Replicas that are ready now, over all Revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// What was found in the git repository; only with source.git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,

    /// The newest start from zero. Written by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_cold_start: Option<ColdStart>,

    /// Asynchronous calls and messages for the function that are not over; about so many, and absent where there are
    /// none. Written by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,

    /// What became of the triggers. Written by the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<TriggerStatus>,
}

/// One Revision's share of a Function's requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficTarget {
    /// Name of the Revision.
    pub revision: String,

    /// Share of the requests, in percent.
    pub percent: u32,
}

/// A start from zero, as the caller felt it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColdStart {
    /// When the waking request arrived.
    pub time: Time,

    /// From the arrival of the waking request until an instance could take it.
    pub duration: GoDuration,

    /// The Revision that was woken.
    pub revision: String,
}

// === impl FunctionStatus ===

impl FunctionStatus {
    /// The part that the operator writes: without what the gateway does.
    #[must_use]
    pub fn of_operator(&self) -> Self {
        Self {
            last_cold_start: None,
            backlog: None,
            triggers: Vec::new(),
            ..self.clone()
        }
    }
}

// === impl FunctionSpec ===

impl FunctionSpec {
    /// The scale settings; an absent section means every default.
    #[must_use]
    pub fn scale(&self) -> Scale {
        self.scale.clone().unwrap_or_default()
    }

    /// The exposure settings; an absent section means every default.
    #[must_use]
    pub fn expose(&self) -> Expose {
        self.expose.clone().unwrap_or_default()
    }

    /// What calls the function besides its callers.
    #[must_use]
    pub fn triggers(&self) -> &[Trigger] {
        self.triggers.as_deref().unwrap_or_default()
    }

    /// How calls are made whose callers do not wait; an absent section means every default.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery.clone().unwrap_or_default()
    }

    /// How many Revisions without traffic are kept.
    #[must_use]
    pub fn revision_history_limit(&self) -> u32 {
        self.revision_history_limit
            .unwrap_or(DEFAULT_REVISION_HISTORY_LIMIT)
    }
}
