//! Reasons of conditions and events: one word for machines; the message is for people.

/// Everything is as it should be.
pub const READY: &str = "Ready";

/// A new Revision is starting for the first time.
pub const DEPLOYING: &str = "Deploying";

/// Replicas are running.
pub const RUNNING: &str = "Running";

/// Replicas are wanted and none is ready yet.
pub const STARTING: &str = "Starting";

/// No replica runs, because nobody calls.
pub const AT_ZERO: &str = "AtZero";

/// Hosts and paths lead to the function.
pub const ROUTED: &str = "Routed";

/// No Revision has been ready, so that there is nothing to route to.
pub const NO_TRAFFIC: &str = "NoTraffic";

/// Topics are heard.
pub const HEARD: &str = "Heard";

/// There is no events program, so that nothing can be published.
pub const EVENTS_OFF: &str = "EventsOff";

/// The Function's spec cannot work as it is.
pub const INVALID_SPEC: &str = "InvalidSpec";

/// The object cannot be read, such as one that an older schema let in.
pub const UNREADABLE: &str = "Unreadable";

/// The pod that would be made does not meet the Function's security profile, or the installation does
/// not allow the profile.
pub const POD_SECURITY_VIOLATION: &str = "PodSecurityViolation";

/// The Runtime the Function names does not exist.
pub const RUNTIME_NOT_FOUND: &str = "RuntimeNotFound";

/// The ConfigMap with the source does not exist.
pub const SOURCE_NOT_FOUND: &str = "SourceNotFound";

/// The ConfigMap with the source cannot be used.
pub const INVALID_SOURCE: &str = "InvalidSource";

/// Another, older Function has a host or path this one asks for.
pub const ROUTE_CONFLICT: &str = "RouteConflict";

/// The Function asks for a host or a path that it may not have.
pub const CLAIM_NOT_ALLOWED: &str = "ClaimNotAllowed";

/// A Service with the Function's name belongs to somebody else.
pub const SERVICE_CONFLICT: &str = "ServiceConflict";

/// A Deployment with the Revision's name belongs to somebody else.
pub const DEPLOYMENT_CONFLICT: &str = "DeploymentConflict";

/// A ConfigMap with the Revision's name belongs to somebody else.
pub const CONFIG_MAP_CONFLICT: &str = "ConfigMapConflict";

/// The API server will not have an object as it is.
pub const REFUSED: &str = "Refused";

/// A quota of the namespace is used up.
pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";

/// Pods may not be made, for another reason than a quota.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The image cannot be had.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";

/// The container cannot be made, such as for a missing Secret.
pub const CONTAINER_FAILED: &str = "ContainerFailed";

/// The function ends again and again.
pub const CRASH_LOOP: &str = "CrashLoop";

/// The dependencies are being installed.
pub const BUILDING: &str = "Building";

/// The dependencies are installed.
pub const BUILT: &str = "Built";

/// The function cannot be built of its files: a package that does not exist, code that does not compile.
pub const BUILD_FAILED: &str = "BuildFailed";

/// The dependencies are not installed, because a registry cannot be reached; it is tried again.
pub const REGISTRY_UNREACHABLE: &str = "RegistryUnreachable";

/// The files cannot be fetched or built, because a disk has no room; it is tried again.
pub const DISK_FULL: &str = "DiskFull";

/// The build waits for others to end.
pub const BUILD_QUEUED: &str = "BuildQueued";

/// The registry will not have the image: the Secret for it is missing or may not push; it is tried again.
pub const PUSH_REFUSED: &str = "PushRefused";

/// A Job with the name of the Revision's build belongs to somebody else.
pub const JOB_CONFLICT: &str = "JobConflict";

/// The reference of a git source leads to a commit.
pub const SOURCE_RESOLVED: &str = "Resolved";

/// It is being looked up which commit that is.
pub const LOOKING_UP: &str = "LookingUp";

/// The repository has no such branch or tag, or is not there.
pub const REF_NOT_FOUND: &str = "RefNotFound";

/// The repository wants other credentials.
pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";

/// The repository cannot be reached; it is tried again.
pub const REPOSITORY_UNREACHABLE: &str = "RepositoryUnreachable";

/// It cannot be looked up, for another reason.
pub const LOOK_FAILED: &str = "LookFailed";

/// The files of the commit cannot be fetched.
pub const FETCH_FAILED: &str = "FetchFailed";

/// No node has room for the pods.
pub const UNSCHEDULABLE: &str = "Unschedulable";

/// A node evicted or refused the pods.
pub const POD_FAILED: &str = "PodFailed";

/// The pods run but do not become ready.
pub const NOT_READY_IN_TIME: &str = "NotReadyInTime";

/// The pods run, and a probe of theirs fails or has not passed for longer than a start may take.
pub const PROBE_FAILED: &str = "ProbeFailed";

/// The pods run and are not ready, for another reason than a probe.
pub const NOT_READY: &str = "NotReady";

/// Event: a new Revision was made.
pub const REVISION_CREATED: &str = "RevisionCreated";

/// Event: the newest Revision works.
pub const REVISION_READY: &str = "RevisionReady";

/// Event: the requests go to another Revision.
pub const TRAFFIC_MOVED: &str = "TrafficMoved";

/// Reasons of `Ready=False` that do not pass by themselves: somebody has to change the Function, or what
/// it refers to.
const NEED_HELP: [&str; 22] = [
    INVALID_SPEC,
    UNREADABLE,
    POD_SECURITY_VIOLATION,
    RUNTIME_NOT_FOUND,
    SOURCE_NOT_FOUND,
    INVALID_SOURCE,
    ROUTE_CONFLICT,
    CLAIM_NOT_ALLOWED,
    SERVICE_CONFLICT,
    DEPLOYMENT_CONFLICT,
    CONFIG_MAP_CONFLICT,
    JOB_CONFLICT,
    PUSH_REFUSED,
    REFUSED,
    IMAGE_PULL_FAILED,
    CONTAINER_FAILED,
    BUILD_FAILED,
    CRASH_LOOP,
    REF_NOT_FOUND,
    AUTHENTICATION_FAILED,
    LOOK_FAILED,
    FETCH_FAILED,
];

/// Whether a Function that is not ready for this reason stays so until somebody does something.
#[must_use]
pub fn needs_help(reason: &str) -> bool {
    NEED_HELP.contains(&reason)
}

/// Those of them that the cluster itself tries again after a while, so that they may outlast what somebody has
/// done about them.
const TRIED_AGAIN: [&str; 10] = [
    JOB_CONFLICT,
    PUSH_REFUSED,
    IMAGE_PULL_FAILED,
    CONTAINER_FAILED,
    BUILD_FAILED,
    CRASH_LOOP,
    REF_NOT_FOUND,
    AUTHENTICATION_FAILED,
    LOOK_FAILED,
    FETCH_FAILED,
];

/// Whether a failure may be told although its cause is gone already.
#[must_use]
pub fn is_tried_again(reason: &str) -> bool {
    TRIED_AGAIN.contains(&reason)
}
