use super::*;
use crate::sample::{self, anything, chosen_by};

const TYPES: [&str; 6] = [
    "",
    "application/json",
    "application/merge-patch+json",
    "application/yaml",
    "application/apply-patch+yaml",
    protobuf::CONTENT_TYPE,
];

#[test]
fn fuzz_json_is_read_as_it_was_written() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let value = anything(5, &mut chosen_by(bytes));
        let text = value.to_string();
        for text in [text.clone(), format!(" \n\t{text}\r\n")] {
            let decoded = decode(text.as_bytes(), "application/json").expect("it is JSON");
            assert_eq!(decoded.value, value);
            assert!(decoded.duplicates.is_empty());
        }
        // JSON is YAML too.
        for content_type in ["application/yaml", "application/apply-patch+yaml"] {
            let decoded = decode(text.as_bytes(), content_type);
            assert_eq!(decoded.expect(&text).value, value, "{text}");
        }
    });
}

#[test]
fn fuzz_any_body_is_read_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        for content_type in TYPES {
            match decode(bytes, content_type) {
                Ok(decoded) => {
                    let text = decoded.value.to_string();
                    let again = decode(text.as_bytes(), "").expect("it was read before");
                    assert_eq!(again.value, decoded.value);
                }
                Err(failure) => assert_eq!(failure.code, 400, "{failure:?}"),
            }
        }
    });
}

#[test]
fn fuzz_an_object_of_a_kind_is_one_when_it_is_read_again() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let given = if choose(4) == 3 {
            anything(5, &mut choose)
        } else {
            let one = sample::object(resource, &mut choose);
            sample::between(&one, &anything(3, &mut choose), &mut choose)
        };
        for validation in [Validation::Strict, Validation::Warn, Validation::Ignore] {
            let decoded = Decoded::new(given.clone()).into_object(resource, validation);
            let Ok((object, _)) = decoded else { continue };
            let again = Decoded::new(object.clone()).into_object(resource, Validation::Strict);
            let (again, warnings) = again.expect("it was taken before");
            assert_eq!((again, warnings.len()), (object, 0), "{given}");
        }
    });
}
