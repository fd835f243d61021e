//! The chart's values, without a cluster: its default ones, its table of them, and the file in which each
//! of them is another.

use std::{collections::BTreeSet, path::Path};

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

/// The metrics that a text speaks of, without what a histogram's series end in.
fn metrics(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("fermata_").skip(1) {
        let end = part.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        let name = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
        found.push(format!("fermata_{}", name.trim_end_matches("_bucket")));
    }
    found
}

#[test]
fn the_dashboard_and_the_alerts_show_metrics_that_there_are() {
    let known = metrics(&read("docs/http.md"));
    let dashboards = ["fermata", "events"].map(|name| {
        let dashboard = read(&format!("charts/fermata/dashboards/{name}.json"));
        let parsed: Value = serde_json::from_str(&dashboard).expect("it is JSON");
        let panels = parsed["panels"].as_array().expect("panels");
        assert!(panels.len() > 10, "{name}");
        let places: BTreeSet<String> = panels
            .iter()
            .map(|panel| panel["gridPos"].to_string())
            .collect();
        assert_eq!(places.len(), panels.len(), "{name}");
        dashboard
    });
    let alerts = read("charts/fermata/templates/monitoring/prometheusrule.yaml");
    let shown = [metrics(&dashboards.concat()), metrics(&alerts)].concat();
    assert!(shown.len() > 20, "{shown:?}");
    for metric in shown {
        assert!(known.contains(&metric), "docs/http.md has no {metric}");
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

#[test]
fn the_chart_installs_the_runtimes_as_they_are_without_it() {
    let template = read("charts/fermata/templates/runtimes.yaml");
    let text = template.split_once("\"fermata.runtimes\" -}}\n");
    let (text, _) = text
        .and_then(|(_, rest)| rest.split_once("\n{{- end }}"))
        .expect("the part with them");
    let charted: Value = serde_saphyr::from_str(text).expect("Runtimes");
    let defaults = values("charts/fermata/values.yaml");
    let version = env!("CARGO_PKG_VERSION");
    let image = |pointer: &str| {
        let repository = defaults.pointer(pointer).and_then(Value::as_str);
        Value::from(format!("ghcr.io/{}:{version}", repository.expect(pointer)))
    };
    for (name, spec) in charted.as_object().expect("a map") {
        let mut spec = spec.clone();
        spec["image"] = image(&format!("/runtimes/{name}/image/repository"));
        if spec.get("build").is_some() {
            spec["build"]["image"] = image(&format!("/runtimes/{name}/build/image/repository"));
        }
        let manifest = values(&format!("runtimes/{name}/runtime.yaml"));
        assert_eq!(spec, manifest["spec"], "{name}");
    }
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtimes"));
    let folders = folders.expect("a folder").flatten();
    let manifests = folders.filter(|folder| folder.path().join("runtime.yaml").exists());
    assert_eq!(
        manifests.count(),
        charted.as_object().map_or(0, serde_json::Map::len)
    );
}
