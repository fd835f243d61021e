//! What is served at the moment. A new registry replaces the old one whole when a definition changes.

use std::{collections::BTreeMap, sync::Arc};

use super::{Resource, builtin};

/// All served resources.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    /// By group, version and plural.
    resources: BTreeMap<(String, String, String), Arc<Resource>>,
}

// === impl Registry ===

impl Registry {
    pub(crate) fn builtin() -> Self {
        let mut registry = Self {
            resources: BTreeMap::new(),
        };
        for resource in builtin::resources() {
            registry.insert(Arc::new(resource));
        }
        registry
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.resources.get(&key)
    }

    /// Whether a version of a group has any resource.
    pub(crate) fn serves(&self, group: &str, version: &str) -> bool {
        let mut keys = self.resources.keys();
        keys.any(|(one, other, _)| one == group && other == version)
    }

    pub(crate) fn insert(&mut self, resource: Arc<Resource>) {
        let key = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        self.resources.insert(key, resource);
    }

    /// Forgets all versions of a custom resource.
    pub(crate) fn remove(&mut self, storage: &str) {
        self.resources.retain(|_, resource| {
            let stays = resource.custom.is_none() || &*resource.storage != storage;
            if !stays {
                resource.served.cancel();
            }
            stays
        });
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// The resources of one group and version.
    pub(crate) fn of(&self, group: &str, version: &str) -> Vec<&Arc<Resource>> {
        self.all()
            .filter(|resource| resource.group == group && resource.version == version)
            .collect()
    }

    /// Groups with their versions, the best version first. The core group is first.
    pub(crate) fn groups(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for resource in self.all() {
            let versions = groups.entry(&resource.group).or_default();
            if !versions.contains(&resource.version.as_str()) {
                versions.push(&resource.version);
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
        }
        groups
    }
}

/// Orders versions as Kubernetes does: stable before beta before alpha, then the higher number.
fn rank(version: &str) -> (u8, u32, u32) {
    let numbers: Vec<u32> = version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let stage = match version {
        v if v.contains("alpha") => 0,
        v if v.contains("beta") => 1,
        _ => 2,
    };
    (
        stage,
        numbers.first().copied().unwrap_or(0),
        numbers.get(1).copied().unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_before_younger_ones() {
        let mut versions = ["v1alpha1", "v2", "v1beta2", "v1", "v1beta1", "v10"];
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1"]
        );
    }
}
