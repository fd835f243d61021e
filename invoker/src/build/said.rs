//! What a tool has said, as far as it matters.

use super::{registry::Sign, room};

/// The most that is kept of a line.
const LONGEST_LINE: usize = 1000;

/// The most that is kept of the output of a tool that is asked.
const LARGEST_OUTPUT: usize = 256 * 1024;

/// What to do about a list that the build does not have.
const LISTS: &str = "; of the lists only requirements*.txt and constraints*.txt reach the build: give it such a name";

/// How a tool tells why it fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Words {
    /// The last line that begins with `ERROR:`, as pip has it.
    Pip,
    /// A code and the sentence after it, in lines that begin with `npm error`.
    Npm,
    /// The first line that is no comment or progress.
    Go,
    /// The first line that begins with `error`, and the place in the source after it.
    Cargo,
    /// The last line.
    Last,
}

/// What a tool has said.
#[derive(Debug)]
pub(super) struct Said {
    words: Words,
    /// The line that tells why the tool fails; empty if there is none.
    pub(super) telling: String,
    /// The last line.
    pub(super) last: String,
    /// What says that a registry cannot be reached.
    pub(super) sign: Option<Sign>,
    /// Whether something that it had started was killed.
    pub(super) killed: bool,
    /// What says that a disk is full.
    pub(super) full: Option<String>,
    /// What it wrote to standard output, when it was asked.
    pub(super) output: String,
    /// The line before was the telling one.
    follows: bool,
}

// === impl Said ===

impl Said {
    pub(super) fn new(words: Words) -> Self {
        Self {
            words,
            telling: String::new(),
            last: String::new(),
            sign: None,
            killed: false,
            full: None,
            output: String::new(),
            follows: false,
        }
    }

    /// Notes a line of the log.
    pub(super) fn note(&mut self, line: &str, is_error: bool) {
        let line = cut(line.trim_end());
        self.sign = Sign::of(line).or(self.sign);
        if !is_quoted(line) {
            self.killed |= is_killed(line);
            if room::is_missed_in(line) {
                self.full = Some(line.trim().to_owned());
            }
        }
        line.clone_into(&mut self.last);
        if !is_error {
            return;
        }
        if line.trim().is_empty() {
            return;
        }
        match self.words {
            Words::Pip => {
                // What comes of a fault of pip itself is a trace, and its last line tells.
                const TRACE: &str = "ERROR: Exception:";
                let tells = line.starts_with("ERROR:") && line != TRACE;
                let told = self.telling.starts_with("ERROR:") && self.telling != TRACE;
                if tells && line.contains("Could not open requirements file") {
                    self.telling = cut(line).to_owned() + LISTS;
                } else if tells || !told {
                    line.clone_into(&mut self.telling);
                }
            }
            Words::Npm => self.note_npm(line),
            Words::Go => {
                let is_progress = ["#", "go: downloading", "go: finding", "go: extracting"]
                    .iter()
                    .any(|begin| line.starts_with(begin));
                if self.telling.is_empty() && !is_progress {
                    self.telling = with_way_out(line);
                }
            }
            Words::Cargo => {
                let place = line.trim_start().strip_prefix("--> ");
                if let (true, Some(place)) = (self.follows, place) {
                    self.telling = format!("{} ({place})", self.telling);
                }
                self.follows = self.telling.is_empty() && line.starts_with("error");
                if self.follows {
                    line.clone_into(&mut self.telling);
                }
            }
            Words::Last => line.clone_into(&mut self.telling),
        }
    }

    fn note_npm(&mut self, line: &str) {
        let rest = line
            .strip_prefix("npm error ")
            .or_else(|| line.strip_prefix("npm ERR! "));
        let Some(rest) = rest.map(str::trim).filter(|rest| !rest.is_empty()) else {
            return;
        };
        if let Some(code) = rest.strip_prefix("code ") {
            self.telling = format!("npm error {code}");
            self.follows = true;
            return;
        }
        // What the system calls it; a sentence comes after that.
        let is_detail = ["errno ", "syscall ", "path ", "dest ", "type "]
            .iter()
            .any(|begin| rest.starts_with(begin));
        if self.telling.is_empty() {
            self.telling = format!("npm error {rest}");
        } else if self.follows && !is_detail {
            self.follows = false;
            self.telling = format!("{}: {rest}", self.telling);
        }
    }

    /// Takes a line of the output.
    pub(super) fn take(&mut self, line: &str) {
        if self.output.len() + line.len() < LARGEST_OUTPUT {
            self.output.push_str(line);
            self.output.push('\n');
        }
    }
}

/// Whether a line is one of the source, as compilers quote it: what it says is the function's.
fn is_quoted(line: &str) -> bool {
    let behind_number = line
        .trim_start()
        .trim_start_matches(|character: char| character.is_ascii_digit());
    behind_number.trim_start().starts_with('|')
}

/// Whether a line says that a process was killed: in the words of go, and of Python and cargo.
fn is_killed(line: &str) -> bool {
    [
        "signal: killed",
        "signal SIGKILL",
        "Signals.SIGKILL",
        "signal: 9, SIGKILL",
    ]
    .iter()
    .any(|words| line.contains(words))
}

/// What go says, as a sentence of its own: the command that it gives stands in the line after it, and does not
/// always help.
fn with_way_out(line: &str) -> String {
    let what = ["; to add", "; to update"]
        .iter()
        .find_map(|words| line.split_once(words));
    match what {
        Some((what, rest)) if rest.ends_with(':') => format!(
            "{what}; run `go mod tidy` in the function's folder, and put in go.mod and go.sum as it leaves them"
        ),
        _ => line.to_owned(),
    }
}

fn cut(line: &str) -> &str {
    let end = line.floor_char_boundary(LONGEST_LINE);
    line.get(..end).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(words: Words, lines: &str) -> String {
        let mut said = Said::new(words);
        for line in lines.lines() {
            said.note(line, true);
        }
        said.telling
    }

    #[test]
    fn pip_tells_in_its_last_error() {
        let lines = "ERROR: Could not find a version that satisfies foo==9 (from versions: 1)\n\
                     ERROR: No matching distribution found for foo==9\n\n\
                     [notice] a new release of pip\n";
        assert_eq!(
            telling(Words::Pip, lines),
            "ERROR: No matching distribution found for foo==9"
        );
        assert_eq!(telling(Words::Pip, "a\nerror: x\n"), "error: x");
        let trace = "ERROR: Exception:\nTraceback (most recent call last):\n  File \"x\"\nOSError: no space\n";
        assert_eq!(telling(Words::Pip, trace), "OSError: no space");
        let list = "ERROR: Could not open requirements file: [Errno 2] No such file or directory: 'dev.txt'\n";
        let told = telling(Words::Pip, list);
        assert!(
            told.contains("'dev.txt'; of the lists only requirements*.txt"),
            "{told}"
        );
    }

    #[test]
    fn npm_tells_by_a_code_and_a_sentence() {
        let lines = "npm error code ECONNREFUSED\nnpm error errno ECONNREFUSED\nnpm error syscall connect\n\
                     npm error FetchError: request to http://r/foo failed\nnpm error     at x\n";
        assert_eq!(
            telling(Words::Npm, lines),
            "npm error ECONNREFUSED: FetchError: request to http://r/foo failed"
        );
        let lines = "npm ERR! code EUSAGE\nnpm ERR! \nnpm ERR! `npm ci` can only install\n";
        assert_eq!(
            telling(Words::Npm, lines),
            "npm error EUSAGE: `npm ci` can only install"
        );
    }

    #[test]
    fn compilers_tell_in_their_first_error_with_its_place() {
        let lines =
            "go: downloading x v1\n# hello\n./main.go:4:2: undefined: y\n./main.go:5:2: z\n";
        assert_eq!(telling(Words::Go, lines), "./main.go:4:2: undefined: y");
        for (line, what) in [
            (
                "main.go:2:8: missing go.sum entry for module providing package x/y (imported by m); to add:\n\tgo get m\n",
                "main.go:2:8: missing go.sum entry for module providing package x/y (imported by m)",
            ),
            (
                "go: x@v1.0.0: missing go.sum entry for go.mod file; to add it:\n\tgo mod download x\n",
                "go: x@v1.0.0: missing go.sum entry for go.mod file",
            ),
            (
                "go: updates to go.mod needed; to update it:\n\tgo mod tidy\n",
                "go: updates to go.mod needed",
            ),
        ] {
            let way_out = "; run `go mod tidy` in the function's folder, and put in go.mod and go.sum as it leaves them";
            assert_eq!(telling(Words::Go, line), format!("{what}{way_out}"));
        }
        let lines = "   Compiling hello\nerror[E0425]: cannot find value `y`\n --> src/main.rs:2:5\n  |\n\
                     error: could not compile\n";
        assert_eq!(
            telling(Words::Cargo, lines),
            "error[E0425]: cannot find value `y` (src/main.rs:2:5)"
        );
    }

    #[test]
    fn a_process_that_was_killed_is_known_by_what_its_parent_says() {
        for (line, killed) in [
            ("x/y: /go/tool/compile: signal: killed", true),
            (
                "subprocess.CalledProcessError: died with <Signals.SIGKILL: 9>.",
                true,
            ),
            (
                "  process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)",
                true,
            ),
            ("npm error signal SIGKILL", true),
            ("killed", false),
        ] {
            let mut said = Said::new(Words::Last);
            said.note(line, true);
            assert_eq!(said.killed, killed, "{line}");
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let line = "ä".repeat(2000);
        assert_eq!(telling(Words::Last, &line).len(), LONGEST_LINE);
    }
}
