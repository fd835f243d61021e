use super::*;
use crate::{fixtures::revision, options::SourceUser};

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
    build(&revision(spec), &Options::default(), None).expect("built")
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
fn the_wait_before_the_end_fits_into_a_short_grace_period() {
    for (grace, sleep) in [
        (305, Some(5)),
        (10, Some(5)),
        (9, Some(4)),
        (3, Some(1)),
        (2, Some(1)),
        (1, None),
        (0, None),
    ] {
        let spec = format!(
            "{{ functionName: hello, template: {{ image: a, podTemplate: {{ spec: {{ terminationGracePeriodSeconds: {grace} }} }} }} }}"
        );
        let pod = pod(&spec);
        assert_eq!(pod.termination_grace_period_seconds, Some(grace));
        let lifecycle = pod.containers[0].lifecycle.as_ref();
        let hook = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let seconds = hook.and_then(|hook| hook.sleep.as_ref().map(|sleep| sleep.seconds));
        assert_eq!(seconds, sleep, "{grace}");
    }
}

#[test]
fn a_probe_of_the_pod_template_replaces_the_one_beside_it_and_runs_each_second() {
    let spec = "{ functionName: hello, template: { image: a, readinessProbe: { httpGet: { path: /one, port: http }, timeoutSeconds: 3 }, podTemplate: { spec: { containers: [{ name: function, readinessProbe: { exec: { command: [ok] } } }] } } } }";
    let probe = pod(spec).containers[0].readiness_probe.clone();
    let probe = probe.expect("a probe");
    assert!(probe.exec.is_some() && probe.http_get.is_none() && probe.tcp_socket.is_none());
    assert_eq!(
        (probe.period_seconds, probe.timeout_seconds),
        (Some(1), None)
    );
}

#[test]
fn a_token_is_mounted_only_for_a_named_account() {
    let plain = pod("{ functionName: hello, template: { image: a } }");
    assert_eq!(plain.automount_service_account_token, Some(false));
    let named = pod("{ functionName: hello, template: { image: a, serviceAccountName: x } }");
    assert_eq!(named.automount_service_account_token, Some(true));
    for (given, mounted) in [
        ("serviceAccountName: x", true),
        (
            "serviceAccountName: x, automountServiceAccountToken: false",
            false,
        ),
        ("automountServiceAccountToken: true", true),
        ("dnsPolicy: Default", false),
    ] {
        let spec = format!(
            "{{ functionName: hello, template: {{ image: a, podTemplate: {{ spec: {{ {given} }} }} }} }}"
        );
        let mounts = pod(&spec).automount_service_account_token;
        assert_eq!(mounts, Some(mounted), "{given}");
    }
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
fn a_probe_that_says_only_how_often_asks_whether_the_port_accepts_a_connection() {
    let spec = "{ functionName: hello, template: { image: a, readinessProbe: { periodSeconds: 3, failureThreshold: 9 } } }";
    let probe = pod(spec).containers[0].readiness_probe.clone();
    let probe = probe.expect("a probe");
    assert_eq!(
        (probe.period_seconds, probe.failure_threshold),
        (Some(3), Some(9))
    );
    assert!(probe.tcp_socket.is_some());
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

#[test]
fn in_a_user_namespace_of_its_own_a_pod_may_be_root() {
    let spec = "{ functionName: hello, template: { image: a, security: { hostUsers: false }, podTemplate: { spec: { securityContext: { runAsUser: 0, runAsNonRoot: false } } } } }";
    let context = pod(spec).security_context.expect("a context");
    assert_eq!(context.run_as_user, Some(0));
}

#[test]
fn what_the_manifest_does_not_say_the_installation_does() {
    let resources = serde_json::json!({"requests": {"cpu": "10m"}});
    let mut options = Options::default();
    options.functions.resources = serde_json::from_value(resources).expect("resources");
    options.functions.source_user = SourceUser(None);
    options.functions.runtime_pull_secrets = vec!["registry".to_owned(), "own".to_owned()];
    let pod = |spec: &str| {
        let built = build(&revision(spec), &options, None).expect("built");
        let template = built.deployment.spec.expect("a spec").template;
        template.spec.expect("a pod")
    };
    let secrets = |pod: &k8s_openapi::api::core::v1::PodSpec| {
        let secrets = pod.image_pull_secrets.clone().unwrap_or_default();
        secrets
            .into_iter()
            .map(|secret| secret.name)
            .collect::<Vec<_>>()
    };
    let source = SOURCE.replace("concurrency: 4", "imagePullSecrets: [{ name: own }]");
    let source = pod(&source);
    assert_eq!(source.containers[0].resources, options.functions.resources);
    assert_eq!(
        source
            .security_context
            .as_ref()
            .expect("a context")
            .run_as_user,
        None
    );
    assert_eq!(secrets(&source), ["own", "registry"]);

    let image = pod(
        "{ functionName: hello, template: { image: a, resources: { limits: { cpu: '1' } }, security: { runAsUser: 7 } } }",
    );
    assert_ne!(image.containers[0].resources, options.functions.resources);
    assert_eq!(
        image
            .security_context
            .as_ref()
            .expect("a context")
            .run_as_user,
        Some(7)
    );
    assert!(secrets(&image).is_empty());
}

fn refused(template: &str, options: &Options) -> String {
    let spec = format!("{{ functionName: hello, template: {template} }}");
    let error = build(&revision(&spec), options, None).expect_err(template);
    assert_eq!(
        error.reason(),
        reasons::POD_SECURITY_VIOLATION,
        "{template}"
    );
    error.to_string()
}

/// Every way in that a manifest offers, by the user's part of the pod or beside it.
#[test]
fn a_pod_that_could_do_more_than_its_profile_allows_is_not_built() {
    let default = Options::default();
    for (template, says) in [
        (
            "podTemplate: { spec: { hostNetwork: true } }",
            "hostNetwork=true",
        ),
        ("podTemplate: { spec: { hostPID: true } }", "hostPID=true"),
        ("podTemplate: { spec: { hostIPC: true } }", "hostIPC=true"),
        (
            "podTemplate: { spec: { securityContext: { runAsUser: 0 } } }",
            "runAsUser=0",
        ),
        (
            "podTemplate: { spec: { securityContext: { runAsNonRoot: false } } }",
            "runAsNonRoot=false",
        ),
        (
            "podTemplate: { spec: { securityContext: { seccompProfile: { type: Unconfined } } } }",
            "seccompProfile",
        ),
        (
            "podTemplate: { spec: { securityContext: { sysctls: [{ name: kernel.msgmax, value: '1' }] } } }",
            "kernel.msgmax",
        ),
        (
            "podTemplate: { spec: { securityContext: { seLinuxOptions: { type: spc_t } } } }",
            "seLinuxOptions",
        ),
        (
            "podTemplate: { spec: { securityContext: { windowsOptions: { hostProcess: true } } } }",
            "hostProcess",
        ),
        (
            "podTemplate: { spec: { containers: [{ name: function, securityContext: { privileged: true } }] } }",
            "privileged (container \"function\"",
        ),
        (
            "podTemplate: { spec: { containers: [{ name: function, securityContext: { capabilities: { add: [SYS_ADMIN] } } }] } }",
            "SYS_ADMIN",
        ),
        (
            "podTemplate: { spec: { containers: [{ name: function, securityContext: { capabilities: { drop: [] } } }] } }",
            "capabilities.drop",
        ),
        (
            "podTemplate: { spec: { containers: [{ name: function, securityContext: { procMount: Unmasked } }] } }",
            "procMount",
        ),
        (
            "podTemplate: { spec: { containers: [{ name: function, ports: [{ containerPort: 8080, hostPort: 80 }] }] } }",
            "hostPort",
        ),
        (
            "podTemplate: { spec: { containers: [{ name: side, image: b, securityContext: { allowPrivilegeEscalation: true } }] } }",
            "container \"side\"",
        ),
        (
            "podTemplate: { spec: { initContainers: [{ name: first, image: b, securityContext: { privileged: true } }] } }",
            "container \"first\"",
        ),
        (
            "podTemplate: { spec: { volumes: [{ name: v, hostPath: { path: / } }] } }",
            "hostPath",
        ),
        (
            "podTemplate: { metadata: { annotations: { container.apparmor.security.beta.kubernetes.io/function: unconfined } } }",
            "AppArmor",
        ),
        (
            "podTemplate: { spec: { containers: [{ name: function, lifecycle: { postStart: { httpGet: { host: 127.0.0.1, port: 1 } } } }] } }",
            "127.0.0.1",
        ),
        ("volumes: [{ name: v, hostPath: { path: / } }]", "hostPath"),
        (
            "volumes: [{ name: v, emptyDir: {}, hostPath: { path: / } }]",
            "hostPath",
        ),
        (
            "livenessProbe: { tcpSocket: { host: 10.0.0.1, port: 1 } }",
            "10.0.0.1",
        ),
        (
            "security: { seccompProfile: { type: Unconfined } }",
            "seccompProfile",
        ),
        (
            "security: { hostUsers: false }, podTemplate: { spec: { hostPID: true } }",
            "hostPID=true",
        ),
        ("security: { profile: privileged }", "--allow-privileged"),
    ] {
        let message = refused(&format!("{{ image: a, {template} }}"), &default);
        assert!(message.contains(says), "{template}: {message}");
    }
}

#[test]
fn a_refusal_says_under_which_profile_the_pod_could_be() {
    let allowing = Options {
        allow_privileged: true,
        ..Options::default()
    };
    let nfs = "{ image: a, volumes: [{ name: v, nfs: { server: s, path: / } }] }";
    let message = refused(nfs, &Options::default());
    assert_eq!(
        message,
        "the pod does not meet security.profile restricted: restricted volume types (volume \"v\" uses restricted volume type \"nfs\"); take it out of the manifest, or set security.profile to baseline"
    );
    let host = "{ image: a, security: { profile: baseline }, podTemplate: { spec: { hostNetwork: true } } }";
    let message = refused(host, &Options::default());
    assert!(
        message.ends_with("which this installation allows no function"),
        "{message}"
    );
    let message = refused(host, &allowing);
    assert!(
        message.ends_with("or set security.profile to privileged"),
        "{message}"
    );

    let privileged = host.replace("baseline", "privileged");
    let spec = format!("{{ functionName: hello, template: {privileged} }}");
    build(&revision(&spec), &allowing, None).expect("it is allowed");
}

#[test]
fn containers_beside_the_function_get_what_the_profile_asks_of_each() {
    let beside = "podTemplate: { spec: { containers: [{ name: side, image: b }], initContainers: [{ name: first, image: c, securityContext: { readOnlyRootFilesystem: true, capabilities: { add: [NET_BIND_SERVICE] } } }] } }";
    let restricted = pod(&format!(
        "{{ functionName: hello, template: {{ image: a, {beside} }} }}"
    ));
    let side = restricted.containers[1]
        .security_context
        .clone()
        .expect("a context");
    assert_eq!(side.allow_privilege_escalation, Some(false));
    let first = &restricted.init_containers.expect("init containers")[0];
    let first = first.security_context.clone().expect("a context");
    assert_eq!(first.read_only_root_filesystem, Some(true));
    assert_eq!(
        first.capabilities.expect("capabilities").drop,
        Some(vec!["ALL".into()])
    );

    let baseline = format!(
        "{{ functionName: hello, template: {{ image: a, security: {{ profile: baseline }}, {beside} }} }}"
    );
    assert_eq!(pod(&baseline).containers[1].security_context, None);
}
