use super::*;
use crate::fixtures::revision;

const SOURCE: &str = "
functionName: hello
template:
  source: { runtime: python, handler: main.handle, files: { main.py: 'x = 1' } }
  concurrency: 4
  env: [{ name: LEVEL, value: high }]
runtime:
  image: example.com/python:1
  command: [fermata-invoker, python]
  env: [{ name: LEVEL, value: low }, { name: PYTHONUNBUFFERED, value: '1' }]
";

fn built(spec: &str) -> Desired {
    build(&revision(spec)).expect("built")
}

fn pod(spec: &str) -> k8s_openapi::api::core::v1::PodSpec {
    let deployment = built(spec).deployment;
    let template = deployment.spec.expect("a spec").template;
    template.spec.expect("a pod")
}

#[test]
fn an_image_function_becomes_a_deployment() {
    let desired = built("{ functionName: hello, template: { image: example.com/a:1 } }");
    assert_eq!(desired.config_map, None);
    insta::assert_yaml_snapshot!(desired.deployment);
}

#[test]
fn a_source_function_becomes_a_deployment_and_a_config_map() {
    let desired = built(SOURCE);
    insta::assert_yaml_snapshot!(desired.config_map);
    insta::assert_yaml_snapshot!(desired.deployment);
}

#[test]
fn the_grace_period_covers_the_longest_request() {
    for (request, seconds) in [("300s", 305), ("1500ms", 7), ("24h", 86405)] {
        let spec = format!(
            "{{ functionName: hello, template: {{ image: a, timeouts: {{ request: {request} }} }} }}"
        );
        assert_eq!(pod(&spec).termination_grace_period_seconds, Some(seconds));
    }
}

#[test]
fn a_token_is_mounted_only_for_a_named_account() {
    let plain = pod("{ functionName: hello, template: { image: a } }");
    assert_eq!(plain.automount_service_account_token, Some(false));
    let named = pod("{ functionName: hello, template: { image: a, serviceAccountName: x } }");
    assert_eq!(named.automount_service_account_token, Some(true));
}

#[test]
fn the_security_profile_decides_what_the_process_may_do() {
    let restricted = pod("{ functionName: hello, template: { image: a } }");
    let context = restricted.security_context.expect("a context");
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(context.run_as_user, None);
    assert!(restricted.containers[0].security_context.is_some());

    let baseline = "{ functionName: hello, template: { image: a, security: { profile: baseline, runAsUser: 0, hostUsers: false } } }";
    let baseline = pod(baseline);
    let context = baseline.security_context.expect("a context");
    assert_eq!(
        (context.run_as_non_root, context.run_as_user),
        (None, Some(0))
    );
    assert_eq!(baseline.host_users, Some(false));
    assert!(baseline.containers[0].security_context.is_none());

    let source = pod(SOURCE).security_context.expect("a context");
    assert_eq!(source.run_as_user, Some(65532));
}

#[test]
fn a_given_probe_is_kept_but_runs_each_second() {
    let spec = "{ functionName: hello, template: { image: a, readinessProbe: { httpGet: { path: /ok, port: http }, failureThreshold: 9 } } }";
    let probe = pod(spec).containers[0]
        .readiness_probe
        .clone()
        .expect("a probe");
    assert_eq!(probe.period_seconds, Some(1));
    assert_eq!(probe.failure_threshold, Some(9));
    assert!(probe.http_get.is_some() && probe.tcp_socket.is_none());
}

#[test]
fn the_users_pod_template_lies_over_the_built_one() {
    let spec = "{ functionName: hello, template: { image: a, podTemplate: { metadata: { labels: { team: a } }, spec: { nodeSelector: { disk: fast } } } } }";
    let template = built(spec).deployment.spec.expect("a spec").template;
    let labels = template.metadata.expect("metadata").labels.expect("labels");
    assert_eq!(labels["team"], "a");
    assert_eq!(labels["fermata.dev/revision"], "hello-00001");
    assert!(template.spec.expect("a pod").node_selector.is_some());
}
