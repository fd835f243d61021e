//! What the flags of `fermata deploy NAME` say about a function. Pure, but for reading source files.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Map, Value, json};

use crate::{
    commands::completion,
    manifest::source::{self, Code, Placed},
};

/// A function without a manifest, or changes of one that is there.
#[derive(Args, Debug, Default)]
pub(crate) struct Settings {
    /// The container image to run.
    #[arg(long, conflicts_with_all = ["files", "runtime", "handler", "sources"])]
    image: Option<String>,

    /// The Runtime that runs the source files.
    #[arg(
        long,
        conflicts_with = "files",
        requires = "sources",
        add = ArgValueCandidates::new(completion::runtimes)
    )]
    runtime: Option<String>,

    /// Source files, or folders of them, for the Runtime.
    #[arg(value_name = "SOURCE", conflicts_with = "files")]
    sources: Vec<PathBuf>,

    /// What to call in the source, such as main.handle.
    #[arg(long, conflicts_with = "files")]
    handler: Option<String>,

    /// An environment variable, NAME=VALUE; NAME- takes it away.
    #[arg(
        short,
        long = "env",
        value_name = "NAME=VALUE",
        conflicts_with = "files"
    )]
    env: Vec<String>,

    /// The port the container listens on.
    #[arg(long, conflicts_with = "files")]
    port: Option<u16>,

    /// Replicas that always run.
    #[arg(long, conflicts_with = "files")]
    min: Option<u32>,

    /// The most replicas that run.
    #[arg(long, conflicts_with = "files")]
    max: Option<u32>,
}

// === impl Settings ===

impl Settings {
    /// Whether no flag says anything.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            image,
            runtime,
            sources,
            handler,
            env,
            port,
            min,
            max,
        } = self;
        let texts = [image, runtime, handler].iter().all(|text| text.is_none());
        let numbers = port.is_none() && min.is_none() && max.is_none();
        texts && numbers && sources.is_empty() && env.is_empty()
    }

    /// Whether they say what runs, so that they make a function by themselves.
    pub(super) fn say_what_runs(&self) -> bool {
        self.image.is_some() || self.runtime.is_some()
    }

    /// The code that the flags name.
    ///
    /// # Errors
    ///
    /// When a source file cannot be used.
    pub(super) fn code(&self) -> anyhow::Result<Option<Code>> {
        if self.sources.is_empty() {
            return Ok(None);
        }
        source::named(&self.sources).map(Some)
    }

    /// Changes a Function's spec, with the code that the flags name; what no flag names stays.
    ///
    /// # Errors
    ///
    /// When a flag cannot be used.
    pub(super) fn change(
        &self,
        spec: &mut Map<String, Value>,
        code: Option<&Placed>,
    ) -> anyhow::Result<()> {
        if let Some(image) = &self.image {
            spec.remove("source");
            spec.insert("image".into(), json!(image));
        }
        if !self.sources.is_empty() || self.handler.is_some() {
            spec.remove("image");
            let source = section(spec, "source")?;
            if let Some(runtime) = &self.runtime {
                source.insert("runtime".into(), json!(runtime));
            }
            if let Some(handler) = &self.handler {
                source.insert("handler".into(), json!(handler));
            }
            if !self.sources.is_empty() {
                code.context("the source files were not read")?
                    .put(source)?;
            }
        }
        if !self.env.is_empty() {
            let list = spec.entry("env").or_insert_with(|| json!([]));
            let list = list.as_array_mut().context("env is no list")?;
            for variable in &self.env {
                set_variable(list, variable)?;
            }
        }
        if let Some(port) = self.port {
            spec.insert("port".into(), json!(port));
        }
        for (field, value) in [("min", self.min), ("max", self.max)] {
            if let Some(value) = value {
                section(spec, "scale")?.insert(field.into(), json!(value));
            }
        }
        Ok(())
    }
}

fn section<'a>(
    spec: &'a mut Map<String, Value>,
    name: &str,
) -> anyhow::Result<&'a mut Map<String, Value>> {
    spec.entry(name)
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .with_context(|| format!("{name} is no section"))
}

fn set_variable(list: &mut Vec<Value>, variable: &str) -> anyhow::Result<()> {
    let Some((name, value)) = variable.split_once('=') else {
        let Some(name) = variable.strip_suffix('-') else {
            bail!("--env {variable}: write NAME=VALUE, or NAME- to take it away");
        };
        list.retain(|there| there["name"] != name);
        return Ok(());
    };
    let new = json!({"name": name, "value": value});
    match list.iter_mut().find(|there| there["name"] == name) {
        Some(there) => *there = new,
        None => list.push(new),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(settings: &Settings, spec: Value) -> Value {
        let Value::Object(mut spec) = spec else {
            panic!("a spec is an object")
        };
        let code = settings.code().unwrap().and_then(Code::inline);
        settings.change(&mut spec, code.as_ref()).unwrap();
        Value::Object(spec)
    }

    #[test]
    fn only_what_is_named_changes() {
        let settings = Settings {
            min: Some(1),
            env: ["A=B=C", "OLD-", "NEW=x"].map(str::to_owned).to_vec(),
            ..Settings::default()
        };
        let old = json!({"image": "x", "port": 9000, "scale": {"max": 5},
            "env": [{"name": "A", "value": "1"}, {"name": "OLD", "value": "1"}, {"name": "K", "value": "2"}]});
        let new = json!({"image": "x", "port": 9000, "scale": {"max": 5, "min": 1},
            "env": [{"name": "A", "value": "B=C"}, {"name": "K", "value": "2"}, {"name": "NEW", "value": "x"}]});
        assert_eq!(changed(&settings, old), new);
    }

    #[test]
    fn an_image_takes_the_place_of_source_and_the_other_way_round() {
        let image = Settings {
            image: Some("y".into()),
            ..Settings::default()
        };
        let source = json!({"source": {"runtime": "python", "files": {"a.py": ""}}, "port": 1});
        assert_eq!(changed(&image, source), json!({"image": "y", "port": 1}));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.py"), "new").unwrap();
        let files = Settings {
            sources: vec![dir.path().join("b.py")],
            ..Settings::default()
        };
        let old = json!({"source": {"runtime": "python", "handler": "b.f", "files": {"a.py": ""}}});
        let new =
            json!({"source": {"runtime": "python", "handler": "b.f", "files": {"b.py": "new"}}});
        assert_eq!(changed(&files, old), new);
    }
}
