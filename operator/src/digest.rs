//! Digests of values of JSON, by which the operator sees whether something has changed.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// All digits of the SHA-256 of canonical JSON: for what is found by it alone.
pub(crate) fn whole(value: &Value) -> String {
    let mut canonical = String::new();
    write_canonical(value, &mut canonical);
    of_bytes(canonical.as_bytes())
}

/// All digits of the SHA-256 of bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes);
    digits
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The first 16 hexadecimal digits of the SHA-256 of canonical JSON.
pub(crate) fn digest(value: &Value) -> String {
    let mut canonical = String::new();
    write_canonical(value, &mut canonical);
    let digest = Sha256::digest(canonical);
    digest
        .iter()
        .take(8)
        .fold(String::with_capacity(16), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// JSON with sorted keys and no white space (as RFC 8785 orders it for ASCII keys).
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            out.push('{');
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            for (position, (name, value)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::from(name.as_str()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_fields_does_not_count_but_values_do() {
        let one = digest(&json!({"a": 1, "b": [{"c": "x", "d": null}]}));
        assert_eq!(one, digest(&json!({"b": [{"d": null, "c": "x"}], "a": 1})));
        assert_ne!(one, digest(&json!({"b": [{"d": null, "c": "y"}], "a": 1})));
        assert_ne!(digest(&json!(["a", "b"])), digest(&json!(["b", "a"])));
    }
}
