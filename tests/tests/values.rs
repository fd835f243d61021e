//! The chart's values, without a cluster: its default ones, its table of them, and the file in which each
//! of them is another.

use std::path::Path;

use serde_json::Value;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).expect("a file")
}

fn values(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).expect("values")
}

/// The values that are no maps of further ones, with their paths.
fn leaves<'a>(value: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    for (name, value) in value.as_object().expect("a map") {
        let path = format!("{path}{name}");
        let map = value.as_object().is_some_and(|map| !map.is_empty());
        // Whole settings of Kubernetes are one value.
        if map && name != "resources" {
            leaves(value, &format!("{path}."), found);
        } else {
            found.push((path, value));
        }
    }
}

#[test]
fn every_value_is_documented_and_has_another_one_to_be_rendered_with() {
    let defaults = values("charts/fermata/values.yaml");
    let others = values("tests/cluster/all-values.yaml");
    let table = read("charts/fermata/README.md");
    let mut all = Vec::new();
    leaves(&defaults, "", &mut all);
    assert!(all.len() > 90, "{}", all.len());
    for (path, default) in all {
        let row = format!("| `{path}` |");
        assert!(table.contains(&row), "README.md of the chart lacks {path}");
        let pointer = format!("/{}", path.replace('.', "/"));
        let other = others.pointer(&pointer);
        let other = other.unwrap_or_else(|| panic!("all-values.yaml lacks {path}"));
        assert_ne!(other, default, "{path}");
    }
}
