use serde_json::json;

use super::*;
use crate::sample::{self, Choices, chosen_by, pick, words};

const KEYS: [&str; 5] = ["a", "b", "x/y", "a.b/c", "A_-.z"];
const VALUES: [&str; 6] = ["", "a", "1", "-1", "10", "v.1"];

/// A requirement as somebody might write it.
fn written(choose: Choices<'_>) -> String {
    let key = match choose(9) {
        8 => words(choose),
        _ => pick(&KEYS, choose).to_owned(),
    };
    let value = pick(&VALUES, choose);
    let more = pick(&VALUES, choose);
    match choose(9) {
        0 => format!("{key}={value}"),
        1 => format!("{key} == {value}"),
        2 => format!("{key}!={value}"),
        3 => format!("{key} in ({value}, {more})"),
        4 => format!("{key} notin ({value},{more})"),
        5 => key,
        6 => format!("! {key}"),
        7 => format!("{key}>{value}"),
        _ => format!("{key} < {value}"),
    }
}

fn labels(choose: Choices<'_>) -> Value {
    let pairs = (0..choose(5)).map(|_| {
        let value: Value = pick(&VALUES, choose).into();
        (pick(&KEYS, choose).to_owned(), value)
    });
    Value::Object(pairs.collect())
}

#[test]
fn fuzz_a_selector_means_what_it_says() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let parts: Vec<String> = (0..choose(5)).map(|_| written(&mut choose)).collect();
        let text = parts.join(",");
        let labels = labels(&mut choose);
        if let Ok(selector) = LabelSelector::parse(&text) {
            let again = LabelSelector::parse(&selector.to_string());
            assert_eq!(again.as_ref(), Ok(&selector), "{text}");
            let each = parts
                .iter()
                .filter_map(|part| LabelSelector::parse(part).ok());
            let all = each.into_iter().all(|part| part.matches(&labels));
            assert_eq!(selector.matches(&labels), all, "{text} of {labels}");
        }
        let good = VALUES.map(|value| value.trim_start_matches('-'));
        let (key, value) = (pick(&KEYS, &mut choose), pick(&good, &mut choose));
        let holds = |text: String| {
            let selector = LabelSelector::parse(&text).expect(&text);
            selector.matches(&labels)
        };
        let has = labels.get(key).is_some();
        let is = labels[key] == value;
        assert_eq!(holds(key.to_owned()), has);
        assert_eq!(holds(format!("!{key}")), !has);
        assert_eq!(holds(format!("{key}={value}")), is);
        assert_eq!(holds(format!("{key}!={value}")), !is);
        assert_eq!(holds(format!("{key} in ({value})")), is);
        assert_eq!(holds(format!("{key} notin ({value})")), !is);
        let object = serde_json::from_value(json!({"matchLabels": {key: value}}));
        let object = LabelSelector::of(&object.expect("a selector"));
        assert_eq!(object.matches(&labels), is);
    });
}

#[test]
fn fuzz_any_text_is_a_selector_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let mut choose = chosen_by(bytes);
        if let Ok(selector) = LabelSelector::parse(&text) {
            let again = LabelSelector::parse(&selector.to_string());
            assert_eq!(again, Ok(selector), "{text}");
        }
        let resource = sample::resource(&mut choose);
        let object = sample::object(resource, &mut choose);
        if let Ok(selector) = serde_json::from_value(object["spec"]["selector"].clone()) {
            let _ = LabelSelector::of(&selector).matches(&object);
        }
        let name = &object["metadata"]["name"].as_str().unwrap_or_default();
        let fields = format!("metadata.name={name}");
        for text in [&*text, &fields] {
            if let Ok(selector) = FieldSelector::parse(text, resource) {
                let holds = selector.matches(&object);
                assert!(holds || text != fields, "{text} of {object}");
            }
        }
    });
}
