//! What a cluster says of an installation that did not become ready.

use std::process::{Command, Stdio};

use super::{NAMESPACE, Platform};

/// As many lines of one command are shown, the last ones.
const LINES: usize = 40;

/// Questions to kubectl, from the whole to the single container.
const QUESTIONS: [&[&str]; 6] = [
    &["get", "nodes,pods", "--all-namespaces", "--output=wide"],
    &["describe", "nodes"],
    &["--namespace", NAMESPACE, "get", "deployments,jobs"],
    &["--namespace", NAMESPACE, "describe", "pods"],
    &[
        "--namespace",
        NAMESPACE,
        "get",
        "events",
        "--sort-by=.lastTimestamp",
    ],
    &["get", "leases", "--all-namespaces"],
];

/// Prints it: the cluster of a CI run is gone before anybody can ask it.
#[allow(clippy::print_stderr, reason = "it is for people")]
pub(super) fn print(platform: &Platform) {
    for question in QUESTIONS {
        show(platform.command("kubectl").args(question));
    }
    for previous in ["false", "true"] {
        let mut logs = platform.command("kubectl");
        logs.args(["--namespace", NAMESPACE, "logs", "--prefix", "--tail=15"])
            .args([
                "--all-containers",
                "--ignore-errors",
                "--max-log-requests=20",
            ])
            .arg(format!("--previous={previous}"))
            .arg("--selector=app.kubernetes.io/part-of=fermata");
        show(&mut logs);
    }
    show(Command::new("df").arg("--human-readable"));
    show(Command::new("uptime").stdin(Stdio::null()));
}

#[allow(clippy::print_stderr, reason = "it is for people")]
fn show(command: &mut Command) {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    eprintln!("\n-- {}", words.join(" "));
    match command.output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(LINES)..].join("\n"));
        }
        Err(error) => eprintln!("cannot run it: {error}"),
    }
}
