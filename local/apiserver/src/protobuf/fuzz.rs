use std::sync::LazyLock;

use super::*;
use crate::sample::{self, Choices, chosen_by, integer, pick, words};

/// Kinds as they are sent: apiVersion, kind and the name of the message.
static KINDS: LazyLock<Vec<(String, String, &'static str)>> = LazyLock::new(|| {
    let mut kinds: Vec<_> = sample::REGISTRY
        .all()
        .filter_map(|resource| {
            let name = message_name(&resource.api_version(), &resource.kind);
            let (name, _) = messages().get_key_value(name.as_str())?;
            Some((resource.api_version(), resource.kind.clone(), *name))
        })
        .collect();
    kinds.sort();
    kinds
});

fn varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn number(field: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(field << 3, &mut bytes);
    varint(value, &mut bytes);
    bytes
}

fn delimited(field: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(field << 3 | 2, &mut bytes);
    varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A value of a type, in JSON and as the field of this number.
fn made(type_: &str, field: u64, depth: usize, choose: Choices<'_>) -> (Value, Vec<u8>) {
    match type_ {
        "i" => {
            let value = integer(choose);
            (value.into(), number(field, value.cast_unsigned()))
        }
        "o" => {
            let value = choose(2) == 1;
            (value.into(), number(field, value.into()))
        }
        "s" => {
            let text = words(choose);
            let bytes = delimited(field, text.as_bytes());
            (text.into(), bytes)
        }
        "b" => {
            let text = words(choose);
            let bytes = delimited(field, text.as_bytes());
            (STANDARD.encode(text).into(), bytes)
        }
        "t" | "T" => {
            let seconds = pick(&[1_i64, 1_767_225_600, 253_402_207_200, -1], choose);
            let time = Timestamp::new(seconds, 0).expect("a time");
            let text = if type_ == "t" {
                time.strftime("%Y-%m-%dT%H:%M:%SZ")
            } else {
                time.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
            };
            let bytes = delimited(field, &number(1, seconds.cast_unsigned()));
            (text.to_string().into(), bytes)
        }
        "q" => {
            let text = pick(&["1", "500m", "1Gi"], choose);
            (
                text.into(),
                delimited(field, &delimited(1, text.as_bytes())),
            )
        }
        "x" if choose(2) == 0 => {
            let value = integer(choose);
            let content = [number(1, 0), number(2, value.cast_unsigned())].concat();
            (value.into(), delimited(field, &content))
        }
        "x" => {
            let text = words(choose);
            let content = [number(1, 1), delimited(3, text.as_bytes())].concat();
            (text.into(), delimited(field, &content))
        }
        "f" => {
            let value = sample::anything(3, choose);
            let content = delimited(1, value.to_string().as_bytes());
            (value, delimited(field, &content))
        }
        name => {
            let (object, content) = object(name, depth + 1, choose);
            (Value::Object(object), delimited(field, &content))
        }
    }
}

/// A message, in JSON and on the wire.
fn object(name: &str, depth: usize, choose: Choices<'_>) -> (Map<String, Value>, Vec<u8>) {
    let (mut object, mut bytes) = (Map::new(), Vec::new());
    let fields = &messages()[name];
    let mut numbers: Vec<u64> = fields.keys().copied().collect();
    numbers.sort_unstable();
    for number in numbers {
        if depth > 10 || choose(4) != 3 {
            continue;
        }
        let field = &fields[&number];
        match field.mark {
            Mark::Once | Mark::Pointer => {
                let (value, encoded) = made(field.type_, number, depth, choose);
                if field.mark == Mark::Pointer || !is_zero(field.type_, &value) {
                    object.insert(field.name.to_owned(), value);
                }
                bytes.extend(encoded);
            }
            Mark::List => {
                let mut list = Vec::new();
                for _ in 0..=choose(3) {
                    let (value, encoded) = made(field.type_, number, depth, choose);
                    list.push(value);
                    bytes.extend(encoded);
                }
                object.insert(field.name.to_owned(), list.into());
            }
            Mark::Map => {
                let mut map = Map::new();
                for key in ["a", "\u{1f980}", ""].iter().take(choose(4)) {
                    let (value, encoded) = made(field.type_, 2, depth, choose);
                    let entry = [delimited(1, key.as_bytes()), encoded].concat();
                    bytes.extend(delimited(number, &entry));
                    map.insert((*key).to_owned(), value);
                }
                if !map.is_empty() {
                    object.insert(field.name.to_owned(), map.into());
                }
            }
            Mark::Inline => {
                let (mut inner, encoded) = self::object(field.type_, depth + 1, choose);
                bytes.extend(delimited(number, &encoded));
                object.append(&mut inner);
            }
        }
    }
    (object, bytes)
}

#[test]
fn fuzz_what_a_client_writes_is_read() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let (api_version, kind, name) = &KINDS[choose(KINDS.len())];
        let (mut expected, raw) = object(name, 0, &mut choose);
        let meta = [
            delimited(1, api_version.as_bytes()),
            delimited(2, kind.as_bytes()),
        ];
        let body = [MAGIC, &delimited(1, &meta.concat()), &delimited(2, &raw)].concat();
        expected.insert("apiVersion".to_owned(), api_version.clone().into());
        expected.insert("kind".to_owned(), kind.clone().into());
        assert_eq!(decode(&body), Ok(Value::Object(expected)));
        // Cut short or spoilt, it is still read or refused.
        let _ = decode(&body[..choose(body.len() + 1)]);
        let mut spoilt = body.clone();
        let at = choose(spoilt.len());
        spoilt[at] = choose(256) as u8;
        let _ = decode(&spoilt);
    });
}

#[test]
fn fuzz_any_bytes_are_an_object_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let _ = decode(bytes);
        let _ = decode(&[MAGIC, bytes].concat());
        let mut choose = chosen_by(bytes);
        let (api_version, kind, _) = &KINDS[choose(KINDS.len())];
        let meta = [
            delimited(1, api_version.as_bytes()),
            delimited(2, kind.as_bytes()),
        ];
        let _ = decode(&[MAGIC, &delimited(1, &meta.concat()), &delimited(2, bytes)].concat());
    });
}
