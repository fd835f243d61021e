//! Objects as rows of a table, which is how `kubectl get` asks for them
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>).

pub(crate) mod age;
pub(crate) mod builtin;
mod cells;
mod event;
pub(crate) mod jsonpath;
mod network;
mod node;
mod pod;
mod workload;

use std::borrow::Borrow;

use k8s_openapi::{Metadata, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::jsonpath::JsonPath;

/// One column.
#[derive(Debug)]
pub(crate) struct Column {
    name: String,
    type_: String,
    format: String,
    description: String,
    /// 0 is always shown, more only with `-o wide`.
    priority: i64,
}

/// A column, and how its cell is made of an object of type `T`.
type TypedColumn<T> = (Column, Cell<T>);

/// How a cell is made.
type Cell<T> = fn(&T) -> Value;

/// How all cells of a row are made.
type Row = Box<dyn Fn(&Value) -> Vec<Value> + Send + Sync>;

/// The columns of a kind, and how the cells of a row are made of an object.
pub(crate) struct Columns {
    columns: Vec<Column>,
    cells: Row,
}

/// How much of each object goes with its row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

// === impl Column ===

impl Column {
    fn new(name: &str, type_: &str) -> Self {
        Self {
            name: name.to_owned(),
            type_: type_.to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
        }
    }

    /// The name of an object, which comes first.
    fn name() -> Self {
        Self {
            format: "name".to_owned(),
            description: "Name must be unique within a namespace.".to_owned(),
            ..Self::new("Name", "string")
        }
    }

    /// From `additionalPrinterColumns`.
    fn custom(column: &Value) -> Self {
        let text = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            type_: text("type"),
            format: text("format"),
            description: text("description"),
            priority: column["priority"].as_i64().unwrap_or(0),
        }
    }

    fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.type_,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

// === impl Columns ===

impl Columns {
    /// Those of a built-in kind. An object that cannot be read as its type has a row with its name alone.
    fn of<T: DeserializeOwned + 'static>(columns: Vec<TypedColumn<T>>) -> Self {
        let (columns, cells): (Vec<Column>, Vec<Cell<T>>) = columns.into_iter().unzip();
        let name = columns.iter().position(|column| column.name == "Name");
        Self {
            columns,
            cells: Box::new(move |object| match T::deserialize(object) {
                Ok(object) => cells.iter().map(|cell| cell(&object)).collect(),
                Err(_) => (0..cells.len())
                    .map(|index| match name {
                        Some(name) if name == index => object["metadata"]["name"].clone(),
                        _ => Value::Null,
                    })
                    .collect(),
            }),
        }
    }

    /// Those of a built-in kind, the name before them.
    fn named<T>(columns: Vec<TypedColumn<T>>) -> Self
    where
        T: DeserializeOwned + Metadata<Ty = ObjectMeta> + 'static,
    {
        let mut all: Vec<TypedColumn<T>> =
            vec![(Column::name(), |object| json!(object.metadata().name))];
        all.extend(columns);
        Self::of(all)
    }

    /// Those of a definition, as its `additionalPrinterColumns` say; without any, the age.
    pub(crate) fn custom(given: &Value) -> Self {
        let default = [json!({
            "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
        })];
        let given = match given.as_array() {
            Some(given) if !given.is_empty() => given.as_slice(),
            _ => &default,
        };
        let mut columns = vec![Column::name()];
        columns.extend(given.iter().map(Column::custom));
        // The cells of a path that cannot be understood stay empty.
        let paths: Vec<(String, Option<JsonPath>)> = given
            .iter()
            .map(|column| {
                let text = |name: &str| column[name].as_str().unwrap_or_default();
                (text("type").to_owned(), JsonPath::parse(text("jsonPath")))
            })
            .collect();
        Self {
            columns,
            cells: Box::new(move |object| {
                let name = object["metadata"]["name"].clone();
                let cells = paths.iter().map(|(type_, path)| {
                    let found = path.as_ref().map(|path| path.find(object));
                    cell(type_, &found.unwrap_or_default())
                });
                std::iter::once(name).chain(cells).collect()
            }),
        }
    }

    /// The cells of an object's row.
    fn cells(&self, object: &Value) -> Vec<Value> {
        (self.cells)(object)
    }
}

/// What a path found, as the column's type wants it; null when it does not fit.
fn cell(type_: &str, found: &[&Value]) -> Value {
    let Some(first) = found.first() else {
        return Value::Null;
    };
    match type_ {
        "string" if found.len() > 1 => {
            let all: Vec<String> = found.iter().map(|value| plain(value)).collect();
            all.join(" ").into()
        }
        "string" => plain(first).into(),
        "date" => match first {
            Value::String(_) => age::since(first),
            _ => Value::Null,
        },
        "integer" if first.is_i64() || first.is_u64() => (*first).clone(),
        "integer" => first.as_f64().map_or(Value::Null, |number| {
            serde_json::Number::from_f64(number.trunc()).map_or(Value::Null, Value::Number)
        }),
        "number" if first.is_number() => (*first).clone(),
        "boolean" if first.is_boolean() => (*first).clone(),
        _ => Value::Null,
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A table of objects. `metadata` is that of the list; without `header` the columns are not named again.
pub(crate) fn table(
    columns: &Columns,
    objects: impl Iterator<Item = impl Borrow<Value>>,
    metadata: &Value,
    include: Include,
    header: bool,
) -> Value {
    let rows: Vec<Value> = objects
        .map(|object| {
            let object = object.borrow();
            let cells = columns.cells(object);
            match include {
                Include::None => json!({"cells": cells}),
                Include::Metadata => json!({"cells": cells, "object": partial(object)}),
                Include::Object => json!({"cells": cells, "object": object}),
            }
        })
        .collect();
    let definitions: Value = if header {
        columns.columns.iter().map(Column::definition).collect()
    } else {
        Value::Null
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

/// An object reduced to its metadata.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

#[cfg(test)]
mod fuzz;
