//! Metrics of a part that runs in the same process, shown beside the gateway's own.

use std::collections::HashMap;

use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// All metrics of a registry.
#[derive(Debug)]
pub(crate) struct Others {
    registry: Registry,
    /// Names the collector among others; nobody gets to see it.
    desc: Desc,
}

// === impl Others ===

impl Others {
    /// Those of this one, read when they are asked for.
    ///
    /// # Errors
    ///
    /// When the collector's own name is none.
    pub(crate) fn new(registry: Registry) -> prometheus::Result<Self> {
        let (name, help) = ("fermata_metrics_of_others", "Metrics of another part.");
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Self { registry, desc })
    }
}

impl Collector for Others {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    #[test]
    fn they_are_shown_with_their_own_as_they_are_by_then() {
        let (own, other) = (Registry::new(), Registry::new());
        let counter = IntCounter::new("others_total", "Of others.").unwrap();
        other.register(Box::new(counter.clone())).unwrap();
        own.register(Box::new(Others::new(other).unwrap())).unwrap();
        counter.inc();
        let gathered = own.gather();
        assert_eq!(gathered.len(), 1);
        assert_eq!(gathered[0].name(), "others_total");
        assert!((gathered[0].get_metric()[0].get_counter().get_value() - 1.0).abs() < f64::EPSILON);
    }
}
