//! Step two: whether the Function can work. Pure. What the CRD's own rules refuse is not looked at
//! again.

use std::borrow::Cow;

use fermata_crds::{
    Function, GitSource, Runtime, RuntimeBuild, Scale, Source, Template, Trigger,
    conditions::{self, Outcome, Status},
    names,
    recurrence::{Recurrence, RecurrenceError},
    revision::ResolvedRuntime,
    source_files::{MOST_SOURCE_BYTES, MOST_SOURCE_FILES, PathError, SourceFiles},
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    dereference::{FoundSource, Inputs, held_files},
    hash::TemplateHash,
    valid::Valid,
};
use crate::{
    options::Options,
    reasons,
    revision::build::{self, BuildError},
};

/// The longest text that asks for another build, in bytes.
const LONGEST_REQUEST: usize = 253;

/// Why a Function cannot work as it is.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum Invalid {
    /// The schedule's time cannot be read, or never comes.
    #[error("scale.schedules[{index}]: {error}")]
    Schedule {
        /// Which schedule.
        index: usize,
        /// What is wrong with it.
        error: RecurrenceError,
    },
    /// The trigger's time cannot be read, or never comes.
    #[error("the trigger {name}: {error}")]
    Trigger {
        /// Which trigger.
        name: String,
        /// What is wrong with it.
        error: RecurrenceError,
    },
    /// The clock for the first byte could never run out.
    #[error(
        "timeouts.firstByte ({first_byte}) is longer than timeouts.request ({request}); make it at most as long"
    )]
    FirstByte {
        /// The time until the head of the response.
        first_byte: String,
        /// The time for the whole request.
        request: String,
    },
    /// Nothing may be built of it.
    #[error(transparent)]
    Build(BuildError),
    /// The Runtime does not exist.
    #[error(
        "there is no Runtime named {0}; see kubectl get runtimes for those there are, or create it"
    )]
    RuntimeNotFound(String),
    /// Nobody says what to call.
    #[error("the Runtime {0} has no default handler; name what to call in source.handler")]
    NoHandler(String),
    /// The ConfigMap does not exist.
    #[error("there is no ConfigMap named {0} in the function's namespace; create it")]
    SourceNotFound(String),
    /// The ConfigMap holds nothing.
    #[error("the ConfigMap {0} has no data; put the source files into it")]
    SourceEmpty(String),
    /// A file cannot be where it should be.
    #[error("the source file {path:?}: {error}")]
    SourcePath {
        /// The file.
        path: String,
        /// What is wrong with its path.
        error: PathError,
    },
    /// There is too much source.
    #[error(
        "the source files are {size} bytes together, more than {MOST_SOURCE_BYTES}; build an image instead"
    )]
    SourceTooLarge {
        /// All files together, in bytes.
        size: usize,
    },
    /// There are too many files.
    #[error("there are {0} source files, more than {MOST_SOURCE_FILES}; build an image instead")]
    TooManyFiles(usize),
    /// It is not known which commit the git source is at.
    #[error("{message}")]
    Unresolved {
        /// Whether that may come by itself.
        status: Status,
        /// The reason, as the condition SourceResolved has it.
        reason: String,
        /// What the look said.
        message: String,
    },
    /// The Runtime installs no dependencies.
    #[error("the Runtime {0} installs no dependencies; take source.build out of the manifest")]
    NoBuild(String),
}

/// Checks the Function as of `now` and puts in what it refers to.
pub(crate) fn validate(
    inputs: &Inputs,
    options: &Options,
    now: Timestamp,
) -> Result<Valid, Invalid> {
    let spec = &inputs.function.spec;
    check_schedules(&spec.scale(), now)?;
    check_triggers(spec.triggers(), now)?;
    check_timeouts(&spec.template)?;
    let valid = resolve(inputs, options)?;
    // The name of a Revision makes no difference to what its pods may do.
    let revision = valid.revision(&inputs.function, &inputs.function.name_any());
    build::pod_template(&revision, options).map_err(Invalid::Build)?;
    Ok(valid)
}

/// Puts in what the Function refers to.
fn resolve(inputs: &Inputs, options: &Options) -> Result<Valid, Invalid> {
    let spec = &inputs.function.spec;
    let scale = spec.scale.clone();
    let Some(source) = &spec.template.source else {
        return Ok(Valid {
            template: spec.template.clone(),
            runtime: None,
            hash: TemplateHash::of(&spec.template, None, None, None),
            build_requested: None,
            commit: None,
            scale,
        });
    };
    let commit = commit(inputs)?;
    let files = files(inputs, source)?;
    let runtime = inputs.runtime.as_ref();
    let runtime = runtime.ok_or_else(|| Invalid::RuntimeNotFound(source.runtime.clone()))?;
    let build = build_of(&files, source, runtime)?;
    let build_requested = build.and_then(|_| build_requested(&inputs.function));
    let hash = TemplateHash::of(
        &spec.template,
        Some(&files),
        build_requested.as_deref(),
        commit.as_deref(),
    );
    let mut resolved = Source {
        runtime: source.runtime.clone(),
        handler: Some(handler(source, runtime)?),
        build: source.build.clone(),
        git: source.git.clone().map(|git| GitSource {
            poll: None,
            webhook: None,
            ..git
        }),
        ..Source::default()
    };
    files.into_owned().put(&mut resolved);
    Ok(Valid {
        template: Template {
            source: Some(resolved),
            ..spec.template.clone()
        },
        runtime: Some(ResolvedRuntime {
            image: runtime.spec.image.clone(),
            command: runtime.spec.command.clone(),
            env: runtime.spec.env.clone(),
            build: build.cloned(),
            git_image: source.git.as_ref().map(|_| options.git_image.clone()),
        }),
        hash,
        build_requested,
        commit,
        scale,
    })
}

/// The commit that the Function's git source is at, as far as it is known.
fn commit(inputs: &Inputs) -> Result<Option<String>, Invalid> {
    let Some(look) = &inputs.look else {
        return Ok(None);
    };
    if let Some(commit) = &look.status.commit {
        return Ok(Some(commit.clone()));
    }
    let Outcome {
        status,
        reason,
        message,
        ..
    } = look.outcome.clone();
    Err(Invalid::Unresolved {
        status,
        reason,
        message,
    })
}

fn handler(source: &Source, runtime: &Runtime) -> Result<String, Invalid> {
    let given = source.handler.as_ref().or(runtime.spec.handler.as_ref());
    given
        .filter(|handler| !handler.trim().is_empty())
        .cloned()
        .ok_or_else(|| Invalid::NoHandler(source.runtime.clone()))
}

/// How the Runtime installs the dependencies that the files name, if they name some.
fn build_of<'a>(
    files: &SourceFiles,
    source: &Source,
    runtime: &'a Runtime,
) -> Result<Option<&'a RuntimeBuild>, Invalid> {
    let Some(build) = &runtime.spec.build else {
        return match source.build {
            Some(_) => Err(Invalid::NoBuild(source.runtime.clone())),
            None => Ok(None),
        };
    };
    // What a repository names is seen when its files are there.
    let named = source.git.is_some() || files.iter().any(|(path, _)| build.is_input(path));
    Ok(named.then_some(build))
}

/// What asks for another build of the same.
fn build_requested(function: &Function) -> Option<String> {
    let requested = function.annotations().get(names::BUILD_ANNOTATION)?;
    Some(conditions::shortened(requested, LONGEST_REQUEST).into_owned())
}

fn files<'a>(inputs: &'a Inputs, source: &'a Source) -> Result<Cow<'a, SourceFiles>, Invalid> {
    let name = || {
        let config_map = source.config_map.as_ref();
        config_map
            .map(|config_map| config_map.name.clone())
            .unwrap_or_default()
    };
    let files = match &inputs.source {
        FoundSource::None | FoundSource::Inline | FoundSource::Git => {
            Cow::Owned(SourceFiles::of(source))
        }
        FoundSource::Missing => return Err(Invalid::SourceNotFound(name())),
        FoundSource::ConfigMap(content) => {
            if content.files.is_empty() {
                return Err(Invalid::SourceEmpty(name()));
            }
            Cow::Borrowed(&content.files)
        }
        FoundSource::Held(revision) => Cow::Owned(held_files(revision)),
    };
    let number = files.text.len() + files.binary.len();
    if number > MOST_SOURCE_FILES {
        return Err(Invalid::TooManyFiles(number));
    }
    let size = files.size();
    if size > MOST_SOURCE_BYTES {
        return Err(Invalid::SourceTooLarge { size });
    }
    files
        .check_paths()
        .map_err(|(path, error)| Invalid::SourcePath { path, error })?;
    Ok(files)
}

fn check_schedules(scale: &Scale, now: Timestamp) -> Result<(), Invalid> {
    for (index, schedule) in scale.schedules().iter().enumerate() {
        Recurrence::of(schedule)
            .and_then(|recurrence| recurrence.check_occurs(now))
            .map_err(|error| Invalid::Schedule { index, error })?;
    }
    Ok(())
}

fn check_triggers(triggers: &[Trigger], now: Timestamp) -> Result<(), Invalid> {
    for trigger in triggers {
        let Some(schedule) = &trigger.schedule else {
            continue;
        };
        Recurrence::new(&schedule.cron, schedule.timezone.as_deref())
            .and_then(|recurrence| recurrence.check_occurs(now))
            .map_err(|error| Invalid::Trigger {
                name: trigger.name.clone(),
                error,
            })?;
    }
    Ok(())
}

fn check_timeouts(template: &Template) -> Result<(), Invalid> {
    let timeouts = template.timeouts();
    if timeouts.first_byte() > timeouts.request() {
        return Err(Invalid::FirstByte {
            first_byte: format!("{:?}", timeouts.first_byte()),
            request: format!("{:?}", timeouts.request()),
        });
    }
    Ok(())
}

// === impl Invalid ===

impl Invalid {
    /// Whether the Function waits for something, or for somebody.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Unresolved { status, .. } => *status,
            _ => Status::False,
        }
    }

    /// The reason for the Function's conditions.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unresolved { reason, .. } => reason,
            Self::RuntimeNotFound(_) => reasons::RUNTIME_NOT_FOUND,
            Self::SourceNotFound(_) => reasons::SOURCE_NOT_FOUND,
            Self::SourceEmpty(_)
            | Self::SourcePath { .. }
            | Self::SourceTooLarge { .. }
            | Self::TooManyFiles(_) => reasons::INVALID_SOURCE,
            Self::Schedule { .. }
            | Self::Trigger { .. }
            | Self::FirstByte { .. }
            | Self::NoHandler(_)
            | Self::NoBuild(_) => reasons::INVALID_SPEC,
            Self::Build(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests;
