//! What a Runtime has to name.

use super::{Rule, rule};

/// Rules for a Runtime's `spec`.
pub(crate) const RUNTIME: &[Rule] = &[
    rule(
        "image",
        "self.matches('^[^\\\\s]+$')",
        "image must be a reference without white space",
    ),
    rule(
        "command",
        "size(self) > 0",
        "a Runtime needs a command that serves HTTP on $PORT",
    ),
    rule(
        "build.image",
        "self.matches('^[^\\\\s]+$')",
        "build.image must be a reference without white space",
    ),
    rule(
        "build.command",
        "size(self) > 0",
        "build needs a command that installs dependencies into $FERMATA_TARGET",
    ),
    rule(
        "build.inputs",
        "size(self) > 0 && self.all(pattern, pattern != '' && !pattern.startsWith('/'))",
        "build.inputs are patterns of relative paths such as requirements*.txt; leave it out for all files",
    ),
    rule(
        "build.target",
        "self.matches('^(/[A-Za-z0-9._-]+)+$') && !self.matches('/[.]{1,2}(/|$)') && !self.matches('^/(function|source|tmp|proc|dev|sys)(/|$)')",
        "build.target is an absolute path of letters, digits, '.', '_' and '-', such as /dependencies, and not below /function, /source, /tmp, /proc, /dev or /sys",
    ),
];
