//! Functions are called at the times of their triggers.

use std::fs;

use fermata_crds::{Function, RunResult, TriggerRun};
use fermata_tests::{DEADLINE, Space, eventually, eventually_within, examples, fermata};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// The runs of a trigger once one of them is over.
async fn over(space: &Space, function: &str, trigger: &str) -> Vec<TriggerRun> {
    // A minute until its time, and a start.
    let patience = 2 * DEADLINE;
    eventually_within(patience, &format!("a run of {trigger}"), async || {
        let function = space.get(function).await;
        let status = function.status.unwrap_or_default();
        let found = status.triggers.iter().find(|one| one.name == trigger);
        let runs = found.map(|found| found.runs.clone()).unwrap_or_default();
        let is_over = |run: &TriggerRun| run.result != RunResult::Running;
        if runs.iter().any(is_over) {
            Ok(runs.into_iter().filter(is_over).collect())
        } else {
            Err(format!("{:?}", status.triggers))
        }
    })
    .await
}

#[tokio::test]
async fn a_nightly_report_is_made_when_its_time_comes() {
    let space = Space::new().await;
    let text = fs::read_to_string(examples("nightly-report.yaml")).unwrap();
    let mut example: Value = serde_saphyr::from_str(&text).unwrap();
    // Nobody waits for the night.
    let trigger = &mut example["spec"]["triggers"][0];
    trigger["schedule"]["cron"] = json!("* * * * *");
    space.apply(&example).await;
    space.ready("nightly-report").await;

    let runs = over(&space, "nightly-report", "nightly").await;
    let first = runs.last().unwrap();
    assert_eq!(
        (first.result, first.code),
        (RunResult::Succeeded, Some(200)),
        "{first:?}"
    );
    // One call for each minute, however many gateways there are.
    let reports = space.fetch("nightly-report", "/").await.ok().text();
    let mut times: Vec<&str> = reports.lines().collect();
    assert!(
        times.contains(&format!("{} all", first.time.0).as_str()),
        "{reports}"
    );
    let number = times.len();
    times.dedup();
    assert_eq!(times.len(), number, "{reports}");

    // The newest run may be that of the next minute.
    eventually("a run in the description", async || {
        let kubeconfig = space.platform.kubeconfig.as_path();
        let described = fermata(
            kubeconfig,
            &["-n", &space.name, "describe", "nightly-report"],
        );
        let described = String::from_utf8_lossy(&described.stdout).into_owned();
        let is_told =
            |line: &str| line.starts_with("Trigger:") && line.contains(" Succeeded (200)");
        if described.lines().any(is_told) {
            Ok(())
        } else {
            Err(described)
        }
    })
    .await;
    space.remove("nightly-report").await;
}

#[tokio::test]
async fn what_fails_is_told_and_what_is_suspended_rests() {
    let space = Space::new().await;
    let code = "def handle(request):\n    if request.method == 'POST':\n        raise ValueError('no figures')\n    return 'up'\n";
    let trigger = |name: &str, more: Value| {
        let mut trigger = json!({"name": name, "schedule": {"cron": "* * * * *"}});
        let schedule = trigger["schedule"].as_object_mut().unwrap();
        schedule.extend(more.as_object().unwrap().clone());
        trigger
    };
    let spec = json!({
        "source": {"runtime": "python", "files": {"main.py": code}},
        "scale": {"initial": 0, "max": 1},
        "triggers": [trigger("fails", json!({})), trigger("rests", json!({"suspend": true}))],
        "delivery": {"attempts": 2, "backoff": {"first": "100ms", "max": "1s"}},
    });
    space.function("figures", spec).await;
    let runs = over(&space, "figures", "fails").await;
    let run = runs.last().unwrap();
    assert_eq!(
        (run.result, run.code),
        (RunResult::Failed, Some(500)),
        "{run:?}"
    );
    assert!(run.message.is_some(), "{run:?}");
    let status = space.get("figures").await.status.unwrap();
    let rests = status.triggers.iter().find(|one| one.name == "rests");
    assert!(
        rests.is_some_and(|rests| rests.runs.is_empty()),
        "{status:?}"
    );

    // What is no trigger any more is no longer told of.
    let api = space.api::<Function>();
    let patch = json!({"spec": {"triggers": null}});
    let params = PatchParams::default();
    api.patch("figures", &params, &Patch::Merge(patch))
        .await
        .unwrap();
    eventually("nothing is told of triggers", async || {
        let status = space.get("figures").await.status.unwrap_or_default();
        let told = status.triggers;
        if told.is_empty() {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_is_tried_until_it_succeeds_where_it_is_kept() {
    let space = Space::new().await;
    let code = r#"
def handle(request):
    if request.method == "GET":
        return "up"
    attempt = request.headers.get("x-fermata-attempt")
    if attempt != "3":
        raise ValueError("not yet")
    return {"attempt": attempt}
"#;
    let spec = json!({
        "source": {"runtime": "python", "files": {"main.py": code}},
        "scale": {"initial": 0, "max": 1},
        "triggers": [{"name": "tries", "schedule": {"cron": "* * * * *"}, "body": "{}"}],
        "delivery": {"attempts": 5, "backoff": {"first": "100ms", "max": "1s"}},
    });
    space.function("tries", spec).await;
    let runs = over(&space, "tries", "tries").await;
    let run = runs.last().unwrap();
    assert_eq!(
        (run.result, run.code),
        (RunResult::Succeeded, Some(200)),
        "{run:?}"
    );
}

#[tokio::test]
async fn triggers_that_make_no_sense_are_refused() {
    let space = Space::new().await;
    let schedule = json!({"cron": "0 6 * * *"});
    for (triggers, sentence) in [
        (
            json!([{"name": "Nightly", "schedule": schedule}]),
            "a trigger's name has at most 50",
        ),
        (
            json!([{"name": "a", "schedule": {"cron": "0 6 * *"}}]),
            "cron must be five fields",
        ),
        (
            json!([{"name": "a", "schedule": {"cron": "0 6 * * *", "timezone": "Mars Base"}}]),
            "timezone must be an IANA name",
        ),
        (
            json!([{"name": "a", "schedule": {"cron": "0 6 * * *", "deadline": "1s"}}]),
            "must be a duration from 10s to 168h",
        ),
        (
            json!([{"name": "a", "schedule": schedule, "path": "reports"}]),
            "must be absolute",
        ),
        (
            json!([{"name": "a", "schedule": schedule}, {"name": "a", "schedule": schedule}]),
            // Who finds it depends on how it is written: the schema, or what merges.
            "uplicate",
        ),
    ] {
        let function = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "odd"},
            "spec": {"image": "a", "triggers": triggers},
        });
        let error = space.try_apply(&function).await.unwrap_err().to_string();
        assert!(error.contains(sentence), "{sentence}: {error}");
    }
    let spec =
        json!({"image": "a", "triggers": [{"name": "a", "schedule": {"cron": "0 0 30 2 *"}}]});
    space.function("never", spec).await;
    let told = space.fails("never", "InvalidSpec").await;
    assert!(told.contains("does not occur within 8 years"), "{told}");
}
