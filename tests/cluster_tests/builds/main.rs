//! Functions that are built into images of a registry. Each test has its own namespace, and with it its own repository
//! and its own layers.

mod builds_failing;
mod builds_guarded;
mod builds_shared;
mod world;
