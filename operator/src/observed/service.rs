//! Services: those of Functions, and others that have taken a Function's name.

use k8s_openapi::api::core::v1::Service;

use super::Observed;
use crate::drift::Live;

/// What the operator applies of a Service, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceState {
    /// Present for Services that carry Fermata's label; the others are only known to exist.
    pub(crate) live: Option<Live>,
}

/// A Service as far as it is known.
pub(crate) type ObservedService = Observed<Service, ServiceState>;

/// Reduces a Service.
pub(crate) fn observe(service: Service) -> ObservedService {
    let mut observed = Observed::new(&service, ServiceState { live: None });
    if observed
        .label(fermata_crds::names::MANAGED_BY_LABEL)
        .is_some()
    {
        observed.state.live = Some(Live::of(&service));
    }
    observed
}
