//! Who may push.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use super::{Pushed, has, python, said};

/// The user whom nothing belongs to.
const NOBODY: u32 = 65534;

#[tokio::test]
async fn nobody_else_pushes() {
    let pushed = Pushed::new();
    pushed.write("main.py", python("mine"));
    pushed.pushed("hello");
    let gateway = pushed.gateway();
    let asked = format!("http://{gateway}/git/hello.git/info/refs?service=git-receive-pack");
    let curl = |arguments: &[&str]| {
        let said = said(
            Command::new("curl")
                .args(["-s", "-w", "\n%{http_code}"])
                .args(arguments),
        );
        said.text.trim().to_owned()
    };
    let answer = curl(&[&asked]);
    assert!(answer.ends_with("200"), "{answer}");

    // A web page, and a name that may lead anywhere.
    for headers in [
        &["-H", "Origin: http://evil.example"][..],
        &["-H", "Sec-Fetch-Site: cross-site"],
        &["-H", "Host: evil.example"],
    ] {
        let answer = curl(&[headers, &[asked.as_str()]].concat());
        assert!(answer.ends_with("403"), "{headers:?}: {answer}");
    }
    // What anybody can write says nothing.
    let claim = "Forwarded: for=\"127.0.0.1:1\"";
    let answer = curl(&["-H", claim, &asked]);
    assert!(answer.ends_with("200"), "{answer}");
    // It has no name, and the listener for the cluster does not lead there.
    let internal = pushed.up.platform().internal;
    let inside = format!(
        "http://{internal}/function/git.fermata-system/git/hello.git/info/refs?service=git-receive-pack"
    );
    let answer = curl(&[&inside]);
    assert!(answer.ends_with("404"), "{answer}");
    let path = format!("http://{internal}/git/hello.git/info/refs?service=git-receive-pack");
    let answer = curl(&[&path]);
    assert!(answer.ends_with("404"), "{answer}");
    // The function's own port is asked without the gateway.
    let ports = pushed.fermata(&["-n", "fermata-system", "list"]);
    has(&ports, "git");
    let port = own_port(&pushed).await;
    let direct =
        format!("http://127.0.0.1:{port}/git/hello.git/info/refs?service=git-receive-pack");
    assert!(curl(&[&direct]).ends_with("403"));

    // CI is root; whoever is not cannot be another.
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        println!("not root: another user's pushes are not tested");
        return;
    }
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            &format!("--reuid={NOBODY}"),
            "--clear-groups",
            "curl",
            "-s",
            "-w",
            "\n%{http_code}",
        ]);
        said(command.args(arguments)).text.trim().to_owned()
    };
    for target in [&asked, &direct] {
        let answer = as_nobody(&[target]);
        assert!(answer.ends_with("403"), "{answer}");
    }
    // Not with the claim that it is somebody else, either.
    let held = std::net::TcpStream::connect(gateway).unwrap();
    let claim = format!("Forwarded: for=\"{}\"", held.local_addr().unwrap());
    let answer = as_nobody(&["-H", &claim, &direct]);
    assert!(answer.ends_with("403"), "{answer}");
    let answer = as_nobody(&["-H", &claim, &asked]);
    assert!(answer.ends_with("403"), "{answer}");

    // Nobody's git says so.
    fs::set_permissions(pushed.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args([
            &format!("--reuid={NOBODY}"),
            "--clear-groups",
            "git",
            "ls-remote",
        ])
        .arg(pushed.url("hello"))
        .current_dir("/")
        .env("HOME", "/nonexistent");
    let refused = said(&mut command);
    assert!(!refused.ok);
    has(&refused.text, "only the user of `fermata up`");
}

/// The port that the function which takes pushes has on this machine.
async fn own_port(pushed: &Pushed) -> u16 {
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, api::ListParams};
    let client = pushed.up.platform().client().await;
    let pods = Api::<Pod>::namespaced(client, "fermata-system");
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let pod = pods.items.first().expect("it runs");
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let port = container.ports.as_ref().unwrap()[0].container_port;
    port.try_into().unwrap()
}
