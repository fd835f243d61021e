use serde_json::json;

use super::*;
use crate::sample::{self, Choices, anything, chosen_by, pick};

/// A JSON patch that has some sense.
fn operations(choose: Choices<'_>) -> Value {
    let paths = [
        "", "/a", "/hello", "/a/0", "/a/-", "/a/1", "/0", "/a~1b", "/a~0", "/hello/a", "/-", "a",
        "/a/01",
    ];
    (0..choose(12))
        .map(|_| {
            let op = pick(
                &["add", "remove", "replace", "move", "copy", "test", "odd"],
                choose,
            );
            json!({
                "op": op, "path": pick(&paths, choose), "from": pick(&paths, choose),
                "value": anything(3, choose),
            })
        })
        .collect()
}

#[test]
fn fuzz_a_json_patch_is_applied_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let target = anything(4, &mut choose);
        let patch = operations(&mut choose);
        match json_patch(&target, patch.clone()) {
            Ok(patched) => assert!(patched.to_string().len() <= 2 * MAX_SIZE),
            Err(failure) => assert!((400..500).contains(&failure.code), "{failure:?}"),
        }
        if let Err(failure) = json_patch(&target, anything(4, &mut choose)) {
            assert!((400..500).contains(&failure.code), "{failure:?}");
        }
    });
}

#[test]
fn fuzz_the_difference_of_two_values_is_a_json_patch() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let (one, other) = (anything(4, &mut choose), anything(4, &mut choose));
        let difference = json!(json_patch::diff(&one, &other));
        let patched = json_patch(&one, difference.clone()).expect("a difference");
        assert_eq!(patched, other, "{one} by {difference}");
    });
}

/// RFC 7396, section 2, word by word.
fn rfc_7396(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut merged = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            merged.remove(name);
        } else {
            let old = merged.get(name).cloned().unwrap_or_default();
            merged.insert(name.clone(), rfc_7396(&old, value));
        }
    }
    Value::Object(merged)
}

#[test]
fn fuzz_a_merge_patch_does_what_the_rfc_says() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let (target, patch) = (anything(4, &mut choose), anything(4, &mut choose));
        let merged = merge_patch(&target, &patch);
        assert_eq!(merged.is_ok(), patch.is_object());
        if let Ok(merged) = merged {
            assert_eq!(merged, rfc_7396(&target, &patch), "{target} by {patch}");
            assert_eq!(merge_patch(&merged, &patch), Ok(merged));
        }
    });
}

/// The patch with directives in some places.
fn directed(patch: &mut Value, choose: Choices<'_>) {
    match patch {
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            for value in fields.values_mut() {
                directed(value, choose);
            }
            if choose(8) == 7 {
                let name = names.get(choose(names.len().max(1)));
                let name = name.map_or("a", String::as_str);
                let (directive, value) = match choose(5) {
                    0 => ("$patch".to_owned(), json!("delete")),
                    1 => ("$patch".to_owned(), json!("replace")),
                    2 => ("$retainKeys".to_owned(), json!(names)),
                    3 => (format!("$deleteFromPrimitiveList/{name}"), json!(["a"])),
                    _ => (
                        format!("$setElementOrder/{name}"),
                        json!([{"name": "b"}, "a"]),
                    ),
                };
                fields.insert(directive, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| directed(item, choose)),
        _ => {}
    }
}

#[test]
fn fuzz_a_strategic_merge_patch_is_merged_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let at = resource.schema.at_root();
        let target = sample::object(resource, &mut choose);
        let other = sample::object(resource, &mut choose);
        let mut patch = sample::between(&target, &other, &mut choose);
        if let Ok(once) = strategic(at, &target, &patch) {
            // Nothing in it hangs on what was there before.
            let twice = strategic(at, &once, &patch).expect("it was taken once");
            assert_eq!(twice, once, "{target}\nby {patch}");
        }
        directed(&mut patch, &mut choose);
        if let Err(failure) = strategic(at, &target, &patch) {
            assert_eq!(failure.code, 400, "{failure:?}");
        }
    });
}
