//! Protobuf fields from types in Go: their tags have the number, and the type says how often a field comes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use anyhow::{Context as _, ensure};

use super::{Modules, ROOTS};

/// What a file of types defines.
#[derive(Debug, Default)]
struct Package {
    structs: HashMap<String, Vec<Field>>,
    /// Names for other types.
    names: HashMap<String, String>,
}

#[derive(Debug)]
struct Field {
    /// As JSON has it; that of the message for fields that JSON has in the parent.
    name: String,
    number: u32,
    inline: bool,
    type_: String,
}

/// What is left out on purpose: a map of lists, which no request here has.
const LEFT_OUT: [(&str, &str); 1] = [("authentication.v1.UserInfo", "extra")];

type Packages = BTreeMap<&'static str, Package>;

/// The file of fields: the messages of all roots with all that they refer to.
pub(super) fn fields(modules: &Modules) -> anyhow::Result<String> {
    let mut packages = Packages::new();
    for (group, _) in ROOTS {
        let dir = match *group {
            "meta" => modules.apimachinery.join("pkg/apis/meta/v1"),
            group => modules.api.join(group).join("v1"),
        };
        packages.insert(group, read(&dir.join("types.go"))?);
    }
    let mut lines = BTreeMap::new();
    let mut wanted: BTreeSet<(&str, String)> = ROOTS
        .iter()
        .flat_map(|(group, kinds)| kinds.iter().map(|kind| (*group, (*kind).to_owned())))
        .collect();
    while let Some((group, name)) = wanted.pop_first() {
        let message = format!("{group}.v1.{name}");
        if lines.contains_key(&message) {
            continue;
        }
        let fields = packages
            .get(group)
            .and_then(|package| package.structs.get(&name))
            .with_context(|| format!("{message} is not defined"))?;
        let mut line = message.clone();
        for field in fields {
            let Some(found) = resolve(&packages, group, &field.type_) else {
                ensure!(
                    LEFT_OUT.contains(&(&message, &field.name)),
                    "{message}.{} is of a type that has no mark yet, {}; teach xtask/src/kubernetes/go.rs and the API server's protobuf.rs of it",
                    field.name,
                    field.type_
                );
                continue;
            };
            let mark = if field.inline { "^" } else { found.mark };
            line += &format!(" {}={}{mark}{}", field.name, field.number, found.type_);
            wanted.extend(found.message);
        }
        lines.insert(message, line);
    }
    Ok(lines.into_values().map(|line| line + "\n").collect())
}

fn read(path: &Path) -> anyhow::Result<Package> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let mut package = Package::default();
    let mut open: Option<(String, Vec<Field>)> = None;
    for line in text.lines() {
        if let Some((_, fields)) = &mut open {
            if line != "}" {
                fields.extend(field(line));
            } else if let Some((name, fields)) = open.take() {
                package.structs.insert(name, fields);
            }
            continue;
        }
        let Some((name, type_)) = line
            .strip_prefix("type ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        if type_ == "struct {" {
            open = Some((name.to_owned(), Vec::new()));
        } else {
            let type_ = type_.trim_start_matches("= ").to_owned();
            package.names.insert(name.to_owned(), type_);
        }
    }
    Ok(package)
}

/// A field that has a number.
fn field(line: &str) -> Option<Field> {
    let line = line.trim();
    let (declared, tags) = line.split_once('`')?;
    // Numbers that are given no more stand in comments.
    if declared.starts_with("//") {
        return None;
    }
    let tag = |name: &str| {
        let (_, rest) = tags.split_once(&format!("{name}:\""))?;
        rest.split('"').next()
    };
    let mut protobuf = tag("protobuf")?.split(',');
    let number = protobuf.nth(1)?.parse().ok()?;
    let message = protobuf.find_map(|part| part.strip_prefix("name="));
    let json = tag("json")?.split(',').next().unwrap_or_default();
    let type_ = declared.split_whitespace().last()?;
    // A parent's field without a name of its own has that of its type.
    let name = match (json, message) {
        ("", Some(message)) => message.to_owned(),
        ("", None) => {
            let (first, rest) = type_.split_at_checked(1)?;
            first.to_lowercase() + rest
        }
        (json, _) => json.to_owned(),
    };
    Some(Field {
        name,
        number,
        inline: json.is_empty(),
        type_: type_.to_owned(),
    })
}

/// A type as the file writes it.
struct Found {
    mark: &'static str,
    type_: String,
    /// The message that it names.
    message: Option<(&'static str, String)>,
}

/// `None` for what the file cannot write: maps and lists of lists, and types of other packages.
fn resolve(packages: &Packages, group: &str, type_: &str) -> Option<Found> {
    let inner = |mark, type_: &str| {
        let found = resolve(packages, group, type_)?;
        (found.mark.is_empty() || found.mark == "?").then_some(Found { mark, ..found })
    };
    if let Some(rest) = type_.strip_prefix('*') {
        return inner("?", rest);
    }
    if type_ != "[]byte"
        && let Some(rest) = type_.strip_prefix("[]")
    {
        return inner("*", rest);
    }
    if let Some((_, rest)) = type_
        .strip_prefix("map[")
        .and_then(|rest| rest.split_once(']'))
    {
        return inner("%", rest);
    }
    let scalar = match type_ {
        "string" | "types.UID" => "s",
        "[]byte" => "b",
        "bool" => "o",
        "int" | "int32" | "int64" | "uint8" | "byte" => "i",
        "metav1.Time" => "t",
        "metav1.MicroTime" => "T",
        "resource.Quantity" => "q",
        "intstr.IntOrString" => "x",
        "metav1.FieldsV1" => "f",
        "Time" if group == "meta" => "t",
        "MicroTime" if group == "meta" => "T",
        "FieldsV1" if group == "meta" => "f",
        _ => "",
    };
    if !scalar.is_empty() {
        return Some(Found {
            mark: "",
            type_: scalar.to_owned(),
            message: None,
        });
    }
    let (group, name) = match type_.split_once('.') {
        Some(("metav1", name)) => ("meta", name),
        Some(("v1" | "corev1", name)) => ("core", name),
        Some(_) => return None,
        None => (group, type_),
    };
    let (&group, package) = packages.get_key_value(group)?;
    if let Some(other) = package.names.get(name) {
        return resolve(packages, group, other);
    }
    package.structs.get(name)?;
    Some(Found {
        mark: "",
        type_: format!("{group}.v1.{name}"),
        message: Some((group, name.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_types_make_a_field() {
        let written = |line: &str| {
            let field = field(line)?;
            let found = resolve(&Packages::new(), "core", &field.type_)?;
            Some(format!(
                "{}={}{}{}",
                field.name, field.number, found.mark, found.type_
            ))
        };
        for (line, wanted) in [
            (
                "\tA *int64 `json:\"a,omitempty\" protobuf:\"varint,7,opt,name=a\"`",
                "a=7?i",
            ),
            (
                "\tD map[string][]byte `json:\"data\" protobuf:\"bytes,2,rep,name=data\"`",
                "data=2%b",
            ),
            (
                "\tF []string `json:\"f\" patchStrategy:\"merge\" protobuf:\"bytes,14,rep,name=f\"`",
                "f=14*s",
            ),
        ] {
            assert_eq!(written(line).as_deref(), Some(wanted), "{line}");
        }
        assert_eq!(written("\tmetav1.TypeMeta `json:\",inline\"`"), None);
        assert_eq!(
            written("\t// F *string `json:\"f\" protobuf:\"bytes,15,opt,name=f\"`"),
            None
        );
        assert_eq!(
            written("\tE map[string][]string `json:\"e\" protobuf:\"bytes,4,rep,name=e\"`"),
            None
        );
    }
}
