//! Integers in the words of Kubernetes: formats that it knows, and bounds that every client can read.
//!
//! Schemas of Rust types say `uint16` and `uint32`, of which an API server warns and which it does not
//! check: a number that no client can read would get in, and hide its object from all of them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use super::parts::parts;

/// The largest integer that every reader of JSON keeps exactly: 2^53 - 1.
const LARGEST_EXACT: f64 = 9_007_199_254_740_991.0;

/// Gives all integers of the schema a format that Kubernetes knows, and both bounds. Bounds that are
/// there and narrower stay.
pub(super) fn bound_integers(schema: &mut JSONSchemaProps) {
    if schema.type_.as_deref() == Some("integer") {
        bound(schema);
    }
    for part in parts(schema) {
        bound_integers(part);
    }
}

fn bound(schema: &mut JSONSchemaProps) {
    let (format, least, most) = match schema.format.as_deref() {
        Some("uint8") => ("int32", 0.0, f64::from(u8::MAX)),
        Some("uint16") => ("int32", 0.0, f64::from(u16::MAX)),
        // Not an int32: beyond that format an API server only says that the number is no integer.
        Some("uint32") => ("int64", 0.0, f64::from(u32::MAX)),
        Some("int8" | "int16" | "int32") => ("int32", f64::from(i32::MIN), f64::from(i32::MAX)),
        Some("uint64" | "uint") => ("int64", 0.0, LARGEST_EXACT),
        _ => ("int64", -LARGEST_EXACT, LARGEST_EXACT),
    };
    schema.format = Some(format.to_owned());
    schema.minimum = Some(schema.minimum.map_or(least, |there| there.max(least)));
    schema.maximum = Some(schema.maximum.map_or(most, |there| there.min(most)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kubernetes knows beside the formats of integers.
    const FORMATS: [&str; 5] = ["double", "float", "byte", "date-time", "duration"];

    fn check(schema: &mut JSONSchemaProps, path: &str) -> usize {
        let mut integers = 0;
        if schema.type_.as_deref() == Some("integer") {
            integers += 1;
            let format = schema.format.as_deref();
            assert!(
                matches!(format, Some("int32" | "int64")),
                "{path}: {format:?}"
            );
            let (least, most) = (schema.minimum, schema.maximum);
            assert!(
                least.is_some() && most.is_some(),
                "{path}: {least:?} {most:?}"
            );
            assert!(least < most, "{path}: {least:?} {most:?}");
        } else if let Some(format) = &schema.format {
            assert!(FORMATS.contains(&format.as_str()), "{path}: {format}");
        }
        for (number, part) in parts(schema).into_iter().enumerate() {
            integers += check(part, &format!("{path}.{number}"));
        }
        integers
    }

    #[test]
    fn every_integer_has_a_known_format_and_both_bounds() {
        let mut integers = 0;
        for crd in crate::crd::all() {
            for version in crd.spec.versions {
                let schema = version.schema.and_then(|schema| schema.open_api_v3_schema);
                integers += check(&mut schema.expect("a schema"), &crd.spec.names.kind);
            }
        }
        assert!(integers > 50, "only {integers} were found");
    }
}
