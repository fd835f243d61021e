//! The scale of a workload.

use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    fixtures::{DEPLOYMENTS, deployment},
    requests::{apply, call},
};

#[tokio::test]
async fn the_scale_of_a_deployment_belongs_to_who_wrote_it_last() {
    let (_cluster, client) = cluster().await;
    let path = format!("{DEPLOYMENTS}/x");
    let (code, made) = apply(&client, &path, "fermata-operator", true, deployment("x")).await;
    assert_eq!(code, 201, "{made}");
    let scale = format!("{path}/scale?fieldManager=fermata-gateway");
    let (code, scaled) = call(&client, "PATCH", &scale, json!({"spec": {"replicas": 2}})).await;
    assert_eq!((code, scaled["spec"]["replicas"].as_i64()), (200, Some(2)));
    assert_eq!(scaled["status"]["selector"], "app=a");
    let (_, object) = call(&client, "GET", &path, Value::Null).await;
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let gateway = entries
        .iter()
        .find(|entry| entry["manager"] == "fermata-gateway")
        .unwrap();
    assert_eq!(gateway["subresource"], "scale");
    assert_eq!(gateway["operation"], "Update");
    assert_eq!(gateway["apiVersion"], "apps/v1");
    assert_eq!(gateway["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));

    // The operator leaves the number out from now on, and it stays.
    let mut without = deployment("x");
    without["spec"].as_object_mut().unwrap().remove("replicas");
    without["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2");
    let (code, object) = apply(&client, &path, "fermata-operator", true, without).await;
    assert_eq!((code, object["spec"]["replicas"].as_i64()), (200, Some(2)));
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["image"],
        "i:2"
    );

    // A stale resourceVersion in an apply is a conflict, not an overwrite.
    let mut stale = deployment("x");
    stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let (code, body) = apply(&client, &path, "fermata-operator", true, stale).await;
    assert_eq!((code, body["reason"].as_str()), (409, Some("Conflict")));

    let mut gone = deployment("gone");
    gone["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let path_gone = format!("{DEPLOYMENTS}/gone");
    let (code, _) = apply(&client, &path_gone, "fermata-operator", true, gone).await;
    assert_eq!(
        code, 201,
        "an apply makes what is gone, whatever version it has seen"
    );

    let mut wanted = scaled;
    wanted["spec"]["replicas"] = json!(4);
    let (code, _) = call(&client, "PUT", &format!("{path}/scale"), wanted.clone()).await;
    assert_eq!(code, 409, "the Scale is as old as the object was");
    wanted["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    let (code, body) = call(&client, "PUT", &format!("{path}/scale"), wanted).await;
    assert_eq!((code, body["spec"]["replicas"].as_i64()), (200, Some(4)));
}

#[tokio::test]
async fn nobody_owns_a_scale_of_zero_and_it_stays() {
    let (_cluster, client) = cluster().await;
    let path = format!("{DEPLOYMENTS}/x");
    let (code, made) = apply(&client, &path, "fermata-operator", true, deployment("x")).await;
    assert_eq!(code, 201, "{made}");
    let scale = format!("{path}/scale?fieldManager=fermata-gateway");
    let owners = async || {
        let (_, object) = call(&client, "GET", &path, Value::Null).await;
        let entries = object["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter();
        let owners = entries.filter(|entry| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null());
        let names = owners.map(|entry| entry["manager"].as_str().unwrap().to_owned());
        (
            object["spec"]["replicas"].as_i64(),
            names.collect::<Vec<_>>(),
        )
    };
    let to = async |count: i64| {
        let body = json!({"spec": {"replicas": count}});
        let (code, scaled) = call(&client, "PATCH", &scale, body).await;
        assert_eq!(code, 200, "{scaled}");
        scaled
    };
    assert_eq!(to(0).await["spec"], json!({}));
    assert_eq!(owners().await, (Some(0), vec![]));
    let mut without = deployment("x");
    without["spec"].as_object_mut().unwrap().remove("replicas");
    let (code, _) = apply(&client, &path, "fermata-operator", true, without).await;
    assert_eq!(code, 200);
    assert_eq!(owners().await, (Some(0), vec![]));
    to(3).await;
    assert_eq!(owners().await, (Some(3), vec![]));
    let (code, _) = apply(&client, &path, "other", false, deployment("x")).await;
    assert_eq!(code, 200);
    assert_eq!(owners().await, (Some(1), vec!["other".to_owned()]));
}
