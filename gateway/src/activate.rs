//! Waking a function that rests at zero: asking for replicas, finding out at once when they take
//! requests, and finding out at once when they never will.

pub mod cold;
pub mod doom;
pub mod probe;
pub mod wake;
