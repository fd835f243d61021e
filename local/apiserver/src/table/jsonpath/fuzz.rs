use super::*;
use crate::sample::{self, Choices, anything, chosen_by};

/// A path to some place of a value, with what is there.
fn path<'a>(mut value: &'a Value, choose: Choices<'_>) -> (String, &'a Value) {
    let mut path = String::new();
    loop {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                let (name, child) = fields.iter().nth(choose(fields.len())).expect("a field");
                if name.is_empty() || name == "*" {
                    return (path, value);
                }
                if choose(2) == 0 && !name.contains(['\'', '"', '[', ']']) {
                    path += &format!("['{name}']");
                } else {
                    let escape = |c: char| ['\\', c].into_iter();
                    path.push('.');
                    path.extend(name.chars().flat_map(escape));
                }
                value = child;
            }
            Value::Array(items) if !items.is_empty() => {
                let index = choose(items.len());
                path += &if choose(2) == 0 {
                    format!("[{index}]")
                } else {
                    format!("[-{}]", items.len() - index)
                };
                value = &items[index];
            }
            _ => return (path, value),
        }
    }
}

#[test]
fn fuzz_a_path_leads_to_what_it_names() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let value = anything(6, &mut choose);
        let (path, there) = path(&value, &mut choose);
        // The braces of kubectl may be left out, and blanks around are not seen.
        if path.ends_with(char::is_whitespace) {
            return;
        }
        for written in [path.clone(), format!("{{{path}}}"), format!("${path}")] {
            let parsed = JsonPath::parse(&written).unwrap_or_else(|| panic!("{written}"));
            assert_eq!(parsed.find(&value), [there], "{written} of {value}");
        }
    });
}

#[test]
fn fuzz_any_text_is_a_path_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let value = anything(6, &mut choose);
        let parts = [
            ".a",
            "[0]",
            "[*]",
            "[-1]",
            "['a']",
            "[?(@.a==\"b\")]",
            "[?(@.a>",
            "1",
            ")]",
            "\\",
            "'",
            "]",
            "[",
            "{",
            "}",
            "..",
            "$",
            "\u{e4}",
            "[?(@",
            "<=1)]",
        ];
        let made: String = (0..choose(12))
            .map(|_| sample::pick(&parts, &mut choose))
            .collect();
        for text in [&made, &*String::from_utf8_lossy(bytes)] {
            if let Some(path) = JsonPath::parse(text) {
                let _ = path.find(&value);
            }
        }
    });
}
