//! Who asks for which hosts and paths.

use std::collections::{BTreeMap, BTreeSet};

use fermata_crds::routes::{Claim, Claimant};

/// All claims; of those who claim the same the first in order, which is the oldest, owns it.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<Claim, BTreeSet<Claimant>>);

// === impl Claims ===

impl Claims {
    /// Each claim and who owns it.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&Claim, &Claimant)> {
        let claims = self.0.iter();
        claims.filter_map(|(claim, claimants)| Some((claim, claimants.first()?)))
    }

    pub(super) fn add(&mut self, claimant: &Claimant, claims: &[Claim]) {
        for claim in claims {
            let claimants = self.0.entry(claim.clone()).or_default();
            claimants.insert(claimant.clone());
        }
    }

    pub(super) fn remove(&mut self, claimant: &Claimant, claims: &[Claim]) {
        for claim in claims {
            if let Some(claimants) = self.0.get_mut(claim) {
                claimants.remove(claimant);
                if claimants.is_empty() {
                    self.0.remove(claim);
                }
            }
        }
    }
}
