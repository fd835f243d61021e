//! How far a build is, by what the tools print when nobody looks on. Pure.

use std::time::Duration;

/// How wide a bar is.
const BAR: usize = 20;

/// How long nothing is printed before it is said that it goes on.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest name that is shown.
const LONGEST_NAME: usize = 60;

/// What the lines of a build have told so far. Times are since its first line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Progress {
    downloaded: usize,
    /// Of what was downloaded, as far as the tool tells it.
    bytes: u64,
    compiled: usize,
    /// How many packages there are, if the tool tells it.
    total: Option<usize>,
    /// What it is at.
    doing: String,
    /// When the last line came, or it was said that it goes on.
    heard: Duration,
}

// === impl Progress ===

impl Progress {
    /// Takes a line that has been shown at this time, if it was.
    pub(super) fn take(&mut self, line: &str, shown: Option<Duration>) {
        if let Some(at) = shown {
            self.heard = at;
        }
        let line = line.trim();
        let mut words = line.split_whitespace();
        let (first, second) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        match first {
            // cargo
            "Compiling" => {
                self.compiled += 1;
                self.at("compiling", second);
            }
            "Downloaded" => {
                self.downloaded += 1;
                self.at("downloading", second);
            }
            "Locking" => self.total = second.parse().ok(),
            // pip
            "Collecting" => self.at("looking for", second),
            "Downloading" if second != "crates" => {
                self.downloaded += 1;
                self.bytes = self.bytes.saturating_add(size(line).unwrap_or(0));
                let file = second.rsplit('/').next().unwrap_or(second);
                self.at("downloading", file);
            }
            "Installing" if second == "collected" => {
                let packages = line.split_once(": ").map(|(_, packages)| packages);
                let count = packages.map_or(0, |packages| packages.split(", ").count());
                self.doing = format!("installing {count} packages");
            }
            // go
            "go:" if second == "downloading" => {
                self.downloaded += 1;
                self.at("downloading", words.next().unwrap_or_default());
            }
            // The build itself
            "fermata:" => self.doing = shortened(line.trim_start_matches("fermata: ")),
            _ => {}
        }
    }

    /// How far it is at this time, in a line, with a bar where the tool has told how much there is.
    pub(super) fn line(&self, at: Duration) -> String {
        let mut parts = vec![format!("{} s", at.as_secs())];
        if self.downloaded > 0 {
            let size = match self.bytes {
                0 => String::new(),
                bytes => format!(" ({:.1} MB)", bytes as f64 / 1e6),
            };
            parts.push(format!("{} downloaded{size}", self.downloaded));
        }
        match self.total.filter(|total| self.compiled <= *total) {
            Some(total) if self.compiled > 0 => {
                let full = BAR * self.compiled / total.max(1);
                let bar = "=".repeat(full) + &" ".repeat(BAR - full);
                parts.push(format!("[{bar}] {}/{total} compiled", self.compiled));
            }
            _ if self.compiled > 0 => parts.push(format!("{} compiled", self.compiled)),
            _ => {}
        }
        if !self.doing.is_empty() {
            parts.push(self.doing.clone());
        }
        parts.join(", ")
    }

    /// The same, where nothing was printed for a while and nobody is told otherwise that it goes on.
    pub(super) fn heartbeat(&mut self, at: Duration) -> Option<String> {
        if at.saturating_sub(self.heard) < SILENCE {
            return None;
        }
        self.heard = at;
        Some(self.line(at))
    }

    fn at(&mut self, doing: &str, name: &str) {
        self.doing = format!("{doing} {}", shortened(name));
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// The size at the end of a line of pip, such as `(12.3 MB)`, in bytes.
fn size(line: &str) -> Option<u64> {
    let told = line.strip_suffix(')')?.rsplit_once('(')?.1;
    let (number, unit) = told.split_once(' ')?;
    let unit = match unit {
        "bytes" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit;
    // Whatever a tool prints: a number of bytes is not negative, and is cut at the largest.
    Some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &str) -> String {
        let mut progress = Progress::default();
        for line in lines.lines() {
            progress.take(line, Some(Duration::ZERO));
        }
        progress.line(Duration::from_secs(12))
    }

    #[test]
    fn what_tools_tell_is_counted() {
        for (lines, told) in [
            (
                "fermata: installing requirements.txt with pip 25.0\nCollecting requests==2.32.3\n  \
                 Downloading requests-2.32.3-py3-none-any.whl (64 kB)\nCollecting numpy\n  \
                 Downloading https://index/x/numpy-2.0-cp311.whl (19.5 MB)\n",
                "12 s, 2 downloaded (19.6 MB), downloading numpy-2.0-cp311.whl",
            ),
            (
                "Collecting a\nInstalling collected packages: a, b, c\n",
                "12 s, installing 3 packages",
            ),
            (
                "     Locking 4 packages to latest compatible versions\n Downloading crates ...\n  Downloaded serde v1.0.0\n   \
                 Compiling serde v1.0.0\n",
                "12 s, 1 downloaded, [=====               ] 1/4 compiled, compiling serde",
            ),
            (
                "   Compiling a v1\n   Compiling b v1 (/source)\n",
                "12 s, 2 compiled, compiling b",
            ),
            (
                "go: downloading golang.org/x/text v0.14.0\n",
                "12 s, 1 downloaded, downloading golang.org/x/text",
            ),
            ("whatever\n", "12 s"),
            (
                "Locking 0 packages\nCompiling x\n",
                "12 s, 1 compiled, compiling x",
            ),
        ] {
            let line = after(lines);
            assert_eq!(line, told);
        }
        // Whatever a package says of its size.
        let line = after("Downloading y (1e400 MB)\nDownloading x (-1 kB)\nDownloading z (1 kB)\n");
        assert!(line.starts_with("12 s, 3 downloaded"), "{line}");
    }

    #[test]
    fn silence_is_broken_now_and_then() {
        let at = Duration::from_secs;
        let mut progress = Progress::default();
        progress.take("Compiling x", Some(at(3)));
        assert_eq!(progress.heartbeat(at(12)), None);
        let told = progress.heartbeat(at(13));
        assert_eq!(told.as_deref(), Some("13 s, 1 compiled, compiling x"));
        assert_eq!(progress.heartbeat(at(14)), None);
    }
}
