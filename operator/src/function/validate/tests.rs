use std::sync::Arc;

use k8s_openapi::ByteString;

use super::*;
use crate::{
    fixtures::{function, inputs, object, python},
    function::dereference::Content,
};

const SOURCE: &str = "
source:
  runtime: python
  files: { main.py: 'def handle(r): return 1' }
";

fn rejected(spec: &str) -> Invalid {
    validate(
        &inputs(function(spec)),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    )
    .expect_err(spec)
}

#[test]
fn an_image_function_needs_nothing_else() {
    let valid = validate(
        &inputs(function("image: example.com/a:1")),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    )
    .expect("valid");
    assert_eq!(valid.runtime, None);
    assert_eq!(valid.template.image.as_deref(), Some("example.com/a:1"));
}

#[test]
fn a_source_function_takes_its_runtime_over() {
    let valid = validate(
        &inputs(function(SOURCE)),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    )
    .expect("valid");
    let runtime = valid.runtime.expect("a runtime");
    assert_eq!(runtime.image, "example.com/python:1");
    let source = valid.template.source.expect("source");
    assert_eq!(source.handler.as_deref(), Some("main.handle"));
}

#[test]
fn a_changed_runtime_makes_no_new_revision() {
    let before = validate(
        &inputs(function(SOURCE)),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    )
    .expect("valid");
    let mut changed = python();
    changed.spec.image = "example.com/python:2".into();
    changed.spec.handler = Some("other.handle".into());
    let mut after = inputs(function(SOURCE));
    after.runtime = Some(Arc::new(changed));
    let after = validate(&after, &Options::default(), Timestamp::UNIX_EPOCH).expect("valid");
    assert_eq!(before.hash, after.hash);
    assert_ne!(before.runtime, after.runtime);
}

#[test]
fn scale_and_exposure_are_no_part_of_the_template() {
    let plain = validate(
        &inputs(function("image: a")),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    )
    .expect("valid");
    let rich =
        function("{ image: a, scale: { max: 3 }, expose: { path: /a }, revisionHistoryLimit: 2 }");
    let rich = validate(&inputs(rich), &Options::default(), Timestamp::UNIX_EPOCH).expect("valid");
    assert_eq!(plain.hash, rich.hash);
    let other = validate(
        &inputs(function("{ image: a, port: 9000 }")),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    )
    .expect("valid");
    assert_ne!(plain.hash, other.hash);
}

#[test]
fn what_the_crd_cannot_check_is_refused_with_a_sentence() {
    for (spec, reason, sentence) in [
        (
            "{ image: a, timeouts: { request: 1s, firstByte: 2s } }",
            reasons::INVALID_SPEC,
            "timeouts.firstByte (2s) is longer than timeouts.request (1s)",
        ),
        (
            "{ image: a, timeouts: { firstByte: 10m } }",
            reasons::INVALID_SPEC,
            "longer than timeouts.request (300s)",
        ),
        (
            "{ image: a, scale: { schedules: [{ cron: '61 * * * *', duration: 1h, min: 1 }] } }",
            reasons::INVALID_SPEC,
            "schedules[0]: cron \"61 * * * *\" is not understood: the minute is \"61\", and goes from 0 to 59;",
        ),
        (
            "{ image: a, scale: { schedules: [{ cron: '0 0 8 * * MON', duration: 1h, min: 1 }] } }",
            reasons::INVALID_SPEC,
            "is not understood: it has 6 fields, and needs 5: minute, hour,",
        ),
        (
            "{ image: a, scale: { schedules: [{ cron: '0 8 * * *', timezone: Mars/Base, duration: 1h, min: 1 }] } }",
            reasons::INVALID_SPEC,
            "\"Mars/Base\" is not a known IANA time zone",
        ),
        (
            "{ image: a, scale: { schedules: [{ cron: '* * 31 2,4,6,9,11 *', timezone: America/New_York, duration: 1h, min: 1 }] } }",
            reasons::INVALID_SPEC,
            "does not occur within 8 years",
        ),
        (
            "{ image: a, triggers: [{ name: nightly, schedule: { cron: '0 24 * * *' } }] }",
            reasons::INVALID_SPEC,
            "the trigger nightly: cron \"0 24 * * *\" is not understood: the hour is \"24\", and goes from 0 to 23;",
        ),
        (
            "{ image: a, triggers: [{ name: nightly, schedule: { cron: '0 9 * * MOO-FRI' } }] }",
            reasons::INVALID_SPEC,
            "the day of week is \"MOO-FRI\", and goes from 0 to 7",
        ),
        (
            "{ image: a, triggers: [{ name: nightly, schedule: { cron: '0 0 30 2 *' } }] }",
            reasons::INVALID_SPEC,
            "the trigger nightly: cron \"0 0 30 2 *\" does not occur",
        ),
        (
            "{ image: a, podTemplate: { spec: { nodeSelectr: {} } } }",
            reasons::INVALID_SPEC,
            "podTemplate: spec.nodeSelectr is not a field",
        ),
    ] {
        let invalid = rejected(spec);
        assert_eq!(invalid.reason(), reason, "{spec}");
        assert!(invalid.to_string().contains(sentence), "{spec}: {invalid}");
    }
}

#[test]
fn good_schedules_and_templates_pass() {
    let spec = "
image: a
timeouts: { request: 10s, firstByte: 10s }
scale:
  schedules:
    - { cron: '0 8 * * MON-FRI', timezone: Europe/Berlin, duration: 10h, min: 1 }
    - { cron: '*/5 * 1,15 * *', duration: 1m, max: 50 }
podTemplate: { spec: { nodeSelector: { disk: fast } } }
";
    validate(
        &inputs(function(spec)),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    )
    .expect("valid");
}

#[test]
fn a_missing_runtime_or_handler_is_named() {
    let mut unknown = inputs(function(SOURCE));
    unknown.runtime = None;
    let invalid =
        validate(&unknown, &Options::default(), Timestamp::UNIX_EPOCH).expect_err("no runtime");
    assert_eq!(invalid.reason(), reasons::RUNTIME_NOT_FOUND);
    assert!(invalid.to_string().contains("python"));

    let mut runtime = python();
    runtime.spec.handler = None;
    let mut silent = inputs(function(SOURCE));
    silent.runtime = Some(Arc::new(runtime));
    let invalid =
        validate(&silent, &Options::default(), Timestamp::UNIX_EPOCH).expect_err("no handler");
    assert!(invalid.to_string().contains("source.handler"));
}

#[test]
fn a_config_map_must_be_there_and_hold_text_of_some_size() {
    let spec = "{ source: { runtime: python, configMap: { name: code } } }";
    let with = |source| {
        let mut inputs = inputs(function(spec));
        inputs.source = source;
        validate(&inputs, &Options::default(), Timestamp::UNIX_EPOCH)
    };
    let content = |files: &[(&str, String)], binary: &[&str]| {
        let files = files.iter().cloned();
        let binary = binary
            .iter()
            .map(|&key| (key.to_owned(), ByteString(vec![0xff])));
        FoundSource::ConfigMap(Content {
            files: SourceFiles {
                text: files.map(|(name, text)| (name.to_owned(), text)).collect(),
                binary: binary.collect(),
            },
            ..Content::default()
        })
    };
    let cases = [
        (
            FoundSource::Missing,
            reasons::SOURCE_NOT_FOUND,
            "named code",
        ),
        (content(&[], &[]), reasons::INVALID_SOURCE, "no data"),
        (
            content(&[("a.py", "x".repeat(MOST_SOURCE_BYTES))], &[]),
            reasons::INVALID_SOURCE,
            "build an image",
        ),
    ];
    for (source, reason, sentence) in cases {
        let invalid = with(source).expect_err(sentence);
        assert_eq!(invalid.reason(), reason);
        assert!(invalid.to_string().contains(sentence), "{invalid}");
    }
    let valid = with(content(&[("main.py", "x".into())], &["b.bin"])).expect("valid");
    let source = valid.template.source.expect("source");
    assert_eq!(source.config_map, None);
    assert_eq!(source.files.expect("files").len(), 1);
    assert_eq!(source.binary_files.expect("files").len(), 1);
}

#[test]
fn files_have_to_fit_into_one_folder() {
    for (files, sentence) in [
        ("files: { a: x, a/b: x }", "\"a/b\": a is a file"),
        (
            "files: { a: x }, binaryFiles: { a: eA== }",
            "\"a\": it is in files and in binaryFiles",
        ),
    ] {
        let spec = format!("{{ source: {{ runtime: python, {files} }} }}");
        let inputs = inputs(function(&spec));
        let invalid = validate(&inputs, &Options::default(), Timestamp::UNIX_EPOCH);
        let invalid = invalid.expect_err(sentence);
        assert_eq!(invalid.reason(), reasons::INVALID_SOURCE);
        assert!(invalid.to_string().contains(sentence), "{invalid}");
    }
}

#[test]
fn dependencies_are_installed_where_the_files_name_some() {
    let build = "{ image: b, command: [build], inputs: [requirements.txt], target: /dependencies }";
    let with = |files: &str, build: Option<&str>, asked: Option<&str>| {
        let spec = format!("{{ source: {{ runtime: python, files: {{ {files} }} }} }}");
        let mut function = function(&spec);
        if let Some(asked) = asked {
            let annotations = function.metadata.annotations.get_or_insert_default();
            annotations.insert(names::BUILD_ANNOTATION.to_owned(), asked.to_owned());
        }
        let mut inputs = inputs(function);
        let mut runtime = python();
        runtime.spec.build = build.map(object);
        inputs.runtime = Some(Arc::new(runtime));
        validate(&inputs, &Options::default(), Timestamp::UNIX_EPOCH).expect("valid")
    };
    let plain = with("main.py: x", Some(build), Some("1"));
    assert_eq!(plain.runtime.as_ref().expect("a runtime").build, None);
    assert_eq!(plain.hash, with("main.py: x", None, None).hash);

    let named = "main.py: x, requirements.txt: foo";
    let built = with(named, Some(build), None);
    assert!(built.runtime.as_ref().expect("a runtime").build.is_some());
    assert_eq!(built.hash, with(named, None, None).hash);
    let again = with(named, Some(build), Some("1"));
    assert_eq!(again.build_requested.as_deref(), Some("1"));
    assert_ne!(again.hash, built.hash);
}

#[test]
fn what_a_runtime_cannot_build_is_not_asked_of_it() {
    let spec = "{ source: { runtime: python, files: { a: x }, build: { timeout: 1m } } }";
    let invalid = validate(
        &inputs(function(spec)),
        &Options::default(),
        Timestamp::UNIX_EPOCH,
    );
    let invalid = invalid.expect_err("it builds nothing");
    assert_eq!(invalid.reason(), reasons::INVALID_SPEC);
    assert!(invalid.to_string().contains("source.build"), "{invalid}");
}
