//! docs/cli.md knows every command and every flag of the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

/// What `--help` prints for these arguments.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fermata"))
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words that begin the lines of a section of a help text.
fn commands(help: &str) -> Vec<String> {
    let section = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    section
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn flags(help: &str) -> Vec<String> {
    let lines = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'));
    lines
        .flat_map(|line| {
            line.split([' ', ',', '.'])
                .filter(|word| word.starts_with("--"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|flag| flag != "--help" && flag != "--version")
        .collect()
}

#[test]
fn every_command_and_flag_is_in_the_document() {
    let document = include_str!("../../docs/cli.md");
    let commands = commands(&help(&[]));
    assert!(commands.len() >= 9, "{commands:?}");
    for command in commands {
        assert!(
            document.contains(&format!("## fermata {command}")),
            "{command} has no section"
        );
        for flag in flags(&help(&[&command])) {
            assert!(
                document.contains(&flag),
                "{flag} of {command} is not in docs/cli.md"
            );
        }
    }
}
