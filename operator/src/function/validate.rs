//! Step two: whether the Function can work. Pure. What the CRD's own rules refuse is not looked at
//! again.

use std::collections::BTreeMap;

use fermata_crds::{
    Runtime, Scale, Source, Template,
    recurrence::{Recurrence, RecurrenceError},
    revision::ResolvedRuntime,
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    dereference::{Inputs, SourceFiles, held_files},
    hash::TemplateHash,
    valid::Valid,
};
use crate::{
    options::Options,
    reasons,
    revision::build::{self, BuildError},
};

/// Together the files must fit into one ConfigMap, and into a Revision with everything else.
const MOST_SOURCE_BYTES: usize = 900 * 1024;

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
    /// The ConfigMap holds something that is not text.
    #[error("the ConfigMap {config_map} has binary content under {keys}; source files are text")]
    SourceBinary {
        /// Name of the ConfigMap.
        config_map: String,
        /// The keys with binary content.
        keys: String,
    },
    /// There is too much source.
    #[error(
        "the source files are {size} bytes together, more than {MOST_SOURCE_BYTES}; build an image instead"
    )]
    SourceTooLarge {
        /// All files together, in bytes.
        size: usize,
    },
}

/// Checks the Function as of `now` and puts in what it refers to.
pub(crate) fn validate(
    inputs: &Inputs,
    options: &Options,
    now: Timestamp,
) -> Result<Valid, Invalid> {
    let spec = &inputs.function.spec;
    check_schedules(&spec.scale(), now)?;
    check_timeouts(&spec.template)?;
    let valid = resolve(inputs)?;
    // The name of a Revision makes no difference to what its pods may do.
    let revision = valid.revision(&inputs.function, &inputs.function.name_any());
    build::pod_template(&revision, options).map_err(Invalid::Build)?;
    Ok(valid)
}

/// Puts in what the Function refers to.
fn resolve(inputs: &Inputs) -> Result<Valid, Invalid> {
    let spec = &inputs.function.spec;
    let scale = spec.scale.clone();
    let Some(source) = &spec.template.source else {
        return Ok(Valid {
            template: spec.template.clone(),
            runtime: None,
            hash: TemplateHash::of(&spec.template, None),
            scale,
        });
    };
    let files = files(inputs, source)?;
    let runtime = inputs.runtime.as_ref();
    let runtime = runtime.ok_or_else(|| Invalid::RuntimeNotFound(source.runtime.clone()))?;
    let hash = TemplateHash::of(&spec.template, Some(files));
    let resolved = Source {
        runtime: source.runtime.clone(),
        handler: Some(handler(source, runtime)?),
        files: Some(files.clone()),
        config_map: None,
    };
    Ok(Valid {
        template: Template {
            source: Some(resolved),
            ..spec.template.clone()
        },
        runtime: Some(ResolvedRuntime {
            image: runtime.spec.image.clone(),
            command: runtime.spec.command.clone(),
            env: runtime.spec.env.clone(),
        }),
        hash,
        scale,
    })
}

fn handler(source: &Source, runtime: &Runtime) -> Result<String, Invalid> {
    let given = source.handler.as_ref().or(runtime.spec.handler.as_ref());
    given
        .filter(|handler| !handler.trim().is_empty())
        .cloned()
        .ok_or_else(|| Invalid::NoHandler(source.runtime.clone()))
}

fn files<'a>(
    inputs: &'a Inputs,
    source: &'a Source,
) -> Result<&'a BTreeMap<String, String>, Invalid> {
    let name = || {
        let config_map = source.config_map.as_ref();
        config_map
            .map(|config_map| config_map.name.clone())
            .unwrap_or_default()
    };
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let files = match &inputs.source {
        SourceFiles::None | SourceFiles::Inline => source.files.as_ref().unwrap_or(&NONE),
        SourceFiles::Missing => return Err(Invalid::SourceNotFound(name())),
        SourceFiles::ConfigMap(content) => {
            if !content.binary.is_empty() {
                return Err(Invalid::SourceBinary {
                    config_map: name(),
                    keys: content.binary.join(", "),
                });
            }
            if content.files.is_empty() {
                return Err(Invalid::SourceEmpty(name()));
            }
            &content.files
        }
        SourceFiles::Held(revision) => held_files(revision).unwrap_or(&NONE),
    };
    let size = files
        .iter()
        .map(|(name, text)| name.len() + text.len())
        .sum();
    if size > MOST_SOURCE_BYTES {
        return Err(Invalid::SourceTooLarge { size });
    }
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
    /// The reason for the Function's conditions.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::RuntimeNotFound(_) => reasons::RUNTIME_NOT_FOUND,
            Self::SourceNotFound(_) => reasons::SOURCE_NOT_FOUND,
            Self::SourceEmpty(_) | Self::SourceBinary { .. } | Self::SourceTooLarge { .. } => {
                reasons::INVALID_SOURCE
            }
            Self::Schedule { .. } | Self::FirstByte { .. } | Self::NoHandler(_) => {
                reasons::INVALID_SPEC
            }
            Self::Build(error) => error.reason(),
        }
    }
}

#[cfg(test)]
mod tests;
