//! What the gateway knows of the cluster: compact copies of the few facts it needs, and handles that
//! requests hold on to.

pub mod deployment;
pub mod endpoint;
pub mod function;
pub mod lean;
pub mod ownership;
pub mod peers;
pub mod pod;
pub mod revision;
pub mod role;
pub mod router;
pub mod settings;
pub mod table;
pub mod watch;
pub mod world;
