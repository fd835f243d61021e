//! What a manifest says in `podTemplate` where it meets something of Fermata's own: it works as
//! Kubernetes' users expect, or the condition says why not.

use fermata_crds::conditions;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::world::World;

/// The pod template of a new function's Deployment, as the API server has it.
async fn built(world: &World, name: &str, pod_template: &str) -> Value {
    let spec = format!(
        "{{ image: example.com/a:1, scale: {{ initial: 0 }}, volumes: [{{ name: data, emptyDir: {{}} }}], podTemplate: {pod_template} }}"
    );
    world.apply(name, &spec).await;
    world.ready(name).await;
    let deployment = world
        .until::<Deployment>(&format!("{name}-00001"), "there", |_| true)
        .await;
    serde_json::to_value(deployment.spec.unwrap().template).unwrap()
}

#[tokio::test]
async fn every_field_that_meets_a_default_gives_a_pod_that_the_cluster_takes() {
    let world = World::start().await;
    let function = "/spec/containers/0";
    let container =
        |fields: &str| format!("{{ spec: {{ containers: [{{ name: function, {fields} }}] }} }}");
    for (number, (pod_template, pointer, wanted)) in [
        (
            container("readinessProbe: { httpGet: { path: /ok, port: http } }"),
            format!("{function}/readinessProbe/httpGet/path"),
            json!("/ok"),
        ),
        (
            container("readinessProbe: { exec: { command: [ok] } }"),
            format!("{function}/readinessProbe/tcpSocket"),
            json!(null),
        ),
        (
            container("readinessProbe: { failureThreshold: 9 }"),
            format!("{function}/readinessProbe/tcpSocket/port"),
            json!("http"),
        ),
        (
            container("livenessProbe: { tcpSocket: { port: http } }"),
            format!("{function}/livenessProbe/tcpSocket/port"),
            json!("http"),
        ),
        (
            container("startupProbe: { httpGet: { path: /, port: 8080 } }"),
            format!("{function}/startupProbe/httpGet/port"),
            json!(8080),
        ),
        (
            container("lifecycle: { preStop: { exec: { command: [sync] } } }"),
            format!("{function}/lifecycle/preStop"),
            json!({"exec": {"command": ["sync"]}}),
        ),
        (
            "{ spec: { terminationGracePeriodSeconds: 3 } }".to_owned(),
            format!("{function}/lifecycle/preStop/sleep/seconds"),
            json!(1),
        ),
        (
            "{ spec: { terminationGracePeriodSeconds: 1 } }".to_owned(),
            format!("{function}/lifecycle"),
            json!(null),
        ),
        (
            container("ports: [{ containerPort: 8080, protocol: UDP }]"),
            format!("{function}/ports/1/protocol"),
            json!("UDP"),
        ),
        (
            container("ports: [{ name: metrics, containerPort: 9100 }]"),
            format!("{function}/ports/0/name"),
            json!("http"),
        ),
        (
            container("image: example.com/b:1, command: [other], args: [x], workingDir: /tmp"),
            format!("{function}/image"),
            json!("example.com/b:1"),
        ),
        (
            container("resources: { limits: { memory: 64Mi } }"),
            format!("{function}/resources/limits/memory"),
            json!("64Mi"),
        ),
        (
            container("securityContext: { readOnlyRootFilesystem: true }"),
            format!("{function}/securityContext/allowPrivilegeEscalation"),
            json!(false),
        ),
        (
            container("env: [{ name: MINE, valueFrom: { fieldRef: { fieldPath: metadata.name } } }]"),
            format!("{function}/env/8/name"),
            json!("MINE"),
        ),
        (
            container("volumeMounts: [{ name: data, mountPath: /function }]"),
            format!("{function}/volumeMounts/0/mountPath"),
            json!("/function"),
        ),
        (
            "{ spec: { volumes: [{ name: data, configMap: { name: c } }] } }".to_owned(),
            "/spec/volumes/0/emptyDir".to_owned(),
            json!(null),
        ),
        (
            "{ spec: { restartPolicy: Always, dnsPolicy: Default, enableServiceLinks: true } }"
                .to_owned(),
            "/spec/dnsPolicy".to_owned(),
            json!("Default"),
        ),
        (
            "{ spec: { securityContext: { runAsUser: 7, seccompProfile: { type: Localhost, localhostProfile: p } } } }".to_owned(),
            "/spec/securityContext/seccompProfile/localhostProfile".to_owned(),
            json!("p"),
        ),
        (
            "{ spec: { affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, podAffinityTerm: { topologyKey: zone } }] } } } }".to_owned(),
            "/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/weight".to_owned(),
            json!(1),
        ),
        (
            "{ spec: { topologySpreadConstraints: [{ topologyKey: zone, maxSkew: 1, whenUnsatisfiable: DoNotSchedule }, { topologyKey: zone, maxSkew: 2, whenUnsatisfiable: ScheduleAnyway }] } }".to_owned(),
            "/spec/topologySpreadConstraints/1/maxSkew".to_owned(),
            json!(2),
        ),
        (
            "{ spec: { serviceAccountName: other } }".to_owned(),
            "/spec/automountServiceAccountToken".to_owned(),
            json!(true),
        ),
        (
            "{ metadata: { labels: { team: shop }, annotations: { example.com/note: hi } } }"
                .to_owned(),
            "/metadata/labels/team".to_owned(),
            json!("shop"),
        ),
        (
            "{ spec: { containers: [{ name: side, image: b, ports: [{ name: http, containerPort: 9000 }], env: [{ name: PORT, value: '9000' }] }] } }".to_owned(),
            "/spec/containers/1/ports/0/name".to_owned(),
            json!("http"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = built(&world, &format!("f{number}"), &pod_template).await;
        let found = pod.pointer(&pointer).cloned().unwrap_or_default();
        assert_eq!(found, wanted, "{pod_template}: {pod:#}");
    }
    world.settled().await;
    let before = world.writes().len();
    world.settled().await;
    let further = world.writes().split_off(before);
    assert!(
        further.iter().all(|line| line.contains("sentinel")),
        "what is built is what the cluster keeps: {further:#?}"
    );
    world.end().await;
}

#[tokio::test]
async fn what_does_not_go_with_a_function_is_told() {
    let world = World::start().await;
    for (number, (pod_template, says)) in [
        ("{ spec: { restartPolicy: Never } }", "restartPolicy Never"),
        ("{ spec: { nodeName: one } }", "use nodeSelector"),
        ("{ spec: { containers: null } }", "is null"),
        (
            "{ spec: { containers: [{ name: function, env: [{ name: PORT, value: '1' }] }] } }",
            "variable PORT is set by Fermata",
        ),
        (
            "{ spec: { containers: [{ name: function, ports: [{ name: http, containerPort: 1 }] }] } }",
            "set the number with spec.port",
        ),
        (
            "{ metadata: { labels: { fermata.dev/revision: x } } }",
            "Fermata's own",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("f{number}");
        let spec = format!(
            "{{ image: a, scale: {{ initial: 0 }}, podTemplate: {pod_template} }}"
        );
        world.apply(&name, &spec).await;
        let message = world
            .condition(&name, conditions::READY, ("False", "InvalidSpec"))
            .await;
        assert!(message.contains(says), "{pod_template}: {message}");
    }
    world.end().await;
}
