//! What a request holds on to: Functions, Revisions and their instances, and the queue in which it waits for
//! one. Handles are shared with whatever watches, starts and scales them; none of that is known here.

pub(crate) mod deployment;
pub(crate) mod endpoint;
pub(crate) mod function;
pub(crate) mod function_facts;
pub(crate) mod load;
pub(crate) mod pick;
pub(crate) mod pod;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod revision;
pub(crate) mod role;
pub(crate) mod router;
pub(crate) mod scale_settings;
pub(crate) mod schedule;
pub(crate) mod settings;
pub(crate) mod topics;
pub(crate) mod triggers;
