//! How objects are written. Every verb goes the same way: its options are read ([`options`]), and [`transact`] asks
//! it again and again, until nobody was quicker, what is to become of the object that is there. The answer is made
//! without effects, in this order: the addressed part of the new state is taken, what only the server may change is
//! put back ([`create`], [`update`], [`deletion`]), defaults are filled in and everything is checked ([`admit`]), the
//! generation moves on, and who wrote is noted ([`ownership`]).

mod admit;
pub(crate) mod create;
pub(crate) mod definitions;
pub(crate) mod deletion;
pub(crate) mod options;
pub(crate) mod ownership;
mod transact;
pub(crate) mod update;

use serde_json::Value;

pub(crate) use self::transact::{Decision, Done, Effect, Place, transact};
use crate::{request::Target, status::Failure};

/// The object goes where the path says, and must not say otherwise.
pub(crate) fn place(target: &Target, object: &mut Value) -> Result<(), Failure> {
    let metadata = &mut object["metadata"];
    let namespace = target.namespace.as_deref().unwrap_or_default();
    match metadata["namespace"].as_str().unwrap_or_default() {
        given if given == namespace => {}
        "" => metadata["namespace"] = namespace.into(),
        _ if namespace.is_empty() => {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.remove("namespace");
            }
        }
        _ => {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    if let Some(name) = &target.name {
        match metadata["name"].as_str().unwrap_or_default() {
            given if given == name => {}
            "" => metadata["name"] = name.as_str().into(),
            given => {
                return Err(Failure::bad_request(format!(
                    "the name of the object ({given}) does not match the name on the URL ({name})"
                )));
            }
        }
    }
    Ok(())
}
