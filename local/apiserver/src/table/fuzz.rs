use super::*;
use crate::sample::{self, anything, chosen_by, pick, words};

#[test]
fn fuzz_any_object_is_a_row_of_its_kind() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let object = match choose(4) {
            3 => anything(4, &mut choose),
            2 => {
                let one = sample::object(resource, &mut choose);
                sample::between(&one, &anything(4, &mut choose), &mut choose)
            }
            _ => sample::object(resource, &mut choose),
        };
        for include in [Include::None, Include::Metadata, Include::Object] {
            let rows = [&object].into_iter();
            let table = table(&resource.columns, rows, &json!({}), include, true);
            let cells = table["rows"][0]["cells"].as_array().map(Vec::len);
            assert_eq!(cells, Some(resource.columns.columns.len()), "{object}");
        }
    });
}

#[test]
fn fuzz_any_column_of_a_definition_shows_something_of_its_type() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let type_ = pick(
            &["string", "integer", "number", "boolean", "date", "odd"],
            &mut choose,
        );
        let path = pick(
            &[".a", ".hello[*]", ".a[0].b", "{.a}", ".", ".a.b"],
            &mut choose,
        );
        let columns = Columns::custom(&json!([{
            "name": words(&mut choose), "type": type_, "jsonPath": path,
        }]));
        let object = anything(4, &mut choose);
        let cell = &columns.cells(&object)[1];
        let fits = match type_ {
            "string" | "date" => cell.is_string(),
            "integer" => cell.is_i64() || cell.is_u64() || cell.is_f64(),
            "number" => cell.is_number(),
            "boolean" => cell.is_boolean(),
            _ => false,
        };
        assert!(fits || cell.is_null(), "{type_} {path} of {object}: {cell}");
    });
}
