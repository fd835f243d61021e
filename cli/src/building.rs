//! The build of a function: how far it is, and what it says.

mod log;
mod show;

use fermata_crds::{Function, conditions};
use fermata_operator::reasons;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub(crate) use self::{
    log::{follow, newest, print},
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
        && built.is_some_and(|built| built.status == "Unknown" && built.reason == reasons::BUILDING)
}
