//! Packages of Python, with pip.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
};

use serde_json::Value;

use super::{Build, Done, Error, Tool, registry::Sign, said::Words};
use crate::log;

/// Says what the files ask pip for; see there.
const REQUIREMENTS: &str = include_str!("../../../runtimes/python/requirements.py");

/// Compiles what is installed. What cannot be compiled is compiled by nobody who imports it either.
const COMPILE: &str =
    "import compileall, sys\ncompileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[1])\n";

/// Where pip writes all that it does.
const LOG: &str = "pip.log";

/// As much of that is read.
const LONGEST_LOG: u64 = 16 << 20;

/// What pip is given unless somebody has set it. In the environment, since pip starts itself for packages
/// that have to be built.
const DEFAULTS: [(&str, &str); 7] = [
    ("PIP_NO_INPUT", "1"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("PIP_ROOT_USER_ACTION", "ignore"),
    ("PIP_PROGRESS_BAR", "off"),
    // A registry that is down is told in seconds.
    ("PIP_RETRIES", "2"),
    ("PIP_TIMEOUT", "15"),
    ("PYTHONUNBUFFERED", "1"),
];

pub(super) async fn build(build: &Build) -> Result<Done, Error> {
    let list = build.place.temporary().join("requirements.txt");
    let arguments = ["-c".into(), REQUIREMENTS.into()];
    let paths = [build.place.source().into(), list.clone().into()];
    // Elsewhere than in the source, whose modules would be taken for Python's own.
    let mut asked = tool(build, arguments.into_iter().chain(paths).collect());
    asked.dir = build.place.temporary();
    let answer = build.ask(asked).await?;
    let answer: Value = serde_json::from_str(answer.trim()).unwrap_or_default();
    let text = |name: &str| answer[name].as_str().map(ToOwned::to_owned);
    if let Some(why) = text("refused") {
        return Err(Error::Refused(why));
    }
    if let Some(why) = text("nothing") {
        return Ok(Done::Nothing(why));
    }
    let (what, pip) = (text("what"), text("pip"));
    let (Some(what), Some(pip)) = (what, pip) else {
        return Err(Error::Refused(format!(
            "{} does not say what to install; is it Python 3.10 or later?",
            build.settings.python.display()
        )));
    };
    log::line(format_args!("installing {what} with pip {pip}"));
    let mut arguments = vec!["-m", "pip", "install", "--no-warn-script-location"];
    // What else is installed on the machine does not count.
    arguments.push("--no-warn-conflicts");
    // It would do that in a folder of another name each time, which byte code holds.
    arguments.push("--no-compile");
    if answer["locked"].as_bool() == Some(true) {
        // The lock has all of them.
        arguments.push("--no-deps");
    }
    if !build.settings.shares_home {
        // Nobody would find what is kept in a container that goes.
        arguments.push("--no-cache-dir");
    }
    let mut arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
    arguments.extend(["--target".into(), build.place.target().into()]);
    // The file as it is written, so that what it names beside itself is found.
    let list = text("file").map_or(list, Into::into);
    arguments.extend(["--requirement".into(), list.into()]);
    let mut pip = tool(build, arguments);
    // Of somebody's own settings, which do not go with a target.
    pip.env = vec![
        ("PIP_USER", "0".into()),
        ("PIP_REQUIRE_VIRTUALENV", "0".into()),
    ];
    pip.env
        .push(("PIP_LOG", build.place.temporary().join(LOG).into()));
    match build.run(pip).await {
        Ok(_) => {
            compile(build).await?;
            Ok(Done::Built)
        }
        Err(error @ Error::Failed { .. }) => Err(silent(build).map_or(error, Error::Registry)),
        Err(error) => Err(error),
    }
}

/// Compiles what pip has installed, so that a cold start does not have to: the same bytes each time.
async fn compile(build: &Build) -> Result<(), Error> {
    let arguments = ["-c".into(), COMPILE.into(), build.place.target().into()];
    let compiler = Tool {
        name: "python",
        // Elsewhere than among modules that would be taken for Python's own.
        dir: build.place.temporary(),
        // Sets have the same order each time.
        env: vec![("PYTHONHASHSEED", "0".into())],
        words: Words::Last,
        registry: false,
        ..tool(build, arguments.into_iter().collect())
    };
    build.run(compiler).await.map(drop)
}

/// What pip writes to its own log alone: that an index answers with a failure, after which it goes on as
/// if that had no packages.
fn silent(build: &Build) -> Option<Sign> {
    let log = File::open(build.place.temporary().join(LOG)).ok()?;
    let lines = BufReader::new(log.take(LONGEST_LOG)).lines();
    lines
        .map_while(Result::ok)
        .filter(|line| line.contains("Could not fetch URL"))
        .find_map(|line| Sign::of(&line))
}

fn tool(build: &Build, arguments: Vec<std::ffi::OsString>) -> Tool {
    Tool {
        name: "pip",
        program: build.settings.python.clone(),
        arguments,
        env: Vec::new(),
        defaults: DEFAULTS.to_vec(),
        dir: build.place.source(),
        hint: "install Python 3.10 or later with pip, or name it in FERMATA_PYTHON",
        words: Words::Pip,
        registry: true,
    }
}
