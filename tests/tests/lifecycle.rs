//! A function's life: deploy, roll, roll back, rest, wake, delete.

use std::time::Duration;

use fermata_crds::{Function, Revision};
use fermata_tests::{Space, eventually};
use http::StatusCode;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Event, Pod, Service},
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn python(answer: &str) -> Value {
    json!({"source": {"runtime": "python", "files": {"main.py": format!("def handle(request):\n    return {answer:?}\n")}}})
}

#[tokio::test]
async fn a_function_has_a_url_a_revision_and_its_children() {
    let space = Space::new().await;
    space.function("hello", python("one")).await;
    let function = space.ready("hello").await;
    let status = function.status.unwrap();
    let host = status.host.unwrap();
    assert_eq!(status.latest_ready_revision.as_deref(), Some("hello-00001"));
    assert_eq!(status.traffic.len(), 1);
    assert!(status.url.unwrap().starts_with(&format!("http://{host}")));
    // By its host and its path, and by its in-cluster names where callers in the cluster come in.
    let answer = space.gateway().get_host(&host, "/").await.ok();
    assert_eq!(answer.text(), "one");
    for host in [
        format!("hello.{}", space.name),
        format!("hello.{}.svc", space.name),
        format!("hello.{}.svc.cluster.local", space.name),
    ] {
        let answer = space.platform.internal_gateway().get_host(&host, "/").await;
        assert_eq!(answer.ok().text(), "one", "{host}");
        let answer = space.gateway().get_host(&host, "/").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{host}");
    }
    assert_eq!(space.call("hello", "").await.ok().text(), "one");
    assert_eq!(
        space
            .api::<Deployment>()
            .get("hello-00001")
            .await
            .unwrap()
            .owner_references()[0]
            .kind,
        "Revision"
    );
    assert_eq!(
        space
            .api::<ConfigMap>()
            .get("hello-00001")
            .await
            .unwrap()
            .owner_references()[0]
            .kind,
        "Revision"
    );
    assert_eq!(
        space
            .api::<Service>()
            .get("hello")
            .await
            .unwrap()
            .owner_references()[0]
            .kind,
        "Function"
    );
}

#[tokio::test]
async fn a_new_template_rolls_forward_without_a_failed_call_and_an_old_one_comes_back() {
    let space = Space::new().await;
    space.function("hello", python("one")).await;
    space.ready("hello").await;
    let mut callers = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..4 {
        let (space, stopped) = (space.clone(), stopped.clone());
        callers.spawn(async move {
            let mut answers = Vec::new();
            while !*stopped.borrow() {
                answers.push(space.call("hello", "").await.ok().text());
            }
            answers
        });
    }
    space.function("hello", python("two")).await;
    eventually("the new revision answers", async || {
        match space.call("hello", "").await.text() {
            text if text == "two" => Ok(()),
            text => Err(text),
        }
    })
    .await;
    stop.send_replace(true);
    let answers: Vec<String> = callers.join_all().await.into_iter().flatten().collect();
    assert!(
        answers
            .iter()
            .all(|answer| answer == "one" || answer == "two"),
        "{answers:?}"
    );
    assert!(answers.len() > 4);

    space.function("hello", python("one")).await;
    eventually("the old revision is back", async || {
        let status = space.get("hello").await.status.unwrap_or_default();
        if status.latest_ready_revision.as_deref() == Some("hello-00001") {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    // The gateway hears of it a moment later.
    eventually("the old revision answers", async || {
        match space.call("hello", "").await.ok().text() {
            text if text == "one" => Ok(()),
            text => Err(text),
        }
    })
    .await;
    assert_eq!(space.revisions("hello").await.len(), 2);
}

#[tokio::test]
async fn a_broken_template_gets_no_traffic_and_the_cause_is_told() {
    let space = Space::new().await;
    space.function("hello", python("one")).await;
    space.ready("hello").await;
    let broken =
        json!({"source": {"runtime": "python", "files": {"main.py": "def handle(request:\n"}}});
    space.function("hello", broken).await;
    eventually("the cause is told", async || {
        let status = space.get("hello").await.status.unwrap_or_default();
        let told = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "RevisionReady" && condition.status == "False");
        match told {
            Some(condition) if condition.message.contains("SyntaxError") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(space.call("hello", "").await.ok().text(), "one");
    space.function("hello", python("three")).await;
    space.ready("hello").await;
    space.answers("hello", "three").await;
}

#[tokio::test]
async fn metadata_scale_and_exposure_make_no_revision() {
    let space = Space::new().await;
    space.function("hello", python("one")).await;
    space.ready("hello").await;
    let label = json!({"metadata": {"labels": {"team": "shop"}}});
    space
        .api::<Function>()
        .patch("hello", &PatchParams::default(), &Patch::Merge(label))
        .await
        .unwrap();
    let spec = json!({"spec": {"scale": {"min": 1, "max": 3}, "expose": {"hosts": [format!("shop.{}.example", space.name)]}}});
    space
        .api::<Function>()
        .patch("hello", &PatchParams::default(), &Patch::Merge(spec))
        .await
        .unwrap();
    eventually("the scale has arrived", async || {
        let revision = space.api::<Revision>().get("hello-00001").await.unwrap();
        if revision.spec.scale().max() == 3 {
            Ok(())
        } else {
            Err(format!("{:?}", revision.spec.scale))
        }
    })
    .await;
    let host = format!("SHOP.{}.example", space.name);
    eventually("the host leads to the function", async || {
        let answer = space.gateway().get_host(&host, "/").await;
        if answer.text() == "one" {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;
    assert_eq!(space.revisions("hello").await.len(), 1);
}

#[tokio::test]
async fn history_is_kept_within_its_limit() {
    let space = Space::new().await;
    for number in 0..4 {
        let mut spec = python(&number.to_string());
        spec["revisionHistoryLimit"] = json!(1);
        space.function("hello", spec).await;
        eventually("it answers", async || {
            match space.call("hello", "").await.text() {
                text if text == number.to_string() => Ok(()),
                text => Err(text),
            }
        })
        .await;
    }
    eventually("old revisions are gone", async || {
        let names: Vec<String> = space
            .revisions("hello")
            .await
            .iter()
            .map(kube::ResourceExt::name_any)
            .collect();
        if names == ["hello-00003", "hello-00004"] {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_function_rests_at_zero_and_wakes() {
    let space = Space::new().await;
    let mut spec = python("here");
    spec["scale"] = json!({"idleAfter": "1s", "window": "6s"});
    space.function("hello", spec).await;
    space.ready("hello").await;
    space.at_zero("hello").await;
    space.pods("hello", 0).await;
    let (reason, _) = space.condition("hello", "Active", "False").await;
    assert_eq!(reason, "AtZero");
    space.ready("hello").await;

    let answer = space.call("hello", "").await.ok();
    assert_eq!(answer.text(), "here");
    assert!(
        answer.header("server-timing").contains("start;dur="),
        "{:?}",
        answer.headers
    );
    eventually("the cold start is reported", async || {
        let status = space.get("hello").await.status.unwrap_or_default();
        status
            .last_cold_start
            .filter(|start| start.revision == "hello-00001")
            .ok_or_else(|| "none".to_owned())
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_a_function_goes_with_it() {
    let space = Space::new().await;
    space.function("hello", python("one")).await;
    space.ready("hello").await;
    space
        .api::<Function>()
        .delete("hello", &DeleteParams::background())
        .await
        .unwrap();
    let selector = ListParams::default().labels("fermata.dev/function=hello");
    eventually("nothing is left", async || {
        let left = [
            space
                .api::<Revision>()
                .list(&selector)
                .await
                .unwrap()
                .items
                .len(),
            space
                .api::<Deployment>()
                .list(&selector)
                .await
                .unwrap()
                .items
                .len(),
            space
                .api::<ConfigMap>()
                .list(&selector)
                .await
                .unwrap()
                .items
                .len(),
            space
                .api::<Service>()
                .list(&selector)
                .await
                .unwrap()
                .items
                .len(),
            space
                .api::<Pod>()
                .list(&selector)
                .await
                .unwrap()
                .items
                .len(),
        ];
        if left == [0; 5] {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    assert_eq!(
        space.call("hello", "").await.header("x-fermata-reason"),
        "NoSuchFunction"
    );
}

#[tokio::test]
async fn what_a_deletion_leaves_behind_is_taken_over_by_the_next_function_of_the_name() {
    let space = Space::new().await;
    let spec = json!({"scale": {"min": 1}});
    space.test_function("kept", &["serve"], spec.clone()).await;
    space.ready("kept").await;
    let before = space.pods("kept", 1).await[0].uid();
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    let functions = space.api::<Function>();
    functions.delete("kept", &orphan).await.unwrap();
    eventually("the function is gone", async || {
        match functions.get_opt("kept").await.unwrap() {
            None => Ok(()),
            Some(function) => Err(format!("{:?}", function.metadata)),
        }
    })
    .await;

    space.test_function("kept", &["serve"], spec).await;
    let function = space.ready("kept").await;
    assert_eq!(space.call("kept", "hi").await.ok().text(), "hi");
    let revisions = space.revisions("kept").await;
    assert_eq!(revisions.len(), 1, "{revisions:?}");
    assert_eq!(revisions[0].name_any(), "kept-00001");
    assert_eq!(
        Some(&revisions[0].owner_references()[0].uid),
        function.metadata.uid.as_ref()
    );
    assert_eq!(space.pods("kept", 1).await[0].uid(), before);
}

#[tokio::test]
async fn drift_is_repaired() {
    let space = Space::new().await;
    space.function("hello", python("one")).await;
    space.ready("hello").await;
    let port = json!({"spec": {"externalName": "elsewhere.example"}});
    space
        .api::<Service>()
        .patch("hello", &PatchParams::default(), &Patch::Merge(port))
        .await
        .unwrap();
    space
        .api::<Deployment>()
        .delete("hello-00001", &DeleteParams::background())
        .await
        .unwrap();
    eventually("the Service is as it was", async || {
        let service = space.api::<Service>().get("hello").await.unwrap();
        let name = service
            .spec
            .and_then(|spec| spec.external_name)
            .unwrap_or_default();
        if name == "elsewhere.example" {
            Err(name)
        } else {
            Ok(())
        }
    })
    .await;
    eventually("the Deployment is back", async || {
        space
            .api::<Deployment>()
            .get("hello-00001")
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(space.call("hello", "").await.ok().text(), "one");
}

#[tokio::test]
async fn a_source_from_a_config_map_follows_it() {
    let space = Space::new().await;
    let code = |answer: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"},
            "data": {"main.py": format!("def handle(request):\n    return {answer:?}\n")}})
    };
    space
        .function(
            "hello",
            json!({"source": {"runtime": "python", "configMap": {"name": "code"}}}),
        )
        .await;
    let message = space.fails("hello", "SourceNotFound").await;
    assert!(message.contains("code"), "{message}");
    space.apply(&code("one")).await;
    space.ready("hello").await;
    space.answers("hello", "one").await;
    space.apply(&code("two")).await;
    eventually("the change has rolled out", async || {
        match space.call("hello", "").await.text() {
            text if text == "two" => Ok(()),
            text => Err(text),
        }
    })
    .await;
    assert_eq!(space.revisions("hello").await.len(), 2);
}

#[tokio::test]
async fn events_tell_the_story() {
    let space = Space::new().await;
    space.function("hello", python("one")).await;
    space.ready("hello").await;
    eventually("the events are there", async || {
        let events = space
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let reasons: Vec<String> = events
            .iter()
            .filter(|event| event.involved_object.kind.as_deref() == Some("Function"))
            .filter_map(|event| event.reason.clone())
            .collect();
        let all = ["RevisionCreated", "RevisionReady"]
            .iter()
            .all(|reason| reasons.iter().any(|seen| seen == reason));
        if all {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn an_idle_function_causes_no_writes() {
    let space = Space::new().await;
    let mut spec = python("one");
    spec["scale"] = json!({"initial": 0});
    space.function("hello", spec).await;
    space.ready("hello").await;
    let versions = async || {
        let selector = ListParams::default().labels("fermata.dev/function=hello");
        let function = space.get("hello").await.resource_version();
        let revision = space
            .api::<Revision>()
            .get("hello-00001")
            .await
            .unwrap()
            .resource_version();
        let deployments = space.api::<Deployment>().list(&selector).await.unwrap();
        (
            function,
            revision,
            deployments
                .iter()
                .map(kube::ResourceExt::resource_version)
                .collect::<Vec<_>>(),
        )
    };
    // The status has been written last; anything later would be a write too many.
    let mut before = versions().await;
    eventually("the objects have come to rest", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = versions().await;
        let same = now == before;
        before = now;
        if same {
            Ok(())
        } else {
            Err("still changing".to_owned())
        }
    })
    .await;
    let settled = versions().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(versions().await, settled);
}
