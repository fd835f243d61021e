use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{
    decode::{Decoded, Validation},
    resource::custom,
    sample::{self, anything, chosen_by},
};

static TAKEN: AtomicU32 = AtomicU32::new(0);

#[test]
fn fuzz_what_was_taken_is_taken_again_as_it_is() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let given = sample::object(resource, &mut choose);
        let decoded = Decoded::new(given.clone()).into_object(resource, Validation::Ignore);
        let Ok((mut object, _)) = decoded else { return };
        if admit(resource, &mut object, None, |_| Ok(())).is_err() {
            return;
        }
        TAKEN.fetch_add(1, Ordering::Relaxed);
        let mut again = object.clone();
        let outcome = admit(resource, &mut again, Some(&object), |_| Ok(()));
        assert_eq!(outcome, Ok(()), "{given}\n{object}");
        assert_eq!(again, object, "{given}");
    });
    assert!(TAKEN.load(Ordering::Relaxed) > 10, "few objects were taken");
}

#[test]
fn fuzz_any_definition_is_served_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let definitions = sample::REGISTRY
            .all()
            .find(|it| &*it.storage == DEFINITIONS);
        let definitions = definitions.expect("definitions are served");
        let mut definition = sample::object(definitions, &mut choose);
        if definition["spec"]["versions"][0].is_object() {
            definition["spec"]["versions"][0]["served"] = true.into();
        }
        let Ok(served) = custom::resources(&definition) else {
            return;
        };
        for resource in served {
            let mut object = anything(4, &mut choose);
            if !object.is_object() {
                object = json!({});
            }
            object["metadata"] = json!({"name": "a"});
            let _ = admit(&resource, &mut object, None, |_| Ok(()));
        }
    });
}
