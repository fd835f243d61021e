//! Where this machine gets Debian's packages from.

use std::fs;

/// Lines for apt about a release, at the mirrors of this machine. Without any that are Debian's,
/// none: mmdebstrap knows some itself.
pub(super) fn sources(suite: &str) -> Vec<String> {
    let mut files = vec!["/etc/apt/sources.list".into()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more.into_iter().filter(|file| {
            let extension = file.extension();
            extension.is_some_and(|extension| extension == "sources" || extension == "list")
        }));
    }
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    lines(&texts.collect::<Vec<_>>().join("\n"), suite)
}

fn lines(text: &str, suite: &str) -> Vec<String> {
    let Some(archive) = mirror(text, "/debian") else {
        return Vec::new();
    };
    let mut lines = vec![
        format!("deb {archive} {suite} main"),
        format!("deb {archive} {suite}-updates main"),
    ];
    if let Some(security) = mirror(text, "/debian-security") {
        lines.push(format!("deb {security} {suite}-security main"));
    }
    lines
}

/// The first address in files of either form that ends so.
fn mirror<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_the_machine_is_used_for_another_release() {
        let text = "Types: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian/\nSuites: bookworm\n\n\
                    Types: deb\nURIs: http://mirror.example/debian-security\n";
        assert_eq!(
            lines(text, "trixie"),
            [
                "deb http://mirror.example/debian/ trixie main",
                "deb http://mirror.example/debian/ trixie-updates main",
                "deb http://mirror.example/debian-security trixie-security main",
            ]
        );
    }

    #[test]
    fn lines_of_the_old_form_are_understood() {
        let text = "deb-src http://a.example/debian x main\ndeb [signed-by=/k] http://b.example/debian bookworm main\n";
        assert_eq!(mirror(text, "/debian"), Some("http://b.example/debian"));
    }

    #[test]
    fn without_a_mirror_of_debian_there_is_nothing_to_say() {
        assert!(lines("deb http://a.example/ubuntu noble main\n", "trixie").is_empty());
    }
}
