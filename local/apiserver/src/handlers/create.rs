//! Creation.

use http::Response;

use super::written::Written;
use crate::{
    api::Api,
    apply::managers::Operation,
    decode::decode,
    request::Call,
    response::Body,
    status::Failure,
    write::{create, options::WriteOptions, ownership, transact},
};

pub(crate) async fn create(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let options = WriteOptions::new(call)?;
    let target = &call.target;
    let resource = &target.resource;
    if resource.namespaced && target.namespace.is_none() {
        return Err(Failure::method_not_allowed());
    }
    let decoded = decode(&call.body, call.content_type())?;
    let (mut object, warnings) = decoded.into_object(resource, options.validation)?;
    let place = create::prepare(target, &mut object)?;
    let done = transact(api, resource, &place, options.dry_run, |key, current| {
        create::decide(api, resource, key, current, object.clone(), |new| {
            let manager = options.manager(resource, Operation::Update, "");
            ownership::own(resource, manager, None, new);
        })
    })
    .await?;
    Ok(Written { done, warnings }.response(api, call))
}
