//! Objects made up from a schema, odd ones included, for tests that nothing which the API may hold makes a
//! reader panic. Only with the feature `sample`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

/// How deep values without a schema go.
const DEEPEST: usize = 4;

/// Texts that mean something somewhere, and some that should mean nothing.
const TEXTS: &[&str] = &[
    "",
    "a",
    "hello",
    "hello-00001",
    "0",
    "-1",
    "1",
    "100m",
    "1Gi",
    "1e400",
    "0s",
    "5s",
    "300ms",
    "1h30m",
    "168h",
    "99999h",
    "99999999999999999999h",
    "-5s",
    "1.5.5s",
    "\u{b5}s",
    "9223372036854775807ns",
    "* * * * *",
    "0 8 * * MON-FRI",
    "5/15 * * * *",
    "* * 31 2,4,6,9,11 *",
    "0 0 29 2 *",
    "* * L * *",
    "* * * * 7#5",
    "60 * * * *",
    "Europe/Berlin",
    "America/New_York",
    "Mars/Olympus",
    "Etc/GMT+12",
    "api.example.com",
    "pay.a.svc",
    "localhost",
    "127.0.0.1",
    "A.B",
    ".",
    "..",
    "/",
    "/api",
    "//",
    "/%zz",
    "/function/x",
    "http",
    "TCP",
    "SIGKILL",
    "OnFailure",
    "with space",
    "new\nline",
    "nul\u{0}",
    "\u{1f980}",
    "\u{202e}abc",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "restricted",
    "python",
    "{}",
    "[",
    "$(A)",
];

/// Numbers at the ends of what types hold.
const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    7,
    80,
    100,
    101,
    1000,
    1001,
    65_535,
    65_536,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    u32::MAX as i64 + 1,
    9_007_199_254_740_991,
    -9_007_199_254_740_991,
    i64::MAX,
    i64::MIN,
];

/// A source of choices: a number below the one that is given, which is not 0.
pub type Choices<'a> = &'a mut dyn FnMut(usize) -> usize;

/// Choices that follow from a number (the SplitMix64 generator).
pub fn choices(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |bound| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let wide = u128::from(mixed ^ (mixed >> 31)) * (bound as u128);
        (wide >> 64) as usize
    }
}

/// Choices that bytes make, one after the other, and always 0 when they are used up: fewer bytes are a
/// smaller choice, so that a property test can make what has failed smaller.
pub fn chosen_by(bytes: &[u8]) -> impl FnMut(usize) -> usize + '_ {
    let mut bytes = bytes.iter().copied().map(usize::from);
    move |bound| {
        // Two bytes, where one cannot tell all apart.
        let high = if bound > 256 {
            bytes.next().unwrap_or(0)
        } else {
            0
        };
        (high * 256 + bytes.next().unwrap_or(0)) % bound.max(1)
    }
}

/// Makes objects of one kind.
#[derive(Debug)]
pub struct Sampler {
    kind: String,
    schema: JSONSchemaProps,
}

// === impl Sampler ===

impl Sampler {
    /// Makes objects of the kind `K`.
    #[must_use]
    pub fn of<K: CustomResourceExt>() -> Self {
        let crd = K::crd();
        let version = crd.spec.versions.into_iter().next();
        let schema = version
            .and_then(|version| version.schema)
            .and_then(|schema| schema.open_api_v3_schema);
        Self {
            kind: crd.spec.names.kind,
            schema: schema.unwrap_or_default(),
        }
    }

    /// An object with this name and namespace, and the rest as the schema has it.
    #[must_use]
    pub fn object(&self, namespace: &str, name: &str, choose: Choices<'_>) -> Value {
        let mut object = value(&self.schema, choose);
        object["apiVersion"] = json!(format!("{}/{}", crate::GROUP, crate::VERSION));
        object["kind"] = json!(self.kind);
        object["metadata"] = json!({
            "name": name, "namespace": namespace, "uid": format!("{name}-uid"),
            "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        object
    }
}

/// A value that fits the schema's types, if not its bounds.
fn value(schema: &JSONSchemaProps, choose: Choices<'_>) -> Value {
    if let Some(values) = &schema.enum_
        && !values.is_empty()
    {
        let number = choose(values.len());
        return values
            .get(number)
            .map_or(Value::Null, |value| value.0.clone());
    }
    match schema.type_.as_deref() {
        Some("object") => Value::Object(map(schema, choose)),
        Some("array") => {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else {
                return json!([]);
            };
            (0..choose(4)).map(|_| value(items, choose)).collect()
        }
        Some("string") => text(choose),
        Some("integer") => number(schema, choose),
        Some("number") => json!(pick(&[0.0, 0.5, -1.0, 1e308], choose)),
        Some("boolean") => json!(choose(2) == 0),
        _ if schema.x_kubernetes_int_or_string == Some(true) && choose(2) == 0 => {
            number(schema, choose)
        }
        _ if schema.x_kubernetes_int_or_string == Some(true) => text(choose),
        _ => anything(DEEPEST, choose),
    }
}

fn map(schema: &JSONSchemaProps, choose: Choices<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, property) in schema.properties.iter().flatten() {
        if required.contains(name) || choose(3) == 0 {
            map.insert(name.clone(), value(property, choose));
        }
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        for _ in 0..choose(3) {
            map.insert(pick(TEXTS, choose).to_owned(), value(values, choose));
        }
    }
    if schema.x_kubernetes_preserve_unknown_fields == Some(true)
        && let Value::Object(more) = pod_template(choose)
    {
        map.extend(more);
    }
    map
}

/// The one place without a schema is a partial pod template.
fn pod_template(choose: Choices<'_>) -> Value {
    let container = json!({
        "name": pick(&["function", "proxy", ""], choose),
        "ports": anything(2, choose),
        "env": [{ "name": pick(TEXTS, choose), "value": text(choose) }],
        "securityContext": anything(2, choose),
        "lifecycle": { "preStop": { "sleep": { "seconds": pick(NUMBERS, choose) } } },
    });
    let mut spec = Map::new();
    for field in [
        "containers",
        "initContainers",
        "volumes",
        "terminationGracePeriodSeconds",
        "hostUsers",
    ] {
        let value = match (field, choose(3)) {
            (_, 0) => anything(DEEPEST, choose),
            ("containers" | "initContainers", _) => json!([container]),
            ("terminationGracePeriodSeconds", _) => json!(pick(NUMBERS, choose)),
            _ => continue,
        };
        spec.insert(field.to_owned(), value);
    }
    json!({ "metadata": anything(2, choose), "spec": spec })
}

/// Any value, nested at most so deep.
#[must_use]
pub fn anything(depth: usize, choose: Choices<'_>) -> Value {
    match choose(if depth == 0 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => json!(pick(NUMBERS, choose)),
        2 => json!(choose(2) == 0),
        3 => text(choose),
        4 => (0..choose(3))
            .map(|_| anything(depth - 1, choose))
            .collect(),
        _ => {
            let fields = (0..choose(3)).map(|_| {
                let name = pick(TEXTS, choose).to_owned();
                (name, anything(depth - 1, choose))
            });
            Value::Object(fields.collect())
        }
    }
}

fn text(choose: Choices<'_>) -> Value {
    words(choose).into()
}

/// A text that means something somewhere; a long one now and then.
#[must_use]
pub fn words(choose: Choices<'_>) -> String {
    let text = pick(TEXTS, choose);
    text.repeat(if choose(20) == 19 { 1000 } else { 1 })
}

/// A number, mostly at one of the ends of what types hold.
#[must_use]
pub fn integer(choose: Choices<'_>) -> i64 {
    pick(NUMBERS, choose)
}

fn number(schema: &JSONSchemaProps, choose: Choices<'_>) -> Value {
    let bounds = [schema.minimum, schema.maximum];
    match bounds.get(choose(4)).copied().flatten() {
        Some(bound) => json!(bound as i64),
        None => json!(pick(NUMBERS, choose)),
    }
}

/// One of a list that is not empty.
#[must_use]
pub fn pick<T: Copy>(from: &[T], choose: Choices<'_>) -> T {
    from[choose(from.len()) % from.len()]
}
