//! `cargo xtask image`: OCI archives, made of static programs and Debian's packages without a
//! container engine.

mod archive;
mod elf;
mod layer;
mod program;
mod recipe;
mod rootfs;
mod tree;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

pub(crate) use self::program::PROFILE;
use self::{
    archive::{Archive, Platform},
    layer::Layer,
    program::Programs,
    recipe::Recipe,
    tree::Tree,
};
use crate::shell;

/// Each image and the folder of its recipe.
const IMAGES: [(&str, &str); 18] = [
    ("operator", "operator"),
    ("gateway", "gateway"),
    ("events", "events"),
    ("runtime-python", "runtimes/python"),
    ("runtime-node", "runtimes/node"),
    ("runtime-command", "runtimes/command"),
    ("runtime-go", "runtimes/go"),
    ("runtime-rust", "runtimes/rust"),
    ("build-python", "runtimes/build-python"),
    ("build-node", "runtimes/build-node"),
    ("build-go", "runtimes/build-go"),
    ("build-rust", "runtimes/build-rust"),
    ("git", "runtimes/git"),
    ("git-server", "runtimes/git-server"),
    ("push", "runtimes/push"),
    ("test-function", "tests/function"),
    ("runtime-ruby", "docs/runtimes.md#runtime"),
    ("build-ruby", "docs/runtimes.md#build"),
];

/// Those that are for tests alone.
const UNPUBLISHED: [&str; 3] = ["test-function", "runtime-ruby", "build-ruby"];

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// operator, gateway, events, runtime-python, runtime-node, runtime-command, runtime-go, runtime-rust, build-python,
    /// build-node, build-go, build-rust, git, git-server, push; all of them if none is named. For tests: test-function,
    /// runtime-ruby, build-ruby.
    names: Vec<String>,

    /// The registry and its folder that the references name, in place of the recipes'.
    #[arg(long)]
    registry: Option<String>,

    /// The tag that the references name.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,

    /// Take Debian's packages anew, as they are today, and not those of an earlier build.
    #[arg(long)]
    fresh: bool,
}

/// An image that was built.
#[derive(Debug)]
pub(crate) struct Image {
    /// Its name in this repository, such as `runtime-python`.
    pub(crate) name: String,
    /// What Kubernetes calls it, such as `ghcr.io/fermata-dev/runtime-python:0.1.0`.
    pub(crate) reference: String,
    /// The file: an OCI image layout in a tar.
    pub(crate) archive: PathBuf,
    /// The digest of its manifest, such as `sha256:…`.
    pub(crate) digest: String,
}

#[allow(clippy::print_stdout, reason = "what was built is the output")]
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    for image in build_as(options)? {
        let size = fs::metadata(&image.archive)?.len();
        println!(
            "{:<16} {}  {}  {:.1} MiB  {}",
            image.name,
            image.reference,
            image.digest,
            size as f64 / f64::from(1 << 20),
            image.archive.display(),
        );
    }
    Ok(())
}

/// Builds images into `target/images/`, under the references that the chart has by default.
///
/// # Errors
///
/// When a name is unknown, a program does not build, or Debian's packages cannot be had.
pub(crate) fn build(names: &[&str]) -> anyhow::Result<Vec<Image>> {
    build_as(&Options {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        registry: None,
        tag: env!("CARGO_PKG_VERSION").to_owned(),
        fresh: false,
    })
}

/// Builds images that are published: all, or those that are named.
///
/// # Errors
///
/// As [`build`].
pub(crate) fn build_published(
    names: &[&str],
    registry: Option<&str>,
    tag: &str,
    fresh: bool,
) -> anyhow::Result<Vec<Image>> {
    build_as(&Options {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        registry: registry.map(ToOwned::to_owned),
        tag: tag.to_owned(),
        fresh,
    })
}

/// A static program, also one that is in no image.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn static_program(name: &str) -> anyhow::Result<Vec<u8>> {
    Programs::build_one(name, &Platform::of_this_machine()?)?.read(name)
}

fn build_as(options: &Options) -> anyhow::Result<Vec<Image>> {
    // All names and recipes are looked at before the long work.
    let recipes = wanted(&options.names)?
        .into_iter()
        .map(|(name, folder)| Ok((name, Recipe::read(folder)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let platform = Platform::of_this_machine()?;
    let programs = Programs::build(&platform)?;
    recipes
        .iter()
        .map(|(name, recipe)| {
            assemble(name, recipe, options, &platform, &programs)
                .with_context(|| format!("image {name}"))
        })
        .collect()
}

/// Writes an image of one static program and nothing else.
pub(crate) fn of_program(reference: &str, program: &Path, archive: &Path) -> anyhow::Result<()> {
    let name = program.file_name().context("a program has a name")?;
    let content =
        fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    elf::check_static(&content)?;
    let mut tree = Tree::default();
    tree.add_file(name.display().to_string(), 0o755, content);
    let config = json!({"Entrypoint": [Path::new("/").join(name)], "User": "65535:65535"});
    let platform = Platform::of_this_machine()?;
    let layers = [Layer::pack(&tree)?];
    Archive::new(reference, &platform, &config, &BTreeMap::new(), &layers)?
        .write(archive)
        .with_context(|| format!("cannot write {}", archive.display()))
}

fn wanted(names: &[String]) -> anyhow::Result<Vec<(&'static str, &'static str)>> {
    if names.is_empty() {
        let published = IMAGES
            .iter()
            .filter(|(name, _)| !UNPUBLISHED.contains(name));
        return Ok(published.copied().collect());
    }
    let find = |name: &String| {
        let found = IMAGES.iter().find(|(known, _)| known == name).copied();
        found.with_context(|| {
            let known: Vec<&str> = IMAGES.iter().map(|(known, _)| *known).collect();
            format!("no image is called {name}; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// A layer for what Debian gives, which changes seldom, and one for the program.
fn assemble(
    name: &str,
    recipe: &Recipe,
    options: &Options,
    platform: &Platform,
    programs: &Programs,
) -> anyhow::Result<Image> {
    let mut layers = Vec::new();
    let mut tree = Tree::default();
    match &recipe.base {
        Some(base) => {
            let root = rootfs::build(name, base, recipe.user, platform, options.fresh)?;
            layers.push(root);
        }
        None => tree.add_basics(recipe.user),
    }
    tree.add_file(
        format!("usr/local/bin/{}", recipe.program),
        0o755,
        programs.read(&recipe.program)?,
    );
    let licence = shell::root().join("LICENSE");
    let licence =
        fs::read(&licence).with_context(|| format!("cannot read {}", licence.display()))?;
    tree.add_file("licenses/fermata/LICENSE", 0o644, licence);
    for (path, content) in &recipe.files {
        tree.add_file(path.clone(), 0o644, content.clone());
    }
    if let Some(folder) = &recipe.working_dir {
        tree.add_folder(folder.trim_start_matches('/'), 0o755);
    }
    layers.push(Layer::pack(&tree)?);

    let reference = recipe.reference(options.registry.as_deref(), &options.tag);
    let (config, annotations) = (recipe.config(), recipe.annotations(name, &options.tag));
    let archive = Archive::new(&reference, platform, &config, &annotations, &layers)?;
    let folder = shell::root().join("target/images");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.tar"));
    archive
        .write(&file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Image {
        name: name.to_owned(),
        reference,
        archive: file,
        digest: archive.digest().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_what_is_for_tests_is_built_by_default() {
        let names: Vec<&str> = wanted(&[]).unwrap().iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "operator",
                "gateway",
                "events",
                "runtime-python",
                "runtime-node",
                "runtime-command",
                "runtime-go",
                "runtime-rust",
                "build-python",
                "build-node",
                "build-go",
                "build-rust",
                "git",
                "git-server",
                "push"
            ]
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = wanted(&["python".into()]).unwrap_err().to_string();
        assert!(error.contains("no image is called python"), "{error}");
        assert!(error.contains("runtime-python"), "{error}");
    }

    #[test]
    fn every_recipe_is_readable_and_names_what_the_chart_names() {
        for (name, folder) in wanted(&[]).unwrap() {
            let recipe = Recipe::read(folder).unwrap();
            assert_eq!(
                recipe.reference(None, "0.1.0"),
                format!("ghcr.io/fermata-dev/{name}:0.1.0")
            );
        }
    }

    #[test]
    fn images_of_a_document_have_the_references_that_it_names() {
        for (name, folder) in wanted(&["runtime-ruby".into(), "build-ruby".into()]).unwrap() {
            let recipe = Recipe::read(folder).unwrap();
            let reference = recipe.reference(Some("registry.example/other"), "9");
            assert_eq!(reference, format!("registry.example.com/{name}:1"));
        }
    }

    #[test]
    fn the_test_function_has_the_reference_that_the_suites_name() {
        let recipe = Recipe::read("tests/function").unwrap();
        let reference = recipe.reference(Some("registry.example/other"), "9");
        assert_eq!(reference, "localhost/fermata-test-function:1");
    }
}
