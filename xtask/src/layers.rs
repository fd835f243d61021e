//! Which modules of a crate may import which: the layers of the table below, each of which imports only
//! itself and what stands before it; and no circles, neither between layers nor within one.
//!
//! What is looked at is paths that begin with `crate` or `super`, outside of tests. A module may use what
//! its parent defines, and a parent its children.

mod circle;
mod imports;
mod source;

use anyhow::bail;

use crate::shell;
use source::{Module, Name};

/// The layers of one crate.
struct Crate {
    /// Its folder.
    dir: &'static str,
    /// Its modules with everything below them, lowest layer first. The longest name counts, so that a part
    /// of a module may stand elsewhere than the rest.
    layers: &'static [&'static [&'static str]],
}

const CRATES: [Crate; 9] = [
    Crate {
        dir: "gateway",
        layers: &[
            &[
                "admin::metrics",
                "causes",
                "clock",
                "error",
                "hang_up",
                "options",
                "random",
                "stall",
                "sync",
            ],
            &["upstream"],
            &["failure"],
            &["backend"],
            &["cluster"],
            &["scale"],
            &["activator"],
            &["proxy"],
            &["trigger"],
            &["admin", "admin::metrics::page"],
            &["data_plane", "gateway"],
        ],
    },
    Crate {
        dir: "operator",
        layers: &[
            &[
                "admin",
                "backoff",
                "cache",
                "builds",
                "definitions",
                "digest",
                "drift",
                "looks",
                "metrics",
                "options",
                "queue",
                "sources",
            ],
            &["children", "writes"],
            &["inherited", "observed", "unreadable"],
            &["cluster", "plan"],
            &["context"],
            &["controller"],
            &["revision"],
            &["function"],
            // Objects for tests of all of them.
            &["operator", "fixtures"],
        ],
    },
    Crate {
        dir: "daemon",
        layers: &[
            &["admin", "lease", "watch"],
            &["events", "log"],
            &["process"],
        ],
    },
    Crate {
        dir: "crds",
        layers: &[
            &[
                "backlog",
                "conditions",
                "delivery",
                "duration",
                "expose",
                "function",
                "git",
                "grpc",
                "names",
                "pod_failure",
                "pod_security",
                "reasons",
                "recurrence",
                "revision",
                "rules",
                "sample",
                "scale",
                "source",
                "topic",
                "trigger",
            ],
            &["source_files"],
            &["runtime"],
            &["crd", "pods", "probes", "routes", "template"],
            &["schema"],
        ],
    },
    Crate {
        dir: "local/apiserver",
        layers: &[
            &[
                "clock",
                "media",
                "protobuf",
                "random",
                "spdy",
                "status",
                "streaming",
            ],
            &["names", "response", "schema", "store", "typed"],
            &["apply", "convert", "table"],
            &["resource"],
            &["security", "selector"],
            &["kinds"],
            &[
                "resource::builtin",
                "resource::custom",
                "resource::registry",
            ],
            &["decode"],
            &["merge", "request"],
            &["auth::token"],
            &["api"],
            &["auth", "discovery"],
            &["openapi"],
            &["write"],
            &["handlers"],
            &["router", "background"],
            &["server"],
            &["start"],
        ],
    },
    Crate {
        dir: "local/node",
        layers: &[
            &["ports", "supervisor"],
            &["admission"],
            &["controllers", "node"],
            // The helper that stands beside a container.
            &["bin"],
        ],
    },
    Crate {
        dir: "push",
        layers: &[
            &["digest", "error", "proxy", "reference"],
            &["credentials", "settings"],
            &["layer", "registry"],
            &["base"],
            &["image"],
            &["push"],
        ],
    },
    Crate {
        dir: "events",
        layers: &[
            &["allow", "error", "id", "options", "problem", "rooms"],
            &["invocation"],
            &["event", "store"],
            &["metrics"],
            &["delivery", "server"],
            &["events"],
        ],
    },
    Crate {
        dir: "listen",
        layers: &[&[
            "address", "attended", "files", "host", "listener", "seats", "seldom",
        ]],
    },
];

/// An import that should not be, or a module that nobody has given a place.
#[derive(Debug, Eq, PartialEq, PartialOrd, Ord)]
struct Fault {
    file: String,
    line: usize,
    what: String,
}

/// Checks the imports of all crates that have layers.
///
/// # Errors
///
/// Names each import that goes up or round, with file and line.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for Crate { dir, layers } in &CRATES {
        let modules = source::read(&shell::root(), dir)?;
        faults.extend(self::faults(layers, &modules));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let faults: Vec<String> = faults
        .iter()
        .map(|Fault { file, line, what }| format!("{file}:{line}: {what}"))
        .collect();
    bail!(
        "imports against the layers of xtask/src/layers.rs:\n{}",
        faults.join("\n")
    )
}

fn faults(layers: &[&[&str]], modules: &[Module]) -> Vec<Fault> {
    let names: Vec<&Name> = modules.iter().map(|module| &*module.name).collect();
    let mut faults = Vec::new();
    let mut circles = circle::Graph::default();
    for module in modules {
        let Some((own, own_layer)) = place(layers, &module.name) else {
            faults.push(Fault {
                file: module.file.clone(),
                line: 1,
                what: format!("{} has no layer: give it one", module.name.join("::")),
            });
            continue;
        };
        for (line, path) in imports::of(&module.text, &module.name) {
            let Some(target) = longest(&names, &path) else {
                continue;
            };
            let Some((other, other_layer)) = place(layers, target) else {
                continue;
            };
            let (from, to) = (module.name.join("::"), target.join("::"));
            let at = (module.file.clone(), line);
            if other_layer > own_layer {
                let what = format!("{from} imports {to}, which stands above it");
                let (file, line) = at;
                faults.push(Fault { file, line, what });
            } else {
                let ends = (&*module.name, own);
                circles.add(ends, (target, other), at);
            }
        }
    }
    faults.extend(circles.find().map(|found| {
        let ((file, line), names) = found;
        let what = format!("a circle of imports: {}", names.join(" -> "));
        Fault { file, line, what }
    }));
    faults.sort();
    faults
}

/// The module among these that a path leads to or into.
fn longest<'a>(names: &[&'a Name], path: &[String]) -> Option<&'a Name> {
    let within = names.iter().filter(|name| path.starts_with(name));
    within.max_by_key(|name| name.len()).copied()
}

/// How many parts of a module's name its layer names, and which layer that is.
fn place(layers: &[&[&str]], name: &Name) -> Option<(usize, usize)> {
    let entries = layers
        .iter()
        .enumerate()
        .flat_map(|(layer, entries)| entries.iter().map(move |entry| (layer, entry)));
    entries
        .filter_map(|(layer, entry)| {
            let parts: Vec<&str> = entry.split("::").collect();
            let begins =
                name.len() >= parts.len() && parts.iter().zip(name).all(|(part, own)| part == own);
            begins.then_some((parts.len(), layer))
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [&[&str]; 3] = [&["base", "top::low"], &["middle"], &["top"]];

    fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
        let modules: Vec<Module> = files
            .iter()
            .map(|(name, text)| Module {
                file: format!("src/{}.rs", name.replace("::", "/")),
                name: name.split("::").map(ToOwned::to_owned).collect(),
                text: source::blank(text),
            })
            .collect();
        let faults = faults(&LAYERS, &modules).into_iter();
        faults
            .map(|fault| format!("{}:{}: {}", fault.file, fault.line, fault.what))
            .collect()
    }

    #[test]
    fn an_upward_import_is_named_with_file_and_line() {
        let faults = faults_of(&[
            (
                "base",
                "//! crate::top\nuse crate::{\n    base::A,\n    middle::{B, C},\n};",
            ),
            ("middle", "fn f() { crate::top::g() }"),
            ("top", "use crate::{base::A, middle::B};"),
        ]);
        assert_eq!(
            faults,
            [
                "src/base.rs:4: base imports middle, which stands above it",
                "src/base.rs:4: base imports middle, which stands above it",
                "src/middle.rs:1: middle imports top, which stands above it",
            ]
        );
    }

    #[test]
    fn a_part_of_a_module_may_stand_lower_than_the_rest() {
        let low = ("top::low", "use crate::base::A;");
        let base = ("base", "use crate::top::low::B;");
        let middle = ("middle", "use crate::top::low::B;");
        let top = ("top", "use crate::middle::C;");
        assert_eq!(faults_of(&[low, middle, top]), Vec::<String>::new());
        let circle = "a circle of imports: base -> top::low -> base";
        assert_eq!(
            faults_of(&[low, base, top]),
            [format!("src/base.rs:1: {circle}")]
        );
    }

    #[test]
    fn siblings_do_not_import_each_other_and_children_use_their_parent() {
        let parent = ("top", "pub struct A;");
        let one = ("top::one", "use super::{A, two::B};");
        let below = ("top::two::below", "use crate::top::one::C;");
        let two = ("top::two", "pub struct B;");
        assert_eq!(
            faults_of(&[parent, one, two, below]),
            ["src/top/one.rs:1: a circle of imports: top::one -> top::two -> top::one"]
        );
        let below = ("top::two::below", "use super::super::A;");
        assert_eq!(faults_of(&[parent, one, two, below]), Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_layer_is_told() {
        let faults = faults_of(&[("stray", "")]);
        assert_eq!(faults, ["src/stray.rs:1: stray has no layer: give it one"]);
    }

    #[test]
    fn the_crates_are_as_the_table_says() {
        check().expect("no import goes up or round");
    }
}
