use super::*;
use crate::{
    decode::{Decoded, Validation},
    resource::Resource,
    sample::{self, Choices, chosen_by},
};

fn writer<'a>(resource: &'a Resource, name: &str, operation: Operation) -> Writer<'a> {
    Writer {
        at: resource.schema.at_root(),
        manager: Manager {
            name: name.to_owned(),
            operation,
            api_version: resource.api_version(),
            subresource: String::new(),
        },
        status: resource.subresources.status,
        now: "2026-01-01T00:00:00Z".to_owned(),
    }
}

/// What a client might apply, after it has been decoded.
fn config(resource: &Resource, choose: Choices<'_>) -> Option<Value> {
    let object = sample::object(resource, choose);
    let decoded = Decoded::new(object).into_object(resource, Validation::Ignore);
    let (object, _) = decoded.ok()?;
    (!has_doubles(resource.schema.at_root(), &object)).then_some(object)
}

/// Whether two items of a list are told apart by nothing.
fn has_doubles(at: NodeRef<'_>, value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| has_doubles(at.child(name), value)),
        Value::Array(items) => {
            let set = field_set(at, value);
            let told = set.members.len().max(set.children.len());
            let granular = *at.list() != crate::schema::ListKind::Atomic;
            granular && told < items.len() || items.iter().any(|item| has_doubles(at.item(), item))
        }
        _ => false,
    }
}

/// What is there: fields, and the structs that hold them, or nothing but empty lists.
fn there(at: NodeRef<'_>, object: &Value) -> FieldSet {
    let object = bare(object);
    let filled = field_set(at, &object).with_structs(at);
    filled.union(&field_set(at, &without_empty_lists(object)).with_structs(at))
}

fn without_empty_lists(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|_, value| value.as_array().is_none_or(|items| !items.is_empty()));
            for value in fields.values_mut() {
                *value = without_empty_lists(value.take());
            }
        }
        Value::Array(items) => {
            for value in items {
                *value = without_empty_lists(value.take());
            }
        }
        _ => {}
    }
    value
}

fn stored(mut object: Value) -> Value {
    object["metadata"]["uid"] = json!("1");
    object
}

#[test]
fn fuzz_an_apply_twice_is_an_apply_once() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let Some(config) = config(resource, &mut choose) else {
            return;
        };
        let writer = writer(resource, "one", Operation::Apply);
        let once = stored(writer.apply(&json!({}), &config, false).expect("it is new"));
        let twice = writer.apply(&once, &config, false).expect("it is its own");
        assert_eq!(stored(twice), once, "{config}");
        // Nor does a write that changes nothing change who owns what.
        let mut same = once.clone();
        self::writer(resource, "two", Operation::Update).update(&once, &mut same);
        assert_eq!(same, once, "{config}");
    });
}

#[test]
fn fuzz_what_two_apply_is_there_and_goes_with_the_last_of_them() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let at = resource.schema.at_root();
        let configs = (config(resource, &mut choose), config(resource, &mut choose));
        let (Some(one), Some(other)) = configs else {
            return;
        };
        let applied = |name, live: &Value, config: &Value| {
            let writer = writer(resource, name, Operation::Apply);
            let applied = writer.apply(live, config, true).expect("it is forced");
            // Whatever is applied, the object keeps its name.
            assert_eq!(applied["metadata"]["name"], "a", "{live}\nby {config}");
            stored(applied)
        };
        let live = applied("one", &json!({}), &one);
        let live = applied("two", &live, &other);
        let set = field_set(at, &bare(&other));
        assert_eq!(
            set.difference(&there(at, &live)),
            FieldSet::default(),
            "{one}\nand {other}"
        );
        // One takes back all of its own; what is left is the other's.
        let nothing = json!({
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {"name": "a"},
        });
        let live = applied("one", &live, &nothing);
        assert_eq!(
            set.difference(&there(at, &live)),
            FieldSet::default(),
            "{one}\nand {other}"
        );
        let live = applied("two", &live, &nothing);
        let managed = &live["metadata"]["managedFields"];
        assert!(managed.is_null(), "{managed}");
    });
}

#[test]
fn fuzz_sets_of_fields_come_back_as_they_were() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let at = resource.schema.at_root();
        let [one, other] = [(); 2].map(|()| {
            let object = sample::object(resource, &mut choose);
            field_set(at, &object)
        });
        for set in [&one, &other] {
            assert_eq!(FieldSet::parse(&set.encode()), *set);
        }
        let both = one.intersection(&other);
        assert_eq!(both, other.intersection(&one));
        let parts = one.difference(&other).union(&both);
        assert_eq!(parts, one.union(&FieldSet::default()));
        let _ = FieldSet::parse(&sample::anything(4, &mut choose));
    });
}
