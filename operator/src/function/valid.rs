//! A template that was found to be valid, and the Revision that is made of it.

use fermata_crds::{
    Function, Revision, RevisionSpec, Scale, Template, names, revision::ResolvedRuntime,
};
use kube::ResourceExt as _;

use super::hash::TemplateHash;
use crate::{children, inherited::Inherited};

/// A template that can be built, with everything it refers to put in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Valid {
    pub(crate) template: Template,
    pub(crate) runtime: Option<ResolvedRuntime>,
    pub(crate) hash: TemplateHash,
    /// What asked for another build of the same.
    pub(crate) build_requested: Option<String>,
    /// The commit of a git source.
    pub(crate) commit: Option<String>,
    pub(crate) scale: Option<Scale>,
}

// === impl Valid ===

impl Valid {
    /// The Revision of it.
    pub(super) fn revision(&self, function: &Function, name: &str) -> Revision {
        let mut labels = children::labels(&function.name_any(), Some(name));
        labels.insert(
            names::TEMPLATE_HASH_LABEL.to_owned(),
            self.hash.as_str().to_owned(),
        );
        let spec = RevisionSpec {
            function_name: function.name_any(),
            template: self.template.clone(),
            commit: self.commit.clone(),
            runtime: self.runtime.clone(),
            build_requested: self.build_requested.clone(),
            scale: self.scale.clone(),
        };
        let mut revision = Revision::new(name, spec);
        revision.metadata = children::metadata(function, name, labels);
        Inherited::of(function).put_sealed(&mut revision.metadata);
        revision
    }
}
