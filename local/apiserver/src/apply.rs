//! Server-side apply and the ownership of fields
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/>).

pub(crate) mod fieldset;
pub(crate) mod managers;
pub(crate) mod walk;

use serde_json::{Value, json};

use self::{
    fieldset::{Element, FieldSet},
    managers::{Manager, Managers, Operation},
    walk::{Comparison, compare, field_set, merge, remove},
};
use crate::{schema::NodeRef, status::Failure};

/// Metadata that the server decides; nobody owns it.
const UNOWNED: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Who stands for what was there before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// One write, as far as ownership is concerned.
pub(crate) struct Writer<'a> {
    pub(crate) at: NodeRef<'a>,
    pub(crate) manager: Manager,
    /// The resource has a status of its own.
    pub(crate) status: bool,
    pub(crate) now: String,
}

// === impl Writer ===

impl Writer<'_> {
    /// Records in `new` who owns what after an update of `old`. `old` is a skeleton on creation.
    pub(crate) fn update(&self, old: &Value, new: &mut Value) {
        let given = &new["metadata"]["managedFields"];
        let reset = given.as_array().is_some_and(|entries| {
            entries.len() == 1
                && entries[0]
                    .as_object()
                    .is_some_and(serde_json::Map::is_empty)
        });
        let mut managers = Managers::parse(given);
        if managers.entries.is_empty() && !reset {
            managers = Managers::parse(&old["metadata"]["managedFields"]);
        }
        let difference = self.strip(compare(self.at, &bare(old), &bare(new)));
        let changed = difference.added.union(&difference.modified);
        managers.take_from_others(&self.manager, &changed.union(&difference.removed));
        let mine = managers.fields(&self.manager).cloned().unwrap_or_default();
        let mine = mine.difference(&difference.removed).union(&changed);
        managers.set(&self.manager, mine, &self.now);
        managers.cap();
        store(new, &managers);
    }

    /// `config` applied to `live`, with its ownership, or the conflict that stands in the way.
    pub(crate) fn apply(
        &self,
        live: &Value,
        config: &Value,
        force: bool,
    ) -> Result<Value, Failure> {
        let (bare_live, config) = (bare(live), bare(config));
        let mut managers = Managers::parse(&live["metadata"]["managedFields"]);
        let exists = live["metadata"]["uid"].is_string();
        if managers.entries.is_empty() && exists {
            let before = Manager {
                name: BEFORE_FIRST_APPLY.to_owned(),
                operation: Operation::Update,
                subresource: String::new(),
                ..self.manager.clone()
            };
            let fields = self.strip_set(field_set(self.at, &bare_live));
            managers.set(&before, fields, &self.now);
        }
        let mut merged = merge(self.at, &bare_live, &config);
        let applied = field_set(self.at, &config);
        let mine = self.strip_set(applied.clone());
        let last = managers.fields(&self.manager).cloned().unwrap_or_default();
        managers.set(&self.manager, mine, &self.now);

        // What this manager no longer applies and nobody else owns goes. What nobody can own, such as the
        // object's name, is applied all the same: the struct that it is in stays.
        let present = field_set(self.at, &merged).with_structs(self.at);
        let owned = managers.all().union(&applied).with_structs(self.at);
        let dropped = present
            .intersection(&last.with_structs(self.at))
            .difference(&owned);
        remove(self.at, &mut merged, &dropped);

        let difference = self.strip(compare(self.at, &bare_live, &merged));
        let changed = difference.added.union(&difference.modified);
        let conflicts: Vec<(Manager, FieldSet)> = managers
            .entries
            .iter()
            .filter(|entry| entry.manager != self.manager)
            .map(|entry| (entry.manager.clone(), entry.fields.intersection(&changed)))
            .filter(|(_, fields)| !fields.is_empty())
            .collect();
        if !force && !conflicts.is_empty() {
            return Err(conflict(&conflicts));
        }
        managers.take_from_others(&self.manager, &changed.union(&difference.removed));
        store(&mut merged, &managers);
        Ok(merged)
    }

    fn strip(&self, mut difference: Comparison) -> Comparison {
        difference.added = self.strip_set(difference.added);
        difference.modified = self.strip_set(difference.modified);
        difference.removed = self.strip_set(difference.removed);
        difference
    }

    /// Leaves out what cannot be owned, or cannot be written this way.
    fn strip_set(&self, mut set: FieldSet) -> FieldSet {
        let metadata = Element::field("metadata");
        set.forget("apiVersion");
        set.forget("kind");
        set.members.remove(&metadata);
        if let Some(below) = set.children.get_mut(&metadata) {
            for name in UNOWNED {
                below.forget(name);
            }
            if below.is_empty() {
                set.children.remove(&metadata);
            }
        }
        match self.manager.subresource.as_str() {
            "" if self.status => set.forget("status"),
            "status" => {
                set.forget("spec");
                set.forget("metadata");
            }
            _ => {}
        }
        set
    }
}

/// The object without its ownership.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

fn store(object: &mut Value, managers: &Managers) {
    let encoded = managers.encode();
    if let Some(metadata) = object
        .as_object_mut()
        .map(|object| object.entry("metadata").or_insert_with(|| json!({})))
        .and_then(Value::as_object_mut)
    {
        if managers.entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), encoded);
        }
    }
}

/// The refusal of an apply that would change what others own.
fn conflict(conflicts: &[(Manager, FieldSet)]) -> Failure {
    let mut causes = Vec::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (manager, fields) in conflicts {
        let paths = fields.paths();
        for path in &paths {
            causes.push(json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {manager}"),
                "field": path,
            }));
        }
        groups.push((manager.to_string(), paths));
    }
    groups.sort();
    let message = match (causes.len(), groups.first()) {
        (1, Some((manager, paths))) => {
            format!(
                "Apply failed with 1 conflict: conflict with {manager}: {}",
                paths.concat()
            )
        }
        (count, _) => {
            let parts: Vec<String> = groups
                .iter()
                .map(|(manager, paths)| {
                    let lines: Vec<String> = paths.iter().map(|path| format!("- {path}")).collect();
                    format!("conflicts with {manager}:\n{}", lines.join("\n"))
                })
                .collect();
            format!("Apply failed with {count} conflicts: {}", parts.join("\n"))
        }
    };
    let mut failure = Failure::new(409, "Conflict", message);
    failure.details = Some(json!({"causes": causes}));
    failure
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz;
