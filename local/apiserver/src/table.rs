//! Objects as rows of a table, which is how `kubectl get` asks for them
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>).

pub(crate) mod age;
pub(crate) mod builtin;
mod event;
pub(crate) mod jsonpath;
mod pod;

use std::borrow::Borrow;

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
    cell: Cell,
}

#[derive(Debug)]
enum Cell {
    Made(fn(&Value) -> Value),
    Path(JsonPath),
    /// The path of a column could not be understood; its cells stay empty.
    Empty,
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
    pub(crate) fn new(name: &str, type_: &str, cell: fn(&Value) -> Value) -> Self {
        Self {
            name: name.to_owned(),
            type_: type_.to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            cell: Cell::Made(cell),
        }
    }

    /// Shown with `-o wide` only.
    pub(crate) fn wide(name: &str, cell: fn(&Value) -> Value) -> Self {
        Self {
            priority: 1,
            ..Self::new(name, "string", cell)
        }
    }

    pub(crate) fn name() -> Self {
        Self {
            format: "name".to_owned(),
            description: "Name must be unique within a namespace.".to_owned(),
            ..Self::new("Name", "string", |object| {
                object["metadata"]["name"].clone()
            })
        }
    }

    pub(crate) fn age() -> Self {
        Self::new("Age", "string", |object| {
            age::since(&object["metadata"]["creationTimestamp"])
        })
    }

    /// From `additionalPrinterColumns`.
    pub(crate) fn custom(column: &Value) -> Self {
        let text = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            type_: text("type"),
            format: text("format"),
            description: text("description"),
            priority: column["priority"].as_i64().unwrap_or(0),
            cell: JsonPath::parse(&text("jsonPath")).map_or(Cell::Empty, Cell::Path),
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

    fn value(&self, object: &Value) -> Value {
        match &self.cell {
            Cell::Made(make) => make(object),
            Cell::Path(path) => cell(&self.type_, &path.find(object)),
            Cell::Empty => Value::Null,
        }
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
    columns: &[Column],
    objects: impl Iterator<Item = impl Borrow<Value>>,
    metadata: &Value,
    include: Include,
    header: bool,
) -> Value {
    let rows: Vec<Value> = objects
        .map(|object| {
            let object = object.borrow();
            let cells: Vec<Value> = columns.iter().map(|column| column.value(object)).collect();
            match include {
                Include::None => json!({"cells": cells}),
                Include::Metadata => json!({"cells": cells, "object": partial(object)}),
                Include::Object => json!({"cells": cells, "object": object}),
            }
        })
        .collect();
    let definitions: Value = if header {
        columns.iter().map(Column::definition).collect()
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
