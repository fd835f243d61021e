//! JSON read with an eye on what serde passes over: fields that come twice, and nesting that is too deep.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::MAX_DEPTH;
use crate::schema;

/// Reads a value and notes the fields that an object has twice; the last one counts.
pub(super) struct Checked<'a> {
    path: String,
    duplicates: &'a mut Vec<String>,
    depth: usize,
}

// === impl Checked ===

impl<'a> Checked<'a> {
    /// The paths of doubled fields go to `duplicates`.
    pub(super) fn new(duplicates: &'a mut Vec<String>) -> Self {
        Self {
            path: String::new(),
            duplicates,
            depth: 0,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(serde::de::Error::custom(format!(
                "values may be nested at most {MAX_DEPTH} deep"
            )));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let seed = Checked {
                path: format!("{}[{}]", self.path, list.len()),
                duplicates: &mut *self.duplicates,
                depth: self.depth + 1,
            };
            match items.next_element_seed(seed)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut seen = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = schema::join(&self.path, &name);
            if !seen.insert(name.clone()) {
                self.duplicates.push(path.clone());
            }
            let seed = Checked {
                path,
                duplicates: &mut *self.duplicates,
                depth: self.depth + 1,
            };
            map.insert(name, fields.next_value_seed(seed)?);
        }
        Ok(Value::Object(map))
    }
}
