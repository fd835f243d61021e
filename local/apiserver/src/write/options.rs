//! The options of a write: what may be tried only, who writes, and what of an object is looked at.

use http::{Method, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    apply::managers::{Manager, Operation},
    decode::{Validation, requests},
    media,
    request::Call,
    resource::Resource,
    status::{Failure, FieldError},
};

/// The longest name of a manager.
const MAX_MANAGER: usize = 128;

/// The options of everything that is written but not deleted.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) validation: Validation,
    pub(crate) force: bool,
    /// The manager was named, not guessed.
    pub(crate) named: bool,
}

/// The options of a deletion.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteOptions {
    #[serde(default)]
    pub(super) grace_period_seconds: Option<i64>,
    #[serde(default)]
    pub(super) propagation_policy: Option<String>,
    #[serde(default)]
    pub(super) orphan_dependents: Option<bool>,
    #[serde(default)]
    pub(super) preconditions: Option<Preconditions>,
    #[serde(default)]
    pub(super) dry_run: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preconditions {
    #[serde(default)]
    pub(super) uid: Option<String>,
    #[serde(default)]
    pub(super) resource_version: Option<String>,
}

// === impl WriteOptions ===

impl WriteOptions {
    pub(crate) fn new(call: &Call) -> Result<Self, Failure> {
        let kind = match call.method {
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "CreateOptions",
        };
        let refuse = |error| Failure::options(kind, error);
        let given = call.query.get("fieldManager");
        if let Some(name) = given {
            if name.len() > MAX_MANAGER {
                let error = FieldError::too_long("fieldManager", MAX_MANAGER as u64);
                return Err(refuse(error));
            }
            if name.chars().any(char::is_control) {
                let why = "should only contain printable characters";
                return Err(refuse(FieldError::invalid(
                    "fieldManager",
                    &json!(name),
                    why,
                )));
            }
        }
        let force = call.query.flag("force");
        if force && call.method == Method::PATCH && call.content_type() != media::APPLY_PATCH {
            let why = "may not be specified for non-apply patch";
            return Err(refuse(FieldError::forbidden("force", why)));
        }
        Ok(Self {
            dry_run: dry_run(call.query.all("dryRun")).map_err(refuse)?,
            manager: given.map_or_else(|| agent(call), str::to_owned),
            validation: Validation::parse(call.query.get("fieldValidation")).map_err(refuse)?,
            force,
            named: given.is_some(),
        })
    }

    pub(crate) fn manager(&self, resource: &Resource, operation: Operation, part: &str) -> Manager {
        Manager {
            name: self.manager.clone(),
            operation,
            api_version: resource.api_version(),
            subresource: part.to_owned(),
        }
    }
}

/// Whether a write is only to be tried.
fn dry_run<'a>(given: impl Iterator<Item = &'a str>) -> Result<bool, FieldError> {
    let given: Vec<&str> = given.collect();
    if given.iter().any(|value| *value != "All") {
        let supported = ["\"All\"".to_owned()];
        return Err(FieldError::not_supported(
            "dryRun",
            &json!(given),
            &supported,
        ));
    }
    Ok(!given.is_empty())
}

/// A client that does not name itself goes by its user agent, up to the slash.
fn agent(call: &Call) -> String {
    let agent = call.headers.get(header::USER_AGENT);
    let agent = agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name.chars().take(MAX_MANAGER).collect()
    }
}

// === impl DeleteOptions ===

impl DeleteOptions {
    pub(crate) fn new(call: &Call) -> Result<Self, Failure> {
        let content_type = call.content_type();
        let mut options: Self = requests::options(&call.body, content_type)?;
        if let Some(grace) = call.query.number("gracePeriodSeconds")? {
            options.grace_period_seconds = Some(grace);
        }
        if let Some(policy) = call.query.get("propagationPolicy") {
            options.propagation_policy = Some(policy.to_owned());
        }
        if call.query.get("orphanDependents").is_some() {
            options.orphan_dependents = Some(call.query.flag("orphanDependents"));
        }
        options.try_only(call)?;
        if let Some(policy) = options.propagation_policy.as_deref()
            && !matches!(policy, "Foreground" | "Background" | "Orphan")
        {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported(
                "propagationPolicy",
                &json!(policy),
                &supported.map(|one| format!("{one:?}")),
            );
            return Err(refuse(error));
        }
        Ok(options)
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|given| !given.is_empty())
    }

    /// Of an eviction, whose body has the options of the deletion in it.
    ///
    /// # Errors
    ///
    /// When they are no options, or ask to be tried in a way that there is not.
    pub(crate) fn of_eviction(call: &Call, body: &Value) -> Result<Self, Failure> {
        let mut options: Self = match &body["deleteOptions"] {
            Value::Null => Self::default(),
            given => serde_json::from_value(given.clone()).map_err(|error| {
                Failure::bad_request(format!("error decoding deleteOptions: {error}"))
            })?,
        };
        options.try_only(call)?;
        Ok(options)
    }

    /// Adds what the query says of trying.
    fn try_only(&mut self, call: &Call) -> Result<(), Failure> {
        let given = self.dry_run.iter().flatten().map(String::as_str);
        if dry_run(given.chain(call.query.all("dryRun"))).map_err(refuse)? {
            self.dry_run = Some(vec!["All".to_owned()]);
        }
        Ok(())
    }
}

fn refuse(error: FieldError) -> Failure {
    Failure::options("DeleteOptions", error)
}
