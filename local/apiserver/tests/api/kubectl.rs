//! An unmodified kubectl, at home.

use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    requests::{call, eventually},
};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: fermata.dev/v1alpha1
kind: Function
metadata: {name: hello}
spec: {image: 'x:1', scale: {min: 0, max: 3}}
";

#[tokio::test]
async fn what_is_served_is_found_by_name_short_name_and_category() {
    let (cluster, _) = cluster().await;
    let kubectl = cluster.kubectl();
    let version = kubectl.run(&["version", "-o", "json"]).await;
    let version: Value = serde_json::from_str(&version).unwrap();
    assert!(
        version["serverVersion"]["gitVersion"]
            .as_str()
            .unwrap()
            .starts_with("v1.")
    );
    let resources = kubectl.run(&["api-resources", "--no-headers"]).await;
    for line in [
        "functions fn fermata.dev/v1alpha1 true Function",
        "deployments deploy apps/v1 true Deployment",
        "namespaces ns v1 false Namespace",
    ] {
        let found = resources
            .lines()
            .any(|one| one.split_whitespace().collect::<Vec<_>>().join(" ") == line);
        assert!(found, "{line}\n{resources}");
    }
    for kind in [
        "fn",
        "functions",
        "function",
        "functions.fermata.dev",
        "deploy",
        "po",
        "fermata",
        "all",
    ] {
        kubectl.run(&["get", kind]).await;
    }
    let fail = kubectl.fail(&["get", "nothings"]).await;
    assert!(
        fail.contains("the server doesn't have a resource type"),
        "{fail}"
    );
}

#[tokio::test]
async fn apply_diff_and_dry_run_do_what_they_say() {
    let (cluster, _) = cluster().await;
    let kubectl = cluster.kubectl();
    let file = kubectl.write("a.yaml", MANIFEST);
    let first = kubectl.run(&["apply", "-f", &file]).await;
    assert_eq!(first.matches(" created").count(), 3, "{first}");
    let second = kubectl.run(&["apply", "-f", &file]).await;
    assert_eq!(second.matches(" unchanged").count(), 3, "{second}");
    kubectl.run(&["diff", "-f", &file]).await;

    let changed = kubectl.write("b.yaml", &MANIFEST.replace("web:1", "web:2"));
    let diff = kubectl.output(&["diff", "-f", &changed]).await;
    let diff = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert!(
        diff.contains("-      - image: web:1") && diff.contains("+      - image: web:2"),
        "{diff}"
    );
    let dry = kubectl
        .run(&["apply", "--dry-run=server", "-f", &changed])
        .await;
    assert!(dry.contains("web configured (server dry run)"), "{dry}");
    let image = [
        "get",
        "deploy",
        "web",
        "-o",
        "jsonpath={.spec.template.spec.containers[0].image}",
    ];
    assert_eq!(kubectl.run(&image).await, "web:1");
    kubectl.run(&["apply", "-f", &changed]).await;
    assert_eq!(kubectl.run(&image).await, "web:2");

    // A field that the manifest no longer has goes.
    let without = kubectl.write(
        "c.yaml",
        &MANIFEST.replace("        ports: [{containerPort: 80}]\n", ""),
    );
    kubectl.run(&["apply", "-f", &without]).await;
    let ports = kubectl
        .run(&[
            "get",
            "deploy",
            "web",
            "-o",
            "jsonpath={.spec.template.spec.containers[0].ports}",
        ])
        .await;
    assert_eq!(ports, "");

    let deleted = kubectl.run(&["delete", "-f", &file]).await;
    assert_eq!(deleted.matches(" deleted").count(), 3, "{deleted}");
}

#[tokio::test]
async fn server_side_apply_tells_of_conflicts_and_takes_over() {
    let (cluster, _) = cluster().await;
    let kubectl = cluster.kubectl();
    let file = kubectl.write("a.yaml", MANIFEST);
    let first = kubectl.run(&["apply", "--server-side", "-f", &file]).await;
    assert_eq!(first.matches(" serverside-applied").count(), 3, "{first}");
    kubectl
        .run(&["scale", "deploy", "web", "--replicas=5"])
        .await;
    let fail = kubectl.fail(&["apply", "--server-side", "-f", &file]).await;
    assert!(
        fail.contains("Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"),
        "{fail}"
    );
    kubectl
        .run(&["apply", "--server-side", "--force-conflicts", "-f", &file])
        .await;
    let replicas = kubectl
        .run(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"])
        .await;
    assert_eq!(replicas, "2");
    // From client-side apply to server-side and back.
    kubectl.run(&["delete", "-f", &file]).await;
    kubectl.run(&["apply", "-f", &file]).await;
    kubectl.run(&["apply", "--server-side", "-f", &file]).await;
    kubectl.run(&["apply", "-f", &file]).await;
}

#[tokio::test]
async fn mistakes_are_refused_with_the_words_of_kubernetes() {
    let (cluster, _) = cluster().await;
    let kubectl = cluster.kubectl();
    for (from, to, words) in [
        (
            "image: web:1",
            "imagee: web:1",
            "strict decoding error: unknown field \"spec.template.spec.containers[0].imagee\"",
        ),
        (
            "min: 0",
            "min: 9",
            "spec.scale: Invalid value: scale.max must be at least scale.min",
        ),
        (
            "min: 0",
            "mni: 0",
            "strict decoding error: unknown field \"spec.scale.mni\"",
        ),
        (
            "matchLabels: {app: web}",
            "matchLabels: {app: other}",
            "`selector` does not match template `labels`",
        ),
        ("replicas: 2", "replicas: two", "int32"),
    ] {
        let file = kubectl.write("bad.yaml", &MANIFEST.replacen(from, to, 1));
        let fail = kubectl.fail(&["apply", "-f", &file]).await;
        assert!(fail.contains(words), "{to}\n{fail}");
    }
}

#[tokio::test]
async fn single_commands_change_what_they_name() {
    let (cluster, client) = cluster().await;
    let kubectl = cluster.kubectl();
    let file = kubectl.write("a.yaml", MANIFEST);
    kubectl.run(&["create", "-f", &file]).await;
    for command in [
        vec!["label", "deploy", "web", "tier=front"],
        vec!["label", "fn", "hello", "tier=front"],
        vec!["annotate", "deploy", "web", "note=x"],
        vec!["set", "image", "deploy/web", "web=web:9"],
        vec!["set", "env", "deploy/web", "A=b"],
        vec!["scale", "deploy", "web", "--replicas=4"],
        vec![
            "patch",
            "deploy",
            "web",
            "-p",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","workingDir":"/x"}]}}}}"#,
        ],
        vec![
            "patch",
            "fn",
            "hello",
            "--type=merge",
            "-p",
            r#"{"spec":{"scale":{"max":9}}}"#,
        ],
        vec![
            "patch",
            "fn",
            "hello",
            "--type=json",
            "-p",
            r#"[{"op":"add","path":"/spec/scale/min","value":1}]"#,
        ],
        vec!["rollout", "restart", "deploy/web"],
        vec!["expose", "deploy", "web", "--name=web2", "--port=81"],
        vec!["auth", "can-i", "delete", "pods"],
        vec!["auth", "whoami"],
    ] {
        kubectl.run(&command).await;
    }
    let (_, web) = call(
        &client,
        "GET",
        "/apis/apps/v1/namespaces/~/deployments/web",
        Value::Null,
    )
    .await;
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "web:9");
    assert_eq!(container["workingDir"], "/x");
    assert_eq!(container["env"], json!([{"name": "A", "value": "b"}]));
    assert_eq!(web["spec"]["replicas"], 4);
    assert_eq!(web["metadata"]["labels"]["tier"], "front");
    let (_, hello) = call(
        &client,
        "GET",
        "/apis/fermata.dev/v1alpha1/namespaces/~/functions/hello",
        Value::Null,
    )
    .await;
    assert_eq!(hello["spec"]["scale"], json!({"min": 1, "max": 9}));

    // An editor that replaces a word.
    let mut edit = kubectl.command(&["edit", "fn", "hello"]);
    edit.env("KUBE_EDITOR", "sed -i s/x:1/x:2/");
    let edited = tokio::task::spawn_blocking(move || edit.output().unwrap())
        .await
        .unwrap();
    assert!(
        edited.status.success(),
        "{}",
        String::from_utf8_lossy(&edited.stderr)
    );
    let (_, hello) = call(
        &client,
        "GET",
        "/apis/fermata.dev/v1alpha1/namespaces/~/functions/hello",
        Value::Null,
    )
    .await;
    assert_eq!(hello["spec"]["image"], "x:2");
    // It reads before it writes, and where controllers run one of them may write in between.
    let replace = ["replace", "-f", &file];
    let mut replaced = kubectl.output(&replace).await;
    for _ in 0..10 {
        if !String::from_utf8_lossy(&replaced.stderr).contains("(Conflict)") {
            break;
        }
        replaced = kubectl.output(&replace).await;
    }
    assert!(replaced.status.success(), "{replaced:?}");
}

#[tokio::test]
async fn typed_clients_that_speak_protobuf_are_understood() {
    let (cluster, client) = cluster().await;
    let kubectl = cluster.kubectl();
    let team = format!("{}-team", cluster.namespace);
    for command in [
        vec!["create", "namespace", &team],
        vec![
            "create",
            "deployment",
            "web",
            "--image=web:1",
            "--replicas=0",
            "--port=80",
        ],
        vec!["create", "configmap", "c", "--from-literal=a=b"],
        vec!["create", "secret", "generic", "s", "--from-literal=a=b"],
        vec![
            "create",
            "service",
            "externalname",
            "e",
            "--external-name=x.example.com",
        ],
        vec!["create", "serviceaccount", "a"],
        vec!["create", "quota", "q", "--hard=pods=1"],
        vec![
            "create",
            "poddisruptionbudget",
            "p",
            "--selector=app=a",
            "--min-available=50%",
        ],
        vec!["create", "ingress", "i", "--rule=a.example.com/=web:80"],
    ] {
        kubectl.run(&command).await;
    }
    let get = async |path: &str| call(&client, "GET", path, Value::Null).await.1;
    let web = get("/apis/apps/v1/namespaces/~/deployments/web").await;
    assert_eq!(
        web["spec"]["replicas"], 0,
        "a zero behind a pointer is a zero"
    );
    assert_eq!(
        web["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"],
        80
    );
    assert_eq!(
        get("/api/v1/namespaces/~/configmaps/c").await["data"],
        json!({"a": "b"})
    );
    assert_eq!(
        get("/api/v1/namespaces/~/secrets/s").await["data"],
        json!({"a": "Yg=="})
    );
    let budget = get("/apis/policy/v1/namespaces/~/poddisruptionbudgets/p").await;
    assert_eq!(budget["spec"]["minAvailable"], "50%");
    // A real server does not know at once how much a new quota allows.
    eventually("the quota to count", async || {
        let quota = get("/api/v1/namespaces/~/resourcequotas/q").await;
        (quota["status"]["hard"]["pods"] == "1").then_some(())
    })
    .await;
    kubectl.run(&["run", "one", "--image=x"]).await;
    let fail = kubectl.fail(&["run", "two", "--image=x"]).await;
    assert!(
        fail.contains("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        "{fail}"
    );
    kubectl
        .run(&["delete", "pod", "one", "--force", "--grace-period=0"])
        .await;
    kubectl
        .run(&["get", "all,cm,secret,quota,sa,ing,pdb", "-o", "wide"])
        .await;
}

#[tokio::test]
async fn tables_show_the_columns_of_a_kind() {
    let (cluster, client) = cluster().await;
    let kubectl = cluster.kubectl();
    let file = kubectl.write("a.yaml", MANIFEST);
    kubectl.run(&["create", "-f", &file]).await;
    let status = json!({"status": {"url": "http://hello", "replicas": 2, "latestReadyRevision": "hello-00001", "conditions": [
        {"type": "Routable", "status": "False", "reason": "No", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"},
        {"type": "Ready", "status": "True", "reason": "Yes", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"},
    ]}});
    call(
        &client,
        "PATCH",
        "/apis/fermata.dev/v1alpha1/namespaces/~/functions/hello/status",
        status,
    )
    .await;
    let table = kubectl.run(&["get", "fn"]).await;
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0],
        [
            "NAME", "URL", "READY", "REVISION", "REPLICAS", "BACKLOG", "REASON", "AGE"
        ]
    );
    assert_eq!(
        words[1][..6],
        ["hello", "http://hello", "True", "hello-00001", "2", "Yes"]
    );
    let table = kubectl.run(&["get", "deploy", "-o", "wide"]).await;
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0],
        [
            "NAME",
            "READY",
            "UP-TO-DATE",
            "AVAILABLE",
            "AGE",
            "CONTAINERS",
            "IMAGES",
            "SELECTOR"
        ]
    );
    assert_eq!(words[1][0], "web");
    assert!(words[1][1].ends_with("/2"), "{table}");
    assert_eq!(words[1][5..], ["web", "web:1", "app=web"]);
    kubectl.run(&["describe", "fn,deploy,svc"]).await;
}

#[tokio::test]
async fn get_watch_prints_changes_as_they_come() {
    let (cluster, client) = cluster().await;
    let kubectl = cluster.kubectl();
    let out = kubectl.path("out");
    let mut command = kubectl.command(&["get", "cm", "-w"]);
    command.stdout(std::fs::File::create(&out).unwrap());
    let mut child = command.spawn().unwrap();
    let create = async |name: &str| {
        let new = json!({"metadata": {"name": name}});
        call(&client, "POST", "/api/v1/namespaces/~/configmaps", new).await
    };
    create("first").await;
    let seen = async |name: &str| {
        let text = std::fs::read_to_string(&out).unwrap();
        text.contains(name).then_some(text)
    };
    eventually("the first row", async || seen("first").await).await;
    create("second").await;
    let text = eventually("the second row", async || seen("second").await).await;
    assert_eq!(text.matches("NAME").count(), 1, "{text}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn explain_reads_the_schemas() {
    let (cluster, _) = cluster().await;
    let kubectl = cluster.kubectl();
    let text = kubectl.run(&["explain", "fn.spec.scale"]).await;
    assert!(
        text.contains("FIELD: scale <Object>") && text.contains("max\t<integer>"),
        "{text}"
    );
    let text = kubectl
        .run(&["explain", "deployment.spec.template.spec.containers"])
        .await;
    assert!(
        text.contains("KIND:       Deployment") && text.contains("image\t<string>"),
        "{text}"
    );
    kubectl.run(&["explain", "fn", "--recursive"]).await;
}
