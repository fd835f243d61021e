//! The functions that take deliveries, as a watch tells of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fermata_crds::Function;
use fermata_daemon::watch::{Key, WatchEvent};

/// Functions with a webhook, and the names of their Secrets.
#[derive(Debug, Default)]
pub(super) struct Functions(Mutex<HashMap<Key, String>>);

// === impl Functions ===

impl Functions {
    /// The Secret with the key of a function's deliveries, if it takes any.
    pub(super) fn secret_of(&self, function: &Key) -> Option<String> {
        self.lock().get(function).cloned()
    }

    /// Takes in what a watch tells.
    pub(super) fn take(&self, told: WatchEvent<Function>) {
        match told {
            WatchEvent::There { object, .. } => {
                let key = Key::of(&object);
                match secret(object) {
                    Some(secret) => _ = self.lock().insert(key, secret),
                    None => _ = self.lock().remove(&key),
                }
            }
            WatchEvent::Gone { key, .. } => _ = self.lock().remove(&key),
            WatchEvent::Listed(names) => self.lock().retain(|key, _| !names.lack(key)),
            // What was known stays in force.
            WatchEvent::Unreadable(_) | WatchEvent::Broke => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn secret(function: Function) -> Option<String> {
    let git = function.spec.template.source?.git?;
    Some(git.webhook?.secret_name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn there(name: &str, git: serde_json::Value) -> WatchEvent<Function> {
        let function = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"source": {"runtime": "python", "git": git}},
        });
        WatchEvent::There {
            object: serde_json::from_value(function).unwrap(),
            listed: false,
        }
    }

    #[test]
    fn a_function_takes_deliveries_as_long_as_it_says_so() {
        let functions = Functions::default();
        let key = Key::new("shop", "orders");
        let hook = json!({"url": "https://h/a", "webhook": {"secretName": "hook"}});
        functions.take(there("orders", hook.clone()));
        assert_eq!(functions.secret_of(&key).as_deref(), Some("hook"));
        functions.take(WatchEvent::Broke);
        assert!(functions.secret_of(&key).is_some());
        functions.take(there("orders", json!({"url": "https://h/a"})));
        assert_eq!(functions.secret_of(&key), None);
        functions.take(there("orders", hook));
        let uid = String::new();
        functions.take(WatchEvent::Gone {
            key: key.clone(),
            uid,
        });
        assert_eq!(functions.secret_of(&key), None);
    }
}
