//! Waking a function that rests at zero: asking for replicas, finding out at once when they take requests,
//! and finding out at once when they never will.

pub(crate) mod cold_start;
pub(crate) mod probe;
pub(crate) mod wake;
