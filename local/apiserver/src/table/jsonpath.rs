//! The JSONPath of printer columns: fields, indices, `[*]`, `['name']` and filters such as
//! `[?(@.type=="Ready")]` (<https://kubernetes.io/docs/reference/kubectl/jsonpath/>).

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter {
        path: JsonPath,
        compare: Option<(Compare, Value)>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

// === impl JsonPath ===

impl JsonPath {
    /// `None` when the text is no path that is understood.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() && steps.is_empty() {
                    break;
                }
                let (name, after) = field(after)?;
                steps.push(if name == "*" {
                    Step::All
                } else {
                    Step::Field(name)
                });
                rest = after;
            } else {
                let inner = rest.strip_prefix('[')?;
                let end = closing(inner)?;
                steps.push(bracket(&inner[..end])?);
                rest = &inner[end + 1..];
            }
        }
        Some(Self { steps })
    }

    /// All that the path leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.steps.iter().fold(vec![value], |found, step| {
            found
                .into_iter()
                .flat_map(|value| step.from(value))
                .collect()
        })
    }
}

impl Step {
    fn from<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => {
                let Some(items) = value.as_array() else {
                    return Vec::new();
                };
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let index = if *index < 0 { length + index } else { *index };
                usize::try_from(index)
                    .ok()
                    .and_then(|index| items.get(index))
                    .into_iter()
                    .collect()
            }
            Self::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            },
            Self::Filter { path, compare } => value
                .as_array()
                .into_iter()
                .flatten()
                .filter(|item| {
                    let found = path.find(item);
                    match compare {
                        None => !found.is_empty(),
                        Some((compare, wanted)) => {
                            found.iter().any(|value| compare.holds(value, wanted))
                        }
                    }
                })
                .collect(),
        }
    }
}

impl Compare {
    fn holds(self, value: &Value, wanted: &Value) -> bool {
        let order = match (value, wanted) {
            (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
            _ => value
                .as_f64()
                .zip(wanted.as_f64())
                .and_then(|(one, other)| one.partial_cmp(&other)),
        };
        match self {
            Self::Equal => value == wanted || order.is_some_and(|order| order.is_eq()),
            Self::NotEqual => value != wanted && order.is_none_or(|order| order.is_ne()),
            Self::Less => order.is_some_and(|order| order.is_lt()),
            Self::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Self::Greater => order.is_some_and(|order| order.is_gt()),
            Self::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        }
    }
}

/// A field name, in which a backslash makes the next character a part of it.
fn field(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            '.' | '[' => return (!name.is_empty()).then_some((name, &text[index..])),
            other => name.push(other),
        }
    }
    (!name.is_empty()).then_some((name, ""))
}

/// Where the bracket closes that was open before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(index),
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    let inner = inner.trim();
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return filtered(filter.trim());
    }
    if let Some(Value::String(name)) = literal(inner) {
        return Some(Step::Field(name));
    }
    inner.parse().ok().map(Step::Index)
}

fn filtered(filter: &str) -> Option<Step> {
    const OPERATORS: &[(&str, Compare)] = &[
        ("==", Compare::Equal),
        ("!=", Compare::NotEqual),
        ("<=", Compare::LessOrEqual),
        (">=", Compare::GreaterOrEqual),
        ("<", Compare::Less),
        (">", Compare::Greater),
    ];
    let found = OPERATORS
        .iter()
        .filter_map(|(sign, compare)| Some((filter.find(sign)?, *sign, *compare)))
        .min_by_key(|(index, sign, _)| (*index, std::cmp::Reverse(sign.len())));
    let (path, compare) = match found {
        Some((index, sign, compare)) => {
            let wanted = literal(filter[index + sign.len()..].trim())?;
            (filter[..index].trim(), Some((compare, wanted)))
        }
        None => (filter, None),
    };
    Some(Step::Filter {
        path: JsonPath::parse(path.strip_prefix('@')?)?,
        compare,
    })
}

fn literal(text: &str) -> Option<Value> {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inner) = quoted('\'').or_else(|| quoted('"')) {
        return Some(inner.into());
    }
    match serde_json::from_str(text).ok()? {
        Value::Number(number) => Some(Value::Number(number)),
        Value::Bool(flag) => Some(Value::Bool(flag)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_where_kubectl_goes() {
        let value = json!({
            "status": {"conditions": [
                {"type": "Active", "status": "False", "n": 1},
                {"type": "Ready", "status": "True", "n": 2},
            ]},
            "metadata": {"annotations": {"a.b/c": "x"}},
        });
        for (path, found) in [
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type=='Ready')].status",
                json!(["True"]),
            ),
            (".status.conditions[?(@.n<2)].type", json!(["Active"])),
            (".status.conditions[?(@.n>=2)].type", json!(["Ready"])),
            (".status.conditions[*].type", json!(["Active", "Ready"])),
            (".status.conditions[0].type", json!(["Active"])),
            (".status.conditions[-1].type", json!(["Ready"])),
            (r".metadata.annotations.a\.b/c", json!(["x"])),
            (".metadata.annotations['a.b/c']", json!(["x"])),
            (".nothing.here", json!([])),
        ] {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(json!(parsed.find(&value)), found, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["spec", ".a[", ".a[?(b==1)]", ".a[x]", ".."] {
            assert_eq!(JsonPath::parse(text), None, "{text}");
        }
    }
}

#[cfg(test)]
mod fuzz;
