//! `fermata init`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use fermata_crds::names::MAX_FUNCTION_NAME;

use crate::output;

/// The file by which editors know the fields of the manifest; hidden files are no part of a function.
const SCHEMA: &str = ".function.schema.json";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name of the function, and of the new directory.
    name: String,

    /// What the function is written in.
    #[arg(long, value_enum, default_value_t)]
    runtime: Language,

    /// With a small package of the language's registry, and a test that uses it. It is downloaded when the function
    /// runs for the first time. Python, Node.js and Go; that of TypeScript and of Rust has packages anyway.
    #[arg(long)]
    dependency: bool,

    /// The directory to write to. Default: the name.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Overwrite files that are there.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Language {
    /// Python: a function handle(request).
    #[default]
    Python,
    /// Node.js: a function handle(request).
    Node,
    /// TypeScript on Node.js, by the package tsx: a function handle(request).
    #[value(name = "typescript", alias = "ts")]
    TypeScript,
    /// Go: a program that serves HTTP on PORT.
    Go,
    /// Rust: a program that serves HTTP on PORT.
    Rust,
    /// Any executable: the body on standard input, the answer on standard output.
    Command,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let name = &options.name;
    check_name(name)?;
    let dir = options.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    let schema = serde_json::to_string(&fermata_crds::schema::function())
        .context("the manifest's schema cannot be written")?;
    let code = match (options.dependency, options.runtime) {
        (false, runtime) => code(runtime),
        (true, runtime) => code_with_dependency(runtime)?,
    };
    let mut files = vec![("function.yaml", manifest(name, options.runtime))];
    files.extend(code.iter().map(|(file, text)| (*file, (*text).to_owned())));
    files.push((SCHEMA, schema + "\n"));
    if let Some((file, _)) = files
        .iter()
        .find(|(file, _)| !options.force && dir.join(file).exists())
    {
        bail!(
            "{} is there already; --force overwrites it",
            dir.join(file).display()
        );
    }
    for (file, text) in &files {
        write(&dir.join(file), text)?;
    }
    let names: Vec<&str> = code.iter().map(|(file, _)| *file).collect();
    let dir = dir.display();
    output::line(&format!(
        "Wrote to {dir}: function.yaml, {}.\n",
        names.join(", ")
    ));
    let mut next = vec![
        (
            format!("fermata up -f {dir}"),
            "run it on this machine; changes are picked up",
        ),
        (
            format!("fermata deploy -f {dir}"),
            "run it on the cluster of your kubeconfig",
        ),
        (format!("fermata invoke {name} -d world"), "call it"),
    ];
    if options.runtime != Language::Command {
        next.push((format!("fermata test {dir}"), "run its tests"));
    }
    let width = next.iter().map(|(command, _)| command.len()).max();
    for (command, what) in &next {
        let width = width.unwrap_or_default();
        output::line(&format!("  {command:width$}   {what}"));
    }
    Ok(())
}

/// The rule that the API has too, said before anything is written.
fn check_name(name: &str) -> anyhow::Result<()> {
    let allowed = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
    };
    let valid = name.len() <= MAX_FUNCTION_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(allowed);
    if valid {
        return Ok(());
    }
    bail!(
        "\"{name}\" is no name for a function: use at most {MAX_FUNCTION_NAME} lower case letters, digits and '-', beginning with a letter"
    )
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the directory {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn manifest(name: &str, runtime: Language) -> String {
    let (runtime, handler) = match runtime {
        Language::Python => ("python", "\n    handler: main.handle"),
        Language::Node | Language::TypeScript => ("node", "\n    handler: main.handle"),
        Language::Go => ("go", ""),
        Language::Rust => ("rust", ""),
        Language::Command => ("command", "\n    handler: sh main.sh"),
    };
    format!(
        "# yaml-language-server: $schema={SCHEMA}
# The files beside this manifest are the function's code.
apiVersion: fermata.dev/v1alpha1
kind: Function
metadata:
  name: {name}
spec:
  source:
    runtime: {runtime}{handler}
  scale:
    min: 0   # rest at zero when nobody calls
    max: 10
"
    )
}

/// The same with a package of the language's registry: small, and without packages of its own.
///
/// # Errors
///
/// For a language that has no such example.
fn code_with_dependency(
    runtime: Language,
) -> anyhow::Result<&'static [(&'static str, &'static str)]> {
    Ok(match runtime {
        Language::Python => &[
            (
                "main.py",
                include_str!("../../templates/python-dependency/main.py"),
            ),
            (
                "test_main.py",
                include_str!("../../templates/python-dependency/test_main.py"),
            ),
            (
                "requirements.txt",
                include_str!("../../templates/python-dependency/requirements.txt"),
            ),
        ],
        Language::Node => &[
            (
                "main.mjs",
                include_str!("../../templates/node-dependency/main.mjs"),
            ),
            (
                "main.test.mjs",
                include_str!("../../templates/node-dependency/main.test.mjs"),
            ),
            (
                "package.json",
                include_str!("../../templates/node-dependency/package.json"),
            ),
            (
                "package-lock.json",
                include_str!("../../templates/node-dependency/package-lock.json"),
            ),
        ],
        Language::Go => &[
            (
                "main.go",
                include_str!("../../templates/go-dependency/main.go"),
            ),
            ("serve.go", include_str!("../../templates/go/serve.go")),
            (
                "main_test.go",
                include_str!("../../templates/go-dependency/main_test.go"),
            ),
            (
                "go.mod",
                include_str!("../../templates/go-dependency/go.mod.template"),
            ),
            (
                "go.sum",
                include_str!("../../templates/go-dependency/go.sum"),
            ),
        ],
        Language::TypeScript | Language::Rust => code(runtime),
        Language::Command => bail!(
            "--dependency is for python, node, typescript, go and rust; what a command needs is put into its image"
        ),
    })
}

/// The code, and its tests, by the names of files.
fn code(runtime: Language) -> &'static [(&'static str, &'static str)] {
    match runtime {
        Language::Python => &[
            ("main.py", include_str!("../../templates/python/main.py")),
            (
                "test_main.py",
                include_str!("../../templates/python/test_main.py"),
            ),
        ],
        Language::Node => &[
            ("main.mjs", include_str!("../../templates/node/main.mjs")),
            (
                "main.test.mjs",
                include_str!("../../templates/node/main.test.mjs"),
            ),
        ],
        Language::TypeScript => &[
            (
                "main.ts",
                include_str!("../../templates/typescript/main.ts"),
            ),
            (
                "main.test.ts",
                include_str!("../../templates/typescript/main.test.ts"),
            ),
            (
                "package.json",
                include_str!("../../templates/typescript/package.json"),
            ),
            (
                "package-lock.json",
                include_str!("../../templates/typescript/package-lock.json"),
            ),
            (
                "tsconfig.json",
                include_str!("../../templates/typescript/tsconfig.json"),
            ),
        ],
        Language::Go => &[
            ("main.go", include_str!("../../templates/go/main.go")),
            ("serve.go", include_str!("../../templates/go/serve.go")),
            (
                "main_test.go",
                include_str!("../../templates/go/main_test.go"),
            ),
            ("go.mod", include_str!("../../templates/go/go.mod.template")),
        ],
        Language::Rust => &[
            ("src/main.rs", include_str!("../../templates/rust/main.rs")),
            (
                "Cargo.toml",
                include_str!("../../templates/rust/Cargo.toml.template"),
            ),
        ],
        Language::Command => &[("main.sh", include_str!("../../templates/command/main.sh"))],
    }
}
