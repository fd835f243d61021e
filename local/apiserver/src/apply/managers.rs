//! Who owns which fields: `metadata.managedFields`.

use std::fmt;

use serde_json::{Value, json};

use super::fieldset::FieldSet;

/// How a manager came to own its fields.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// Who writes, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

/// The fields of one manager.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) manager: Manager,
    time: String,
    pub(crate) fields: FieldSet,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Managers {
    pub(crate) entries: Vec<Entry>,
}

/// How many managers that update are told apart; the oldest beyond are put together.
const MAX_UPDATERS: usize = 10;

/// The name under which the oldest are put together.
const ANCIENT: &str = "ancient-changes";

// === impl Manager ===

/// As in the message of a conflict.
impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

// === impl Managers ===

impl Managers {
    /// From `metadata.managedFields`; entries that make no sense are left out.
    pub(crate) fn parse(managed: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = managed.as_array().into_iter().flatten();
        Self {
            entries: entries
                .filter_map(|entry| {
                    Some(Entry {
                        manager: Manager {
                            name: text(&entry["manager"]),
                            operation: match entry["operation"].as_str()? {
                                "Apply" => Operation::Apply,
                                "Update" => Operation::Update,
                                _ => return None,
                            },
                            api_version: text(&entry["apiVersion"]),
                            subresource: text(&entry["subresource"]),
                        },
                        time: text(&entry["time"]),
                        fields: FieldSet::parse(&entry["fieldsV1"]),
                    })
                })
                .collect(),
        }
    }

    /// As `metadata.managedFields`, in the order of Kubernetes.
    pub(crate) fn encode(&self) -> Value {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by(|one, other| {
            let order = |entry: &Entry| {
                (
                    entry.manager.operation,
                    entry.time.clone(),
                    entry.manager.name.clone(),
                )
            };
            order(one).cmp(&order(other))
        });
        let encoded = entries.into_iter().map(|entry| {
            let mut value = json!({
                "manager": entry.manager.name,
                "operation": match entry.manager.operation {
                    Operation::Apply => "Apply",
                    Operation::Update => "Update",
                },
                "apiVersion": entry.manager.api_version,
                "fieldsType": "FieldsV1",
                "fieldsV1": entry.fields.encode(),
            });
            if !entry.time.is_empty() {
                value["time"] = entry.time.clone().into();
            }
            if !entry.manager.subresource.is_empty() {
                value["subresource"] = entry.manager.subresource.clone().into();
            }
            value
        });
        encoded.collect()
    }

    pub(crate) fn fields(&self, manager: &Manager) -> Option<&FieldSet> {
        self.entries
            .iter()
            .find(|entry| entry.manager == *manager)
            .map(|entry| &entry.fields)
    }

    /// The fields of all managers.
    pub(crate) fn all(&self) -> FieldSet {
        self.entries
            .iter()
            .fold(FieldSet::default(), |all, entry| all.union(&entry.fields))
    }

    /// Gives a manager these fields and no others. The time moves only if they are different ones.
    pub(crate) fn set(&mut self, manager: &Manager, fields: FieldSet, now: &str) {
        match self
            .entries
            .iter_mut()
            .find(|entry| entry.manager == *manager)
        {
            Some(entry) if entry.fields == fields => {}
            Some(entry) => {
                entry.fields = fields;
                now.clone_into(&mut entry.time);
            }
            None => self.entries.push(Entry {
                manager: manager.clone(),
                time: now.to_owned(),
                fields,
            }),
        }
        self.tidy();
    }

    /// Takes fields from every manager but one.
    pub(crate) fn take_from_others(&mut self, manager: &Manager, fields: &FieldSet) {
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.manager != *manager)
        {
            entry.fields = entry.fields.difference(fields);
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        self.entries.retain(|entry| !entry.fields.is_empty());
    }

    /// Puts the oldest updaters together when there are too many.
    pub(crate) fn cap(&mut self) {
        let mut updaters: Vec<Entry> = Vec::new();
        self.entries.retain(|entry| {
            let updates = entry.manager.operation == Operation::Update;
            if updates {
                updaters.push(entry.clone());
            }
            !updates
        });
        updaters.sort_by(|one, other| one.time.cmp(&other.time));
        while updaters.len() > MAX_UPDATERS {
            let oldest = updaters.remove(0);
            let Some(next) = updaters.first_mut() else {
                break;
            };
            next.fields = next.fields.union(&oldest.fields);
            ANCIENT.clone_into(&mut next.manager.name);
            next.manager.subresource = String::new();
        }
        self.entries.append(&mut updaters);
    }
}
