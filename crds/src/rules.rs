//! The rules a manifest has to keep, as CEL
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>),
//! so that the API server itself refuses a bad one with a sentence that says what to do.

mod function;
mod revision;
mod runtime;
mod scale;
mod template;

pub(crate) use self::{
    function::{FUNCTION, FUNCTION_ROOT},
    revision::REVISION,
    runtime::RUNTIME,
    scale::SCALE,
    template::TEMPLATE,
};

/// One rule at one place of a schema.
pub(crate) struct Rule {
    /// Property names from the root of the schema; `[]` steps into the items of a list.
    pub(crate) path: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) message: &'static str,
}

const fn rule(path: &'static str, rule: &'static str, message: &'static str) -> Rule {
    Rule {
        path,
        rule,
        message,
    }
}

/// A duration between two others, both included. No number is so long that `duration()` overflows within
/// the bound on the length of such texts.
macro_rules! duration {
    ($path:literal, $least:literal, $most:literal) => {
        rule(
            $path,
            concat!(
                "self.matches('^(([0-9]{1,5}([.][0-9]{1,9})?h)|([0-9]{1,7}([.][0-9]{1,9})?m)",
                "|([0-9]{1,9}([.][0-9]{1,9})?s)|([0-9]{1,12}([.][0-9]{1,9})?ms)",
                "|([0-9]{1,15}([.][0-9]{1,9})?(us|µs))|([0-9]{1,18}ns))+$')",
                " && duration(self) >= duration('",
                $least,
                "') && duration(self) <= duration('",
                $most,
                "')"
            ),
            concat!(
                "must be a duration from ",
                $least,
                " to ",
                $most,
                ", written like 300ms, 30s, 5m or 1h30m"
            ),
        )
    };
}

use duration;

/// Five cron fields.
const CRON: &str = "self.matches('^[0-9*/,A-Za-z#?-]+( +[0-9*/,A-Za-z#?-]+){4}$')";
const CRON_MESSAGE: &str = "cron must be five fields: minute hour day-of-month month day-of-week, such as \"0 8 * * MON-FRI\"";

/// A time zone by its name.
const TIMEZONE: &str = "self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$')";
const TIMEZONE_MESSAGE: &str = "timezone must be an IANA name such as Europe/Berlin";
