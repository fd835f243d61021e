//! `fermata deploy` and what comes after it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Command,
};

use fermata_tests::{Space, fermata_bin};
use serde_json::json;

use crate::{ok, run};

#[tokio::test]
async fn deploy_list_invoke_logs_describe_and_delete() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let gateway = format!("http://{}", space.platform.gateway);
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("main.py");
    fs::write(
        &source,
        "def handle(request):\n    print('got', request.text())\n    return request.text()[::-1]\n",
    )
    .unwrap();
    let source = source.to_str().unwrap();
    let n = ["-n", space.name.as_str()];
    let with = |arguments: &[&str]| {
        [&n[..], arguments]
            .concat()
            .iter()
            .map(|part| (*part).to_owned())
            .collect::<Vec<String>>()
    };
    let fermata = |arguments: &[&str]| {
        let all = with(arguments);
        ok(
            kubeconfig,
            &all.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };

    assert!(fermata(&["list"]).contains("No functions found"));
    let deployed = fermata(&["deploy", "reverse", "--runtime", "python", source]);
    assert!(
        deployed.contains("reverse is ready") && deployed.contains("http://"),
        "{deployed}"
    );
    let listed = fermata(&["list"]);
    assert!(
        listed.contains("reverse") && listed.contains("True"),
        "{listed}"
    );
    let json: serde_json::Value = serde_json::from_str(&fermata(&["list", "-o", "json"])).unwrap();
    assert_eq!(json["items"][0]["metadata"]["name"], "reverse");
    assert!(fermata(&["list", "-o", "wide"]).contains("python"));
    let named = fermata(&["list", "reverse"]);
    assert!(named.contains("reverse"), "{named}");
    let both = with(&["list", "reverse", "nobody"]);
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    let (found, printed) = run(kubeconfig, &both);
    assert!(
        !found && printed.contains("there is no function nobody"),
        "{printed}"
    );
    assert_eq!(
        fermata(&["invoke", "reverse", "-d", "abc", "--gateway", &gateway]),
        "cba"
    );
    if space.platform.embedded {
        assert_eq!(fermata(&["invoke", "reverse", "-d", "xyz"]), "zyx");
    }
    assert!(fermata(&["invoke", "reverse", "-i", "--gateway", &gateway]).contains("server-timing"));
    assert!(fermata(&["logs", "reverse"]).contains("got abc"));
    let described = fermata(&["describe", "reverse"]);
    for part in [
        "Name:",
        "reverse-00001",
        "100 %",
        "RevisionReady",
        "Events:",
    ] {
        assert!(described.contains(part), "{described}");
    }
    assert!(fermata(&["delete", "reverse"]).contains("deleted"));
    assert!(fermata(&["list"]).contains("No functions found"));
}

#[tokio::test]
async fn one_setting_changes_and_a_restart_changes_none() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let fermata = |arguments: &[&str]| ok(kubeconfig, &[&["-n", &space.name], arguments].concat());
    let read = || {
        let text = fermata(&["get", "-o", "json"]);
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        list["items"][0].clone()
    };
    space
        .test_function(
            "lamp",
            &["serve"],
            json!({"env": [{"name": "KEEP", "value": "1"}]}),
        )
        .await;
    space.ready("lamp").await;
    let before = read();
    fermata(&["deploy", "lamp", "--min", "1", "-e", "A=B"]);
    let after = read();
    assert_eq!(after["spec"]["scale"]["min"], 1);
    assert_eq!(after["spec"]["command"], before["spec"]["command"]);
    let env = json!([{"name": "KEEP", "value": "1"}, {"name": "A", "value": "B"}]);
    assert_eq!(after["spec"]["env"], env);

    assert_eq!(after["status"]["latestReadyRevision"], "lamp-00002");
    let output = fermata_tests::fermata(
        kubeconfig,
        &["-n", &space.name, "restart", "lamp", "-o", "name"],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"function.fermata.dev/lamp\n");
    let restarted = read();
    assert_eq!(restarted["status"]["latestReadyRevision"], "lamp-00003");
    assert_eq!(restarted["spec"]["env"], env);

    let deploy = [
        "-n",
        &space.name,
        "deploy",
        "lamp",
        "--max",
        "7",
        "-o",
        "json",
    ];
    let output = fermata_tests::fermata(kubeconfig, &deploy);
    let lamp: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(lamp["spec"]["scale"], json!({"min": 1, "max": 7}));

    let (_, printed) = run(kubeconfig, &["-n", &space.name, "logs", "lmap"]);
    assert!(printed.contains("did you mean lamp?"), "{printed}");
    let elsewhere = run(kubeconfig, &["-n", "default", "describe", "lamp"]).1;
    assert!(
        elsewhere.contains(&format!("-n {}", space.name)),
        "{elsewhere}"
    );
    let (_, printed) = run(kubeconfig, &["--context", "nobodys", "list"]);
    assert!(printed.contains("has no context nobodys"), "{printed}");
    assert!(fermata(&["rm", "lamp", "-o", "name"]).contains("function.fermata.dev/lamp"));
}

#[tokio::test]
async fn what_cannot_start_ends_a_deploy_with_its_last_words() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("main.py");
    fs::write(&main, "import nothing_of_that_name\n").unwrap();
    let main = main.to_str().unwrap();
    let deploy = |name: &str, runtime: &str| {
        let arguments = [
            "-n",
            &space.name,
            "deploy",
            name,
            "--runtime",
            runtime,
            main,
        ];
        let (deployed, printed) = run(kubeconfig, &arguments);
        assert!(!deployed, "{printed}");
        assert!(printed.contains("will not become ready"), "{printed}");
        printed
    };
    let printed = deploy("import", "python");
    assert!(printed.contains("nothing_of_that_name"), "{printed}");
    // Its log is there between two runs and while the next one begins.
    let logs = ok(kubeconfig, &["-n", &space.name, "logs", "import"]);
    assert!(logs.contains("nothing_of_that_name"), "{logs}");
    assert!(deploy("other", "no-such-runtime").contains("RuntimeNotFound"));
}

#[tokio::test]
async fn what_a_function_writes_is_nothing_that_a_terminal_obeys() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("main.py");
    fs::write(&main, "raise SystemExit('\\x1b[2Jcleared')\n").unwrap();
    let main = main.to_str().unwrap();
    let n = ["-n", space.name.as_str()];
    let deploy = ["deploy", "rude", "--runtime", "python", main];
    let (deployed, printed) = run(kubeconfig, &[&n[..], &deploy].concat());
    assert!(!deployed && printed.contains("[2Jcleared"), "{printed}");
    let described = ok(kubeconfig, &[&n[..], &["describe", "rude"]].concat());
    assert!(described.contains("[2Jcleared"), "{described}");
    for text in [printed, described] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}

#[tokio::test]
async fn functions_call_each_other_at_the_gateway_they_are_told() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    space.test_function("callee", &["serve"], json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let code = "import os\nimport urllib.request\n\n\n\
        def handle(request):\n\
        \x20   path, host = request.text().split()\n\
        \x20   url = os.environ['FERMATA_GATEWAY'] + path\n\
        \x20   call = urllib.request.Request(url, b'hi', {'Host': host})\n\
        \x20   return urllib.request.urlopen(call).read()\n";
    let main = dir.path().join("main.py");
    fs::write(&main, code).unwrap();
    let main = main.to_str().unwrap();
    ok(
        kubeconfig,
        &[
            "-n",
            &space.name,
            "deploy",
            "caller",
            "--runtime",
            "python",
            main,
        ],
    );
    let by_path = format!("/function/callee.{} gateway", space.name);
    let by_host = format!("/ callee.{}.svc", space.name);
    for target in [by_path, by_host] {
        assert_eq!(space.call("caller", &target).await.ok().text(), "hi");
    }
}

#[tokio::test]
async fn a_list_that_watches_prints_what_comes() {
    let space = Space::new().await;
    let mut process = Command::new(fermata_bin())
        .args(["list", "--watch", "-o", "name", "-n", &space.name])
        .env("KUBECONFIG", &space.platform.kubeconfig)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    space.test_function("comes", &["serve"], json!({})).await;
    let printed = BufReader::new(process.stdout.take().unwrap());
    let line = printed.lines().next();
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(line.unwrap().unwrap(), "function.fermata.dev/comes");
}
