//! Images that a document shows as a Dockerfile: they are made without a container engine too, so that tests on a cluster
//! run what readers of the document get. Of Dockerfiles no more is known than that needs; what is not known is refused.

use anyhow::{Context as _, bail, ensure};

use super::{Base, Recipe};

/// What a base image of Debian holds that the documents use.
const ESSENTIAL: [&str; 7] = [
    "base-files",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "sed",
    "tzdata",
];

/// Where the programs of Fermata's own images come from.
const OWN_IMAGES: &str = "ghcr.io/fermata-dev/";

/// What has been read of a stage.
#[derive(Clone, Debug, Default)]
struct Stage {
    name: String,
    suite: String,
    packages: Vec<String>,
    program: Option<String>,
    files: Vec<(String, Vec<u8>)>,
    user: u32,
}

/// The recipe of a stage that a document shows.
///
/// # Errors
///
/// When the document does not show it, or in words that are not known.
pub(super) fn read(document: &str, stage: &str) -> anyhow::Result<Recipe> {
    let dockerfile = block(document, "dockerfile", "FROM ").context("it shows no Dockerfile")?;
    let mut stages: Vec<Stage> = Vec::new();
    for line in dockerfile.lines().filter(|line| !line.trim().is_empty()) {
        instruction(line, document, &mut stages)
            .with_context(|| format!("in its line {line:?}"))?;
    }
    let found = stages.into_iter().find(|known| known.name == stage);
    let found = found.with_context(|| format!("its Dockerfile has no stage {stage}"))?;
    let built = format!("podman build --target {stage} --tag ");
    let image = document
        .lines()
        .find_map(|line| line.trim().strip_prefix(&*built)?.strip_suffix(" ."))
        .with_context(|| format!("it does not say how the stage is built: {built}IMAGE:TAG ."))?;
    let (image, tag) = image
        .rsplit_once(':')
        .with_context(|| format!("{image} has no tag"))?;
    ensure!(found.user != 0, "stage {stage} runs as root at its end");
    Ok(Recipe {
        image: image.to_owned(),
        tag: Some(tag.to_owned()),
        description: format!("The stage {stage} of a document, for tests"),
        base: Some(Base {
            distribution: "debian".to_owned(),
            suite: found.suite,
            packages: found.packages,
            remove: Vec::new(),
            keep: Vec::new(),
            run: Vec::new(),
        }),
        program: found.program.context("no stage has fermata-invoker")?,
        env: [("LANG".to_owned(), "C.UTF-8".to_owned())].into(),
        user: found.user,
        working_dir: None,
        entrypoint: Vec::new(),
        files: found.files,
    })
}

fn instruction(line: &str, document: &str, stages: &mut Vec<Stage>) -> anyhow::Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let ["FROM", from, "AS", name] = words[..] {
        let mut stage = match from.strip_prefix("docker.io/library/debian:") {
            Some(tag) => Stage {
                suite: tag.trim_end_matches("-slim").to_owned(),
                packages: ESSENTIAL.map(ToOwned::to_owned).to_vec(),
                ..Stage::default()
            },
            None => {
                let known = stages.iter().find(|stage| stage.name == from);
                known.context("no such stage")?.clone()
            }
        };
        stage.name = name.to_owned();
        stages.push(stage);
        return Ok(());
    }
    let stage = stages.last_mut().context("there is no FROM before it")?;
    match words[..] {
        ["USER", user] => {
            let id = user.split(':').next().unwrap_or_default();
            stage.user = id.parse().context("a user is a number here")?;
        }
        ["COPY", from, file, to] if from.starts_with("--from=") => {
            let image = from.trim_start_matches("--from=");
            ensure!(
                image.starts_with(OWN_IMAGES)
                    && image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))),
                "only programs of Fermata's own images of this version can be copied"
            );
            ensure!(to == "/usr/local/bin/", "they stand in /usr/local/bin/");
            let program = file.strip_prefix(to).context("it is a program")?;
            stage.program = Some(program.to_owned());
        }
        ["COPY", file, to] => {
            let begins = format!("# {file}: ");
            let content = ["ruby", "sh", "python"]
                .into_iter()
                .find_map(|language| block(document, language, &begins));
            let content = content.with_context(|| format!("no block begins with {begins:?}"))?;
            let path = to.trim_start_matches('/').to_owned();
            stage.files.push((path, content.as_bytes().to_vec()));
        }
        ["RUN", ..] => stage.packages.extend(installed(line)?),
        _ => bail!("the instruction is not known here"),
    }
    Ok(())
}

/// The packages that a line installs, which does nothing else.
fn installed(line: &str) -> anyhow::Result<Vec<String>> {
    const BEGIN: &str = "RUN apt-get update && apt-get install -y --no-install-recommends ";
    const END: &str = " && rm -rf /var/lib/apt/lists/*";
    let packages = line
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END))
        .with_context(|| format!("only {BEGIN}PACKAGES{END} can be run"))?;
    Ok(packages.split(' ').map(ToOwned::to_owned).collect())
}

/// The block of a language that begins with these words.
fn block<'a>(document: &'a str, language: &str, begins: &str) -> Option<&'a str> {
    let blocks = document.split("\n```").skip(1).step_by(2);
    let mut contents = blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    contents.find(|content| content.starts_with(begins))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# Page

```ruby
# own.rb: a file
puts 1
```

```dockerfile
FROM docker.io/library/debian:trixie-slim AS runtime
RUN apt-get update && apt-get install -y --no-install-recommends ruby tar && rm -rf /var/lib/apt/lists/*
COPY --from=ghcr.io/fermata-dev/runtime-command:0.1.0 /usr/local/bin/fermata-invoker /usr/local/bin/
COPY own.rb /usr/local/lib/own.rb
USER 65532:65532

FROM runtime AS build
USER 0
RUN apt-get update && apt-get install -y --no-install-recommends bundler && rm -rf /var/lib/apt/lists/*
USER 65533:65533
```

    podman build --target runtime --tag registry.example.com/own:1 .
    podman build --target build --tag registry.example.com/build-own:2 .
";

    fn error(document: &str, stage: &str) -> String {
        format!("{:#}", read(document, stage).unwrap_err())
    }

    #[test]
    fn a_stage_is_read_with_what_it_is_made_on() {
        let runtime = read(DOCUMENT, "runtime").unwrap();
        assert_eq!(runtime.reference(None, "9"), "registry.example.com/own:1");
        assert_eq!(
            (&*runtime.program, runtime.user),
            ("fermata-invoker", 65532)
        );
        assert_eq!(
            runtime.files,
            [(
                "usr/local/lib/own.rb".to_owned(),
                b"# own.rb: a file\nputs 1".to_vec()
            )]
        );
        let base = runtime.base.unwrap();
        assert_eq!(base.suite, "trixie");
        assert_eq!(base.packages[ESSENTIAL.len()..], ["ruby", "tar"]);

        let build = read(DOCUMENT, "build").unwrap();
        assert_eq!(
            build.reference(None, "9"),
            "registry.example.com/build-own:2"
        );
        assert_eq!((build.files.len(), build.user), (1, 65533));
        assert_eq!(
            build.base.unwrap().packages[ESSENTIAL.len()..],
            ["ruby", "tar", "bundler"]
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line() {
        for (known, other, words) in [
            ("rm -rf", "rm -r", "can be run"),
            ("USER 0", "VOLUME /x", "VOLUME /x"),
            ("COPY own.rb", "COPY other.rb", "other.rb"),
            ("ghcr.io/fermata-dev", "ghcr.io/others", "ghcr.io/others"),
            ("FROM runtime AS", "FROM other AS", "no such stage"),
        ] {
            let told = error(&DOCUMENT.replace(known, other), "build");
            assert!(told.contains(words), "{told}");
        }
        assert!(error(DOCUMENT, "last").contains("no stage last"));
        let root = DOCUMENT.replace("USER 65533:65533", "");
        assert!(error(&root, "build").contains("runs as root"));
        assert!(error("text", "build").contains("shows no Dockerfile"));
    }
}
