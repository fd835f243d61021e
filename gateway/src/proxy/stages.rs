//! The way of a request, stage by stage: who asks (`identify`), whether that makes sense (`check`), for
//! which function (`route`), and the function's answer (`forward`), or the word that it is called later
//! (`defer`); or a message for a topic, which is kept for all who hear it (`publish`). A stage knows those before it by what they return alone.

mod check;
mod defer;
mod events;
mod forward;
mod identify;
mod own;
mod publish;
mod route;

pub(crate) use check::check;
pub(crate) use defer::{ask_about, defer, is_of_invocations, prefers_async};
pub(crate) use forward::{Call, forward};
pub(crate) use identify::{Identity, identify};
pub(crate) use own::{ask_as_owner, is_of_owners};
pub(crate) use publish::{is_of_topics, publish};
pub(crate) use route::{Routed, route};
