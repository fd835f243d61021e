//! Bodies in Kubernetes' protobuf encoding, which Go clients (kubectl among them) send for built-in
//! kinds (<https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>). They are
//! read into JSON; answers are always JSON.

mod wire;

use std::{collections::HashMap, sync::OnceLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::wire::{Reader, Wire};

/// The media type.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The beginning of every body.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may be nested.
const MAX_DEPTH: usize = 64;

const FIELDS: &str = include_str!("protobuf/fields.txt");

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum ProtobufError {
    #[error("the body does not begin as Kubernetes' protobuf encoding does")]
    Magic,
    #[error("the body ends in the middle of a field")]
    Truncated,
    #[error("field {0} has another type than it should")]
    Type(u64),
    #[error("messages are nested more than {MAX_DEPTH} deep")]
    Depth,
    #[error("{0} cannot be read from protobuf here; send JSON")]
    Unknown(String),
}

type Result<T> = std::result::Result<T, ProtobufError>;

/// How often a field comes, and where it goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mark {
    Once,
    /// A pointer: a zero is a value of its own.
    Pointer,
    List,
    Map,
    /// The fields of the message belong to the parent.
    Inline,
}

#[derive(Debug)]
struct FieldInfo {
    name: &'static str,
    mark: Mark,
    type_: &'static str,
}

type Messages = HashMap<&'static str, HashMap<u64, FieldInfo>>;

/// Reads an object, with its apiVersion and kind.
pub(crate) fn decode(body: &[u8]) -> Result<Value> {
    let mut envelope = Reader(body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?);
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, wire)) = envelope.field()? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => {
                let mut meta = Reader(bytes);
                while let Some((number, wire)) = meta.field()? {
                    match (number, wire) {
                        (1, Wire::Bytes(bytes)) => api_version = text(bytes),
                        (2, Wire::Bytes(bytes)) => kind = text(bytes),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    if !messages().contains_key(name.as_str()) {
        return Err(ProtobufError::Unknown(format!("{kind} of {api_version}")));
    }
    let mut object = message(&name, raw, 0)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// Whether objects of a kind can be read.
#[cfg(test)]
pub(crate) fn knows(api_version: &str, kind: &str) -> bool {
    messages().contains_key(message_name(api_version, kind).as_str())
}

fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".to_owned();
    }
    match api_version.split_once('/') {
        None => format!("core.{api_version}.{kind}"),
        Some((group, version)) => {
            let module = group.split('.').next().unwrap_or_default();
            format!("{module}.{version}.{kind}")
        }
    }
}

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        FIELDS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut words = line.split(' ');
                Some((words.next()?, words.filter_map(field_info).collect()))
            })
            .collect()
    })
}

fn field_info(word: &'static str) -> Option<(u64, FieldInfo)> {
    let (name, rest) = word.split_once('=')?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = rest.split_at(end);
    let mark = match rest.as_bytes().first()? {
        b'*' => Mark::List,
        b'%' => Mark::Map,
        b'?' => Mark::Pointer,
        b'^' => Mark::Inline,
        _ => Mark::Once,
    };
    let type_ = if mark == Mark::Once { rest } else { &rest[1..] };
    Some((number.parse().ok()?, FieldInfo { name, mark, type_ }))
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    let fields = messages()
        .get(name)
        .ok_or_else(|| ProtobufError::Unknown(name.to_owned()))?;
    let mut object = Map::new();
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.field()? {
        // A field of a newer client is left out, as an unknown one in JSON would be.
        let Some(field) = fields.get(&number) else {
            continue;
        };
        let value = |type_: &str, wire: &Wire<'_>| value(type_, wire, number, depth + 1);
        match field.mark {
            Mark::Once | Mark::Pointer => {
                let value = value(field.type_, &wire)?;
                if field.mark == Mark::Pointer || !is_zero(field.type_, &value) {
                    object.insert(field.name.to_owned(), value);
                }
            }
            Mark::List => {
                let value = value(field.type_, &wire)?;
                let list = object.entry(field.name).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(value);
                }
            }
            Mark::Map => {
                let Wire::Bytes(bytes) = wire else {
                    return Err(ProtobufError::Type(number));
                };
                let mut key = String::new();
                let mut entry = value(field.type_, &Wire::Bytes(&[]))?;
                let mut reader = Reader(bytes);
                while let Some((number, wire)) = reader.field()? {
                    match (number, &wire) {
                        (1, Wire::Bytes(bytes)) => key = text(bytes),
                        (2, _) => entry = value(field.type_, &wire)?,
                        _ => {}
                    }
                }
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                if let Some(map) = map.as_object_mut() {
                    map.insert(key, entry);
                }
            }
            Mark::Inline => {
                let Wire::Bytes(bytes) = wire else {
                    return Err(ProtobufError::Type(number));
                };
                object.append(&mut message(field.type_, bytes, depth + 1)?);
            }
        }
    }
    Ok(object)
}

/// What Go's JSON encoding leaves out.
fn is_zero(type_: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty() || (type_ == "q" && text == "0"),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn value(type_: &str, wire: &Wire<'_>, number: u64, depth: usize) -> Result<Value> {
    let wrong = || ProtobufError::Type(number);
    Ok(match (type_, wire) {
        // Negative numbers are written as 64 bits in two's complement.
        ("i", Wire::Number(number)) => number.cast_signed().into(),
        ("o", Wire::Number(flag)) => (*flag != 0).into(),
        ("s", Wire::Bytes(bytes)) => text(bytes).into(),
        ("b", Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        ("t" | "T", Wire::Bytes(bytes)) => time(bytes, type_ == "T")?,
        ("q", Wire::Bytes(bytes)) => {
            inner(bytes, 1)?.map_or_else(|| "0".into(), |bytes| text(bytes).into())
        }
        ("x", Wire::Bytes(bytes)) => int_or_string(bytes)?,
        ("f", Wire::Bytes(bytes)) => {
            let raw = inner(bytes, 1)?.unwrap_or_default();
            serde_json::from_slice(raw).unwrap_or_default()
        }
        ("i" | "o" | "s" | "b" | "t" | "T" | "q" | "x" | "f", _) | (_, Wire::Number(_)) => {
            return Err(wrong());
        }
        (name, Wire::Bytes(bytes)) => Value::Object(message(name, bytes, depth)?),
    })
}

/// Seconds and nanoseconds since 1970; nothing at all is no time.
fn time(bytes: &[u8], micros: bool) -> Result<Value> {
    let (mut seconds, mut nanos) = (0, 0);
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Number(value)) => seconds = value.cast_signed(),
            (2, Wire::Number(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Type(2))?;
    let time = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Type(1))?;
    let format = if micros {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Ok(time.strftime(format).to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut kind, mut number, mut string) = (0, 0, String::new());
    let mut reader = Reader(bytes);
    while let Some((field, wire)) = reader.field()? {
        match (field, wire) {
            (1, Wire::Number(value)) => kind = value,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => string = text(bytes),
            _ => {}
        }
    }
    Ok(if kind == 1 {
        string.into()
    } else {
        number.into()
    })
}

/// The bytes of one field of a message.
fn inner(bytes: &[u8], wanted: u64) -> Result<Option<&[u8]>> {
    let mut reader = Reader(bytes);
    let mut found = None;
    while let Some((number, wire)) = reader.field()? {
        if let (true, Wire::Bytes(bytes)) = (number == wanted, wire) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[number << 3 | 2, length], content].concat()
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC, &bytes(1, &meta), &bytes(2, raw)].concat()
    }

    #[test]
    fn an_object_is_read_with_its_maps_lists_and_inlined_fields() {
        let name = bytes(1, b"x");
        let label = bytes(11, &[bytes(1, b"app"), bytes(2, b"a")].concat());
        // An empty creationTimestamp and a generation of 0 are written by Go and mean nothing.
        let metadata = bytes(1, &[name, bytes(8, &[]), vec![7 << 3, 0], label].concat());
        let volume = [bytes(1, b"v"), bytes(2, &bytes(2, &[]))].concat();
        let spec = bytes(2, &[bytes(1, &volume), vec![4 << 3, 0]].concat());
        let pod = decode(&envelope("v1", "Pod", &[metadata, spec].concat())).expect("pod");
        assert_eq!(
            pod,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "x", "labels": {"app": "a"}},
                "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 0},
            })
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::Magic));
        let whole = envelope("v1", "Namespace", &bytes(1, &bytes(1, b"x")));
        for end in MAGIC.len() + 1..whole.len() {
            // Between two fields there is nothing to be seen of what is missing but that it is.
            if let Ok(value) = decode(&whole[..end]) {
                assert_eq!(value.get("metadata"), None, "{end}");
            }
        }
        assert!(matches!(
            decode(&envelope("example.com/v1", "Thing", b"")),
            Err(ProtobufError::Unknown(_))
        ));
    }

    #[test]
    fn every_message_that_is_named_is_there() {
        for fields in messages().values() {
            for field in fields.values() {
                assert!(
                    field.type_.len() == 1 || messages().contains_key(field.type_),
                    "{}",
                    field.type_
                );
            }
        }
        assert!(messages().len() > 200);
    }
}

#[cfg(test)]
mod fuzz;
