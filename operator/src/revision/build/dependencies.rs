//! The init container that installs a function's dependencies, and what it shares with the function.

use fermata_crds::{BuildOptions, Revision, RuntimeBuild, names};
use k8s_openapi::api::core::v1::{Container, EnvVar, Volume, VolumeMount};

use super::{
    config_map, env,
    fetch::{self, empty},
};
use crate::options::Options;

/// The most that the dependencies may take on the node. The installation itself stops earlier; this is for what
/// gets by it.
const MOST_DEPENDENCIES: &str = "2Gi";

/// The most that the installation may need besides.
const MOST_SCRATCH: &str = "4Gi";

/// The volumes of the installation.
pub(crate) fn volumes(revision: &Revision, build: &RuntimeBuild) -> Vec<Volume> {
    let mut volumes = vec![
        empty(names::DEPENDENCIES_VOLUME, MOST_DEPENDENCIES),
        empty(names::BUILD_VOLUME, MOST_SCRATCH),
    ];
    if fetch::of(revision).is_none() {
        let inputs =
            config_map::volume(revision, names::INPUTS_VOLUME, |path| build.is_input(path));
        volumes.insert(0, inputs);
    }
    volumes
}

/// Where the function finds the dependencies.
pub(crate) fn mount(build: &RuntimeBuild) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mounted(names::DEPENDENCIES_VOLUME, &build.target)
    }
}

/// The init container.
pub(crate) fn container(revision: &Revision, build: &RuntimeBuild, options: &Options) -> Container {
    let template = &revision.spec.template;
    let source = template.source.as_ref();
    let own = source.map(fermata_crds::Source::build).unwrap_or_default();
    // Which files of a repository are inputs is not known before they are fetched.
    let inputs = match fetch::of(revision) {
        Some(_) => names::SOURCE_VOLUME,
        None => names::INPUTS_VOLUME,
    };
    let resources = own.resources.clone().or_else(|| template.resources.clone());
    Container {
        name: names::BUILD_CONTAINER.to_owned(),
        image: Some(build.image.clone()),
        command: Some(build.command.clone()),
        env: Some(environment(build, &own, options)),
        resources: resources.or_else(|| options.functions.resources.clone()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![
            VolumeMount {
                read_only: Some(true),
                ..mounted(inputs, names::INPUTS_PATH)
            },
            mounted(names::DEPENDENCIES_VOLUME, &build.target),
            mounted(names::BUILD_VOLUME, names::BUILD_PATH),
        ]),
        working_dir: Some(names::INPUTS_PATH.to_owned()),
        ..Container::default()
    }
}

/// Fermata's own variables, then the Runtime's and the function's, where the function's go first, then the proxy.
fn environment(build: &RuntimeBuild, own: &BuildOptions, options: &Options) -> Vec<EnvVar> {
    let seconds = own.timeout().as_secs().max(1).to_string();
    let system = [
        ("FERMATA_TARGET", build.target.as_str()),
        ("FERMATA_BUILD_TIMEOUT", &seconds),
    ];
    let mut all: Vec<EnvVar> = system
        .into_iter()
        .map(|(name, value)| env::variable(name, value))
        .collect();
    let given = own.env.iter().flatten().chain(build.env.iter().flatten());
    let home = env::variable("HOME", names::BUILD_PATH);
    for variable in given.chain([&home]) {
        if all.iter().all(|other| other.name != variable.name) {
            all.push(variable.clone());
        }
    }
    // Whoever names a proxy of their own means it, however it is written.
    let named = |name: &str| all.iter().any(|own| own.name.eq_ignore_ascii_case(name));
    let mut proxy = env::proxy(options);
    proxy.retain(|variable| !named(&variable.name));
    all.extend(proxy);
    all
}

fn mounted(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}
