//! The build of a function: how far it is, and what it says.

mod log;
mod progress;
mod show;

use fermata_crds::{Function, conditions, reasons};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub(crate) use self::{
    log::{Build, follow, newest, print},
    show::Show,
};

/// What is told of a function's newest build; nothing if it is not built.
pub(crate) fn condition(function: &Function) -> Option<&Condition> {
    let status = function.status.as_ref()?;
    conditions::find(&status.conditions, conditions::BUILT)
}

/// Whether the newest build is under way, and nothing keeps it from that.
pub(crate) fn is_running(function: &Function) -> bool {
    let status = function.status.as_ref();
    let ready = status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let is_held_up = ready.is_some_and(|ready| ready.status == "False");
    let built = condition(function);
    !is_held_up
        && built.is_some_and(|built| {
            let under_way = [reasons::BUILDING, reasons::BUILD_QUEUED];
            built.status == "Unknown" && under_way.contains(&built.reason.as_str())
        })
}

/// How far the build of the newest Revision is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// None is known of.
    Nothing,
    /// It runs, or may begin at any time.
    UnderWay,
    Done,
    Failed,
}

fn stage(function: &Function) -> Stage {
    match condition(function).map(|built| built.status.as_str()) {
        Some("True") => Stage::Done,
        Some("False") => Stage::Failed,
        Some(_) => Stage::UnderWay,
        // A Revision is there before anything is told of its build.
        None if function.spec.template.source.is_some() && is_starting(function) => Stage::UnderWay,
        None => Stage::Nothing,
    }
}

fn is_starting(function: &Function) -> bool {
    let Some(status) = &function.status else {
        return false;
    };
    let ready = conditions::find(&status.conditions, conditions::READY);
    ready.is_some_and(|ready| ready.status == "Unknown")
        && status.latest_created_revision != status.latest_ready_revision
}

#[cfg(test)]
mod tests {
    use fermata_crds::{FunctionSpec, FunctionStatus, Source};
    use serde_json::json;

    use super::*;

    fn function(conditions: &[(&str, &str, &str)]) -> Function {
        let mut function = Function::new("hello", FunctionSpec::default());
        function.spec.template.source = Some(Source::default());
        let conditions = conditions.iter().map(|(kind, status, reason)| {
            json!({"type": kind, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        });
        let status = json!({"latestCreatedRevision": "hello-00001",
            "conditions": conditions.collect::<Vec<_>>()});
        function.status = Some(serde_json::from_value::<FunctionStatus>(status).unwrap());
        function
    }

    #[test]
    fn a_build_goes_from_the_revision_to_its_end() {
        let starting = ("Ready", "Unknown", "Deploying");
        assert_eq!(stage(&function(&[starting])), Stage::UnderWay);
        let building = ("Built", "Unknown", "Building");
        assert_eq!(stage(&function(&[starting, building])), Stage::UnderWay);
        let built = ("Built", "True", "Built");
        assert_eq!(stage(&function(&[starting, built])), Stage::Done);
        let failed = ("Built", "False", "BuildFailed");
        assert_eq!(stage(&function(&[failed])), Stage::Failed);
        let mut image = function(&[starting]);
        image.spec.template.source = None;
        assert_eq!(stage(&image), Stage::Nothing);
    }

    #[test]
    fn what_holds_a_build_up_takes_time_that_counts() {
        let building = ("Built", "Unknown", "Building");
        assert!(is_running(&function(&[building])));
        assert!(is_running(&function(&[
            ("Ready", "Unknown", "Building"),
            building
        ])));
        assert!(!is_running(&function(&[
            ("Ready", "False", "Unschedulable"),
            building
        ])));
        assert!(!is_running(&function(&[(
            "Built",
            "Unknown",
            "RegistryUnreachable"
        )])));
    }
}
