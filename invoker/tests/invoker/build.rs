//! Builds: what every language has in common.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A build to be run.
pub(crate) struct Job {
    home: TempDir,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

/// How a build ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Job ===

impl Job {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        for name in ["source", "tmp"] {
            fs::create_dir(home.path().join(name)).expect("a directory");
        }
        Self {
            home,
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            variables: Vec::new(),
        }
    }

    /// A shell as the program of the build.
    pub(crate) fn shell(script: &str) -> Self {
        Self::new(&["--", "sh", "-c", script])
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).expect("a directory");
        fs::write(path, text).expect("a file");
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.home.path().join("source")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.home.path().join("target")
    }

    /// What of temporary files is left.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.home.path().join("tmp")).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    /// Names in a folder of the target, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        names(&self.target().join(folder))
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermata-invoker"));
        command
            .arg("build")
            .args(&self.arguments)
            .current_dir(self.source())
            .env("FERMATA_TARGET", self.target())
            .env("TMPDIR", self.home.path().join("tmp"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self) -> Outcome {
        let output = self.command().output().expect("an output");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a build that succeeds.
    pub(crate) fn succeed(&self) -> Outcome {
        let outcome = self.run();
        assert_eq!(
            outcome.code,
            Some(0),
            "{}{}",
            outcome.stdout,
            outcome.stderr
        );
        outcome
    }

    /// Runs a build that fails; the exit code and the last line.
    pub(crate) fn fail(&self) -> (i32, String) {
        let outcome = self.run();
        let last = outcome.stderr.lines().last().unwrap_or_default().to_owned();
        (outcome.code.expect("an exit code"), last)
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A registry that answers everything in the same way; its address.
pub(crate) fn registry(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // Ends with the process of the tests.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 65536]);
            let _ = write!(
                stream,
                "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    format!("http://{address}/")
}

/// The address of a registry that is down.
pub(crate) fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/", listener.local_addr().expect("an address"))
}

/// Runs a tool that a test needs.
pub(crate) fn tool(program: &str, arguments: &[&str], dir: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .output();
    let output = output.unwrap_or_else(|error| panic!("the tests need {program}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
}

#[test]
fn a_program_works_in_a_copy_of_the_inputs_and_fills_the_target() {
    let script = "test $PWD != $SOURCE && cp lib/a $FERMATA_TARGET/ && echo told && echo more >&2";
    let job = Job::shell(script).file("lib/a", "text");
    let job = job.variable("SOURCE", "elsewhere");
    // Mounted folders are read only.
    fs::set_permissions(
        job.source().join("lib/a"),
        fs::Permissions::from_mode(0o400),
    )
    .unwrap();
    let outcome = job.succeed();
    assert_eq!(fs::read_to_string(job.target().join("a")).unwrap(), "text");
    // On one stream, so that its order is that of the log.
    assert_eq!(outcome.stdout, "");
    for line in ["\ntold\n", "\nmore\n"] {
        assert!(outcome.stderr.contains(line), "{}", outcome.stderr);
    }
    assert!(
        outcome.stderr.contains("fermata: built in "),
        "{}",
        outcome.stderr
    );
    assert_eq!(job.left(), Vec::<PathBuf>::new());
}

#[test]
fn the_target_stands_below_the_root() {
    let job = Job::shell("touch $FERMATA_TARGET/here");
    let root = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    symlink(kept.path(), root.path().join("built")).unwrap();
    let job = job
        .variable("FERMATA_ROOT", root.path().to_str().unwrap())
        .variable("FERMATA_TARGET", "/built");
    job.succeed();
    assert_eq!(names(kept.path()), ["here"]);
}

#[test]
fn a_program_has_the_variables_of_the_build_but_none_of_fermata() {
    let job =
        Job::shell("env > $FERMATA_TARGET/env; ls /proc/self/fd | wc -l > $FERMATA_TARGET/files")
            .variable("PIP_INDEX_URL", "https://user:secret@index.example/simple")
            .variable("FERMATA_BUILD_TIMEOUT", "60");
    job.succeed();
    let env = fs::read_to_string(job.target().join("env")).unwrap();
    assert!(
        env.contains("PIP_INDEX_URL=https://user:secret@index.example/simple"),
        "{env}"
    );
    assert!(env.contains("PATH="), "{env}");
    let own: Vec<&str> = env
        .lines()
        .filter(|line| line.starts_with("FERMATA_"))
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
    // No more than what whoever starts the build hands on to everybody.
    let mut direct = Command::new("sh");
    direct
        .args(["-c", "ls /proc/self/fd | wc -l"])
        .stdin(Stdio::null());
    let direct = direct.output().unwrap();
    let files = fs::read(job.target().join("files")).unwrap();
    assert_eq!(files, direct.stdout);
}

#[test]
fn what_a_failed_try_left_is_removed_before_the_next() {
    let job = Job::shell(
        "test ! -e $FERMATA_TARGET/half && test ! -e $TMPDIR/half && touch $FERMATA_TARGET/whole",
    );
    fs::create_dir_all(job.target().join("half/deep")).unwrap();
    symlink("/nowhere", job.target().join("half/link")).unwrap();
    fs::write(job.target().join("file"), "").unwrap();
    job.succeed();
    assert_eq!(job.names(""), ["whole"]);
}

#[test]
fn output_comes_as_it_is_written() {
    let job = Job::shell("echo first; while [ ! -e $GO ]; do sleep 0.02; done");
    let go = job.source().join("go");
    let job = job.variable("GO", go.to_str().unwrap());
    let mut child = job
        .command()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "first"));
    let rest = std::thread::spawn(move || lines.count());
    fs::write(go, "").unwrap();
    assert!(child.wait().unwrap().success());
    rest.join().unwrap();
}

#[test]
fn the_exit_code_of_a_program_is_passed_on_with_its_last_line() {
    for code in [75, 3] {
        let job = Job::shell(&format!("echo one >&2; echo 'the reason' >&2; exit {code}"));
        assert_eq!(job.fail(), (code, "the reason".to_owned()));
    }
    let (code, last) = Job::shell("kill -9 $$").fail();
    assert_eq!(code, 1);
    for words in ["was killed", "memory", "source.build.resources"] {
        assert!(last.contains(words), "{last}");
    }
    let (code, last) = Job::shell("kill -6 $$").fail();
    assert_eq!(code, 1);
    assert_eq!(
        last,
        "fermata: the program of the build was ended by signal 6"
    );
    let (code, last) = Job::new(&["--", "fermata-no-such-program"]).fail();
    assert_eq!(code, 1);
    assert!(
        last.contains("cannot run \"fermata-no-such-program\""),
        "{last}"
    );
}

#[test]
fn a_full_disk_is_worth_another_try() {
    let (code, last) = Job::shell("cp /proc/version /dev/full").fail();
    assert_eq!(code, 74, "{last}");
    for words in [
        "the disk of the build is full",
        "another try succeeds",
        "No space left on device",
    ] {
        assert!(last.contains(words), "{last}");
    }
}

#[test]
fn a_build_that_takes_too_long_ends_with_all_it_has_started() {
    let script = "setsid sh -c 'echo $$ > $FERMATA_TARGET/away; sleep 300' & \
                  sleep 300 & echo $! > $FERMATA_TARGET/child; wait";
    let job = Job::shell(script).variable("FERMATA_BUILD_TIMEOUT", "1");
    let begin = Instant::now();
    let (code, last) = job.fail();
    assert_eq!(code, 1);
    assert!(last.contains("took longer than 1 s"), "{last}");
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    for name in ["away", "child"] {
        let pid = fs::read_to_string(job.target().join(name)).unwrap();
        let process = Path::new("/proc").join(pid.trim());
        assert!(!process.exists(), "{name} still runs");
    }
    assert_eq!(job.left(), Vec::<PathBuf>::new());
}

#[test]
fn what_runs_on_after_its_program_cannot_change_the_result() {
    let job = Job::shell(
        "setsid sh -c 'echo $$ > $FERMATA_TARGET/away; sleep 300' & \
                          while [ ! -s $FERMATA_TARGET/away ]; do sleep 0.02; done",
    );
    job.succeed();
    let pid = fs::read_to_string(job.target().join("away")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn a_result_has_bounds_while_it_grows_and_at_its_end() {
    let many = "for i in 1 2 3 4 5 6 7 8 9; do mkdir $FERMATA_TARGET/$i; done";
    let large = "head -c 2000000 /dev/zero > $FERMATA_TARGET/file";
    for (script, words) in [(many, "more than 8 files"), (large, "larger than 1.0 MiB")] {
        for end in ["", "; sleep 300"] {
            let job = Job::shell(&format!("{script}{end}"))
                .variable("FERMATA_BUILD_MAX_FILES", "8")
                .variable("FERMATA_BUILD_MAX_BYTES", "1048576");
            let (code, last) = job.fail();
            assert_eq!(code, 1);
            assert!(last.contains(words), "{last}");
        }
    }
}

#[test]
fn a_link_that_leads_out_of_the_result_is_refused() {
    for to in ["/etc/passwd", "../source", "sub/../.."] {
        let job = Job::shell(&format!(
            "mkdir $FERMATA_TARGET/sub; ln -s {to} $FERMATA_TARGET/link"
        ));
        let (code, last) = job.fail();
        assert_eq!(code, 1);
        assert!(
            last.contains(&format!("leads out of it, link to {to}")),
            "{last}"
        );
    }
    Job::shell("mkdir $FERMATA_TARGET/sub; ln -s ../sub $FERMATA_TARGET/sub/link").succeed();
}

#[test]
fn a_result_whose_folder_is_gone_or_replaced_is_refused() {
    let other = tempfile::tempdir().unwrap();
    let link = format!("ln -s {} $FERMATA_TARGET", other.path().display());
    for instead in ["true", "touch $FERMATA_TARGET", &link] {
        let job = Job::shell(&format!("rmdir $FERMATA_TARGET; {instead}"));
        let (code, last) = job.fail();
        assert_eq!(code, 1);
        let said = "has put something else in the place of";
        assert!(last.contains(said), "{instead}: {last}");
    }
}

#[test]
fn what_no_result_has_is_refused_by_name() {
    let of_owner = "touch a && chmod 4755 a";
    for (script, words) in [
        (of_owner, "sub/a, a file with a setuid or setgid bit"),
        ("mkfifo b", "sub/b, a socket, a pipe or a device"),
    ] {
        let job = Job::shell(&format!(
            "mkdir $FERMATA_TARGET/sub && cd $FERMATA_TARGET/sub && {script}"
        ));
        let (code, last) = job.fail();
        assert_eq!(code, 1);
        assert!(last.contains(words), "{last}");
    }
}

#[test]
fn a_link_to_nothing_among_the_inputs_is_told() {
    let job = Job::shell("true");
    symlink("gone.txt", job.source().join("link")).unwrap();
    let (code, last) = job.fail();
    assert_eq!(code, 1);
    assert!(
        last.contains("link is a link to gone.txt, which is not there"),
        "{last}"
    );
}

#[test]
fn settings_and_arguments_that_cannot_be_are_told() {
    let (code, last) = Job::shell("true").variable("FERMATA_TARGET", "").fail();
    assert_eq!(code, 1);
    assert!(last.contains("FERMATA_TARGET is not given"), "{last}");
    let outcome = Job::new(&["cobol"]).run();
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("python, node, go, rust"),
        "{}",
        outcome.stderr
    );
    assert_eq!(Job::new(&[]).run().code, Some(2));
    let job = Job::shell("true").file("kept", "");
    let source = job.source();
    let job = job.variable("FERMATA_TARGET", source.to_str().unwrap());
    let (_, last) = job.fail();
    assert!(last.contains("name another folder"), "{last}");
    assert!(source.join("kept").exists());
}
