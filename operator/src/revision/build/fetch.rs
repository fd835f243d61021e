//! The init container that fetches the source files of a Revision from a git repository.

use fermata_crds::{GitSource, Revision, names};
use k8s_openapi::{
    api::core::v1::{
        Container, EmptyDirVolumeSource, EnvVar, SecretVolumeSource, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::env;
use crate::options::Options;

/// The most that the files may take on the node. The fetch itself stops earlier; this is for what gets by it.
const MOST_SOURCE: &str = "256Mi";

/// The most that git may need besides.
const MOST_SCRATCH: &str = "1Gi";

/// Seconds that a fetch may take.
const TIMEOUT: &str = "300";

/// The repository of the Revision, and the commit, if its source is in one.
pub(crate) fn of(revision: &Revision) -> Option<(&GitSource, &str)> {
    let git = revision.spec.template.source.as_ref()?.git.as_ref()?;
    Some((git, revision.spec.commit.as_deref().unwrap_or_default()))
}

/// The volumes of the fetch, that with the files included.
pub(crate) fn volumes(git: &GitSource) -> Vec<Volume> {
    let mut volumes = vec![
        empty(names::SOURCE_VOLUME, MOST_SOURCE),
        empty(names::FETCH_VOLUME, MOST_SCRATCH),
    ];
    volumes.extend(credentials(git));
    volumes
}

/// The init container.
pub(crate) fn container(
    revision: &Revision,
    git: &GitSource,
    commit: &str,
    options: &Options,
) -> Container {
    let image = revision.spec.runtime.as_ref();
    let image = image.and_then(|runtime| runtime.git_image.clone());
    let mut env = variables(git, options);
    env.push(env::variable("FERMATA_GIT_COMMIT", commit));
    env.push(env::variable("FERMATA_TARGET", names::SOURCE_PATH));
    env.push(env::variable("FERMATA_GIT_TIMEOUT", TIMEOUT));
    let mut mounts = mounts(git);
    mounts.push(mounted(names::SOURCE_VOLUME, names::SOURCE_PATH, false));
    Container {
        name: names::FETCH_CONTAINER.to_owned(),
        image: Some(image.unwrap_or_else(|| options.git_image.clone())),
        command: Some(command(&[])),
        env: Some(env),
        resources: revision
            .spec
            .template
            .resources
            .clone()
            .or_else(|| options.functions.resources.clone()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        working_dir: Some(names::FETCH_PATH.to_owned()),
        ..Container::default()
    }
}

/// The program, with what it is to do besides.
pub(crate) fn command(more: &[&str]) -> Vec<String> {
    let command = ["fermata-invoker", "fetch"].iter().chain(more);
    command.map(|&part| part.to_owned()).collect()
}

/// What the program is told of the repository.
pub(crate) fn variables(git: &GitSource, options: &Options) -> Vec<EnvVar> {
    let literal = |name, value: &str| env::variable(name, &env::literal(value));
    let mut variables = vec![
        literal("FERMATA_GIT_URL", &options.repository(&git.url)),
        literal("FERMATA_GIT_REF", git.reference()),
        literal("HOME", names::FETCH_PATH),
    ];
    if let Some(path) = &git.path {
        variables.push(literal("FERMATA_GIT_PATH", path));
    }
    if git.secret_name.is_some() {
        variables.push(literal("FERMATA_GIT_CREDENTIALS", names::GIT_PATH));
    }
    variables.extend(env::proxy(options));
    if git.is_bundle() {
        variables.push(literal("FERMATA_GIT_VERBATIM", "1"));
    }
    variables
}

/// Where the program works, and finds the Secret.
pub(crate) fn mounts(git: &GitSource) -> Vec<VolumeMount> {
    let mut mounts = vec![mounted(names::FETCH_VOLUME, names::FETCH_PATH, false)];
    if git.secret_name.is_some() {
        mounts.push(mounted(names::GIT_VOLUME, names::GIT_PATH, true));
    }
    mounts
}

/// The volume with the Secret. One that is not there is told by the program, at once and in words.
pub(crate) fn credentials(git: &GitSource) -> Option<Volume> {
    let secret = git.secret_name.as_ref()?;
    Some(Volume {
        name: names::GIT_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.clone()),
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    })
}

pub(crate) fn mounted(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

pub(crate) fn empty(name: &str, most: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(most.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}
