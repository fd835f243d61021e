//! What of a Revision never changes.

use super::{Rule, rule};

/// Rules for a Revision's `spec`.
pub(crate) const REVISION: &[Rule] = &[
    rule(
        "functionName",
        "self == oldSelf",
        "a Revision belongs to one Function for good",
    ),
    rule(
        "template",
        "self == oldSelf",
        "a Revision's template never changes; change the Function, which makes a new Revision",
    ),
    rule(
        "",
        "has(self.commit) == has(oldSelf.commit) && (!has(self.commit) || self.commit == oldSelf.commit)",
        "a Revision's commit never changes; another commit makes a new Revision",
    ),
    rule(
        "",
        "has(self.buildRequested) == has(oldSelf.buildRequested) && (!has(self.buildRequested) || self.buildRequested == oldSelf.buildRequested)",
        "a Revision's buildRequested never changes; annotate the Function, which makes a new Revision",
    ),
    rule(
        "",
        "has(self.runtime) == has(oldSelf.runtime) && (!has(self.runtime) || self.runtime == oldSelf.runtime)",
        "a Revision's runtime never changes; change the Function, which makes a new Revision",
    ),
];
