//! The command line, as a person uses it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Command,
};

use fermata_tests::{Platform, Space, Up, eventually, fermata, fermata_bin};
use serde_json::json;

fn run(kubeconfig: &Path, arguments: &[&str]) -> (bool, String) {
    let output = fermata(kubeconfig, arguments);
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

fn ok(kubeconfig: &Path, arguments: &[&str]) -> String {
    let (ok, printed) = run(kubeconfig, arguments);
    assert!(ok, "fermata {arguments:?}: {printed}");
    printed
}

/// Whether a program is on `PATH`.
fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[tokio::test]
async fn what_init_writes_runs_unchanged_and_rolls_when_it_is_edited() {
    for (runtime, file, edit) in [
        ("python", "main.py", ("Hello", "Goodbye")),
        ("node", "main.mjs", ("Hello", "Goodbye")),
        ("command", "main.sh", ("Hello", "Goodbye")),
    ] {
        if runtime == "node" && !is_installed("node") {
            println!("node is not on PATH: its runtime is not tested");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let init = Command::new(fermata_bin())
            .args(["init", "greeter", "--runtime", runtime])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(init.status.success(), "{init:?}");
        let up = Up::start(dir.path(), ["--ephemeral", "-f", "greeter"]);
        let gateway = up.platform().gateway();
        let call = async || gateway.post("/function/greeter", "world").await;
        eventually("it answers", async || match call().await.text() {
            text if text == "Hello, world!\n" => Ok(()),
            text => Err(format!("{text}\n{}", up.printed())),
        })
        .await;
        let code = dir.path().join("greeter").join(file);
        let text = fs::read_to_string(&code).unwrap().replace(edit.0, edit.1);
        fs::write(&code, text).unwrap();
        // No call fails while the new revision rolls out.
        eventually("the edit has rolled out", async || {
            match call().await.ok().text() {
                text if text == "Goodbye, world!\n" => Ok(()),
                text => Err(text),
            }
        })
        .await;
        eventually("the change is told", async || {
            let printed = up.printed();
            let told = printed.contains("/function/greeter")
                && printed.contains("revision greeter-00002 is ready");
            if told { Ok(()) } else { Err(printed) }
        })
        .await;
        assert!(
            run(Path::new("/nonexistent"), &["list"])
                .1
                .contains("kubeconfig")
        );
    }
}

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
async fn mistakes_are_told_with_the_way_out() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let fails = |arguments: &[&str]| {
        let (ok, printed) = run(kubeconfig, arguments);
        assert!(!ok, "fermata {arguments:?} succeeded: {printed}");
        printed
    };
    assert!(fails(&["invoke", "nobody"]).contains("there is no function nobody"));
    assert!(fails(&["logs", "nobody"]).contains("there is no function nobody"));
    assert!(fails(&["describe", "nobody"]).contains("fermata list"));
    assert!(fails(&["delete", "nobody"]).contains("no such function: nobody"));
    assert!(ok(kubeconfig, &["delete", "nobody", "--ignore-not-found"]).is_empty());
    assert!(fails(&["deploy", "-f", "/nonexistent.yaml"]).contains("/nonexistent.yaml"));
    assert!(fails(&["init", "Bad_Name"]).contains("lower case letters"));
    assert!(
        fails(&[
            "deploy",
            "x",
            "--image",
            "a",
            "-e",
            "PORT=1",
            "-n",
            &space.name
        ])
        .contains("set by Fermata")
    );
    assert!(fails(&["deploy", "x"]).contains("--image"));
    assert!(fails(&["up", "-f", "/nonexistent"]).contains("/nonexistent"));
    assert!(fails(&["up", "--listen", "8080"]).contains("127.0.0.1:8080"));
    let unknown = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let manifest = "{apiVersion: fermata.dev/v1alpha1, kind: Functoin, metadata: {name: x}}";
    fs::write(unknown.path(), manifest).unwrap();
    let printed = fails(&["deploy", "-f", unknown.path().to_str().unwrap()]);
    assert!(
        printed.contains("does not know the kind Functoin") && !printed.contains("Missing Kind"),
        "{printed}"
    );

    space.test_function("fails", &["serve"], json!({})).await;
    space.ready("fails").await;
    let gateway = format!("http://{}", space.platform.gateway);
    let printed = fails(&[
        "invoke",
        "fails",
        "-p",
        "/status/418",
        "-n",
        &space.name,
        "--gateway",
        &gateway,
    ]);
    assert!(
        printed.contains("as asked") && printed.contains("418"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_completion_script_is_there_for_each_shell() {
    let platform = Platform::shared();
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(&platform.kubeconfig, &["completion", shell]).contains("fermata"));
    }
}

#[tokio::test]
async fn a_bad_file_of_up_is_told_and_mended_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("f.yaml");
    let function = |image: &str| {
        format!(
            "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {{name: web}}\nspec: {{image: x, {image}}}\n"
        )
    };
    fs::write(&manifest, function("scale: {min: 5, max: 1}")).unwrap();
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "f.yaml"]);
    let says = async |sentence: &str| {
        eventually(sentence, async || {
            if up.printed().contains(sentence) {
                Ok(())
            } else {
                Err(up.printed())
            }
        })
        .await;
    };
    says("scale.max must be at least scale.min").await;
    fs::write(&manifest, "a: [").unwrap();
    says("f.yaml is not valid YAML").await;
    fs::write(&manifest, function("command: [fermata-test-function]")).unwrap();
    says("revision web-00001 is ready").await;
    assert_eq!(
        up.platform()
            .gateway()
            .post("/function/web", "hi")
            .await
            .ok()
            .text(),
        "hi"
    );
}

const FUNCTION: &str = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: NAME}\nspec: {source: {runtime: python, handler: main.handle}}\n";

/// Writes a function of Python into a folder of its own.
fn write_function(dir: &Path, name: &str, answer: &str) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("function.yaml"), FUNCTION.replace("NAME", name)).unwrap();
    let code = format!("def handle(request):\n    return '{answer}'\n");
    fs::write(dir.join("main.py"), code).unwrap();
}

#[tokio::test]
async fn a_folder_of_code_may_hold_more_than_code() {
    let space = Space::new().await;
    let kubeconfig = space.platform.kubeconfig.as_path();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("shop");
    write_function(&folder, "shop", "open");
    fs::write(folder.join("package.json"), "{\"type\": \"module\"}").unwrap();
    fs::write(folder.join("config.yaml"), "limit: 3\n").unwrap();
    let path = folder.to_str().unwrap();
    let deploy = ["deploy", "-n", &space.name, "-f", path];
    ok(kubeconfig, &deploy);
    let files = || {
        let list = ["describe", "shop", "-n", &space.name, "-o", "json"];
        let list: serde_json::Value = serde_json::from_str(&ok(kubeconfig, &list)).unwrap();
        let files = list["items"][0]["spec"]["source"]["files"].as_object();
        files.unwrap().keys().cloned().collect::<Vec<String>>()
    };
    assert_eq!(files(), ["config.yaml", "main.py", "package.json"]);

    // What is no part of the function makes no Revision.
    for leftover in ["main.py~", ".main.py.swp", "README.md", "test_main.py"] {
        fs::write(folder.join(leftover), "x").unwrap();
    }
    fs::create_dir(folder.join("__pycache__")).unwrap();
    fs::write(folder.join("__pycache__/main.pyc"), [0xff, 0]).unwrap();
    ok(kubeconfig, &deploy);
    assert_eq!(files(), ["config.yaml", "main.py", "package.json"]);

    // What cannot be carried is refused by its name.
    fs::create_dir(folder.join("lib")).unwrap();
    fs::write(folder.join("logo.png"), [0x89, 0xff]).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", folder.join("host")).unwrap();
    let (deployed, printed) = run(kubeconfig, &deploy);
    assert!(!deployed, "{printed}");
    for part in [
        "lib (a folder)",
        "logo.png",
        "host (a link out",
        ".fermataignore",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    fs::write(folder.join(".fermataignore"), "lib\n*.png\nhost\n").unwrap();
    ok(kubeconfig, &deploy);
    ok(kubeconfig, &["delete", "-n", &space.name, "-f", path]);
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
async fn a_folder_of_functions_runs_them_all() {
    let dir = tempfile::tempdir().unwrap();
    write_function(&dir.path().join("all/one"), "one", "1");
    write_function(&dir.path().join("all/deeper/two"), "two", "2");
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "all"]);
    for (name, answer) in [("one", "1"), ("two", "2")] {
        let path = format!("/function/{name}");
        eventually("it answers", async || {
            match up.platform().gateway().get(&path).await.text() {
                text if text == answer => Ok(()),
                text => Err(format!("{text}\n{}", up.printed())),
            }
        })
        .await;
    }
    // A function that comes later is found as well.
    write_function(&dir.path().join("all/three"), "three", "3");
    eventually("the new one answers", async || {
        match up.platform().gateway().get("/function/three").await.text() {
            text if text == "3" => Ok(()),
            text => Err(text),
        }
    })
    .await;
}

#[test]
fn a_cluster_that_nobody_named_is_not_written_to() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".kube")).unwrap();
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
        contexts: [{name: prod, context: {cluster: prod, user: me}}]\n\
        clusters: [{name: prod, cluster: {server: 'https://192.0.2.1:6443'}}]\n\
        users: [{name: me, user: {token: t}}]\n";
    fs::write(home.path().join(".kube/config"), kubeconfig).unwrap();
    for arguments in [
        &["deploy", "x", "--image", "a"][..],
        &["delete", "x"],
        &["restart", "x"],
    ] {
        let output = Command::new(fermata_bin())
            .args(arguments)
            .current_dir(home.path())
            .env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{printed}");
        for part in ["prod (https://192.0.2.1:6443)", "--context prod", "--yes"] {
            assert!(printed.contains(part), "{printed}");
        }
    }
}

#[test]
fn it_is_a_plugin_of_kubectl_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-fermata");
    std::os::unix::fs::symlink(fermata_bin(), &plugin).unwrap();
    let help = Command::new(plugin)
        .args(["deploy", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Usage: kubectl fermata deploy"), "{help}");
    assert!(
        help.contains("  kubectl fermata deploy -f hello/"),
        "{help}"
    );
}

#[tokio::test]
async fn names_are_completed() {
    let space = Space::new().await;
    space
        .test_function("long-name", &["serve"], json!({}))
        .await;
    let output = Command::new(fermata_bin())
        .args(["--", "fermata", "logs", "-n", &space.name, "lo"])
        .env("KUBECONFIG", &space.platform.kubeconfig)
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "4")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "long-name",
        "{output:?}"
    );
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
async fn up_shows_requests_and_the_newest_news() {
    let dir = tempfile::tempdir().unwrap();
    write_function(&dir.path().join("hello"), "hello", "one");
    let up = Up::start(
        dir.path(),
        ["--ephemeral", "--access-log=on", "-f", "hello"],
    );
    let call = async || up.platform().gateway().get("/function/hello").await;
    let answers = async |text: &str| {
        eventually(text, async || match call().await.text() {
            answer if answer == text => Ok(()),
            answer => Err(answer),
        })
        .await;
    };
    answers("one").await;
    eventually("the request is shown", async || {
        let printed = up.printed();
        let line = printed
            .lines()
            .find(|line| line.contains("GET /function/hello 200"));
        line.map(drop).ok_or(printed)
    })
    .await;
    write_function(&dir.path().join("hello"), "hello", "two");
    answers("two").await;
    eventually("the second revision is told of", async || {
        let described = ok(&up.platform().kubeconfig, &["describe", "hello"]);
        let told = ["made hello-00001 ", "made hello-00002 "];
        if told.iter().all(|part| described.contains(part)) {
            Ok(())
        } else {
            Err(described)
        }
    })
    .await;
    let (code, printed) = up.stop();
    assert_eq!(code, Some(0), "{printed}");
}

/// Twice as much as may wait to be printed, and a full pipe more.
#[tokio::test]
async fn up_serves_while_nobody_reads_what_it_prints() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), ["--ephemeral", "--access-log=on"]);
    up.stall(true);
    let path = format!("/{}", "x".repeat(8 * 1024));
    for _ in 0..300 {
        assert_eq!(up.platform().gateway().get(&path).await.status, 404);
    }
    let kubeconfig = up.platform().kubeconfig.clone();
    ok(&kubeconfig, &["list"]);
    up.stall(false);
    eventually("what is missing is told", async || {
        let told = up.printed().contains("more lines came too fast");
        if told { Ok(()) } else { Err(up.printed()) }
    })
    .await;
    let (code, printed) = up.stop();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("Stopping"), "{printed}");
}

#[tokio::test]
async fn a_program_that_listens_elsewhere_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: deaf}\nspec:\n  image: x\n  \
        command: [sh, -c, 'sleep 1000']\n";
    fs::write(dir.path().join("f.yaml"), manifest).unwrap();
    let up = Up::start(dir.path(), ["--ephemeral", "-f", "f.yaml"]);
    eventually("it is told", async || {
        let printed = up.printed();
        let told = printed.contains("nothing listens on $PORT (");
        if told { Ok(()) } else { Err(printed) }
    })
    .await;
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
