//! The source files of a crate, as far as their imports matter.

use std::{fs, path::Path};

use anyhow::Context as _;

/// The parts of a module's name, from the root of its crate.
pub(super) type Name = [String];

/// One module that has a file of its own.
#[derive(Debug)]
pub(super) struct Module {
    /// Its file, from the root of the repository.
    pub(super) file: String,
    pub(super) name: Vec<String>,
    /// What is written there, without comments, strings and tests.
    pub(super) text: String,
}

/// The modules of a crate, but for its root and its program, which put the others together.
pub(super) fn read(root: &Path, dir: &str) -> anyhow::Result<Vec<Module>> {
    let mut modules = Vec::new();
    read_below(root, &format!("{dir}/src"), &[], &mut modules)?;
    Ok(modules)
}

fn read_below(
    root: &Path,
    dir: &str,
    parent: &Name,
    modules: &mut Vec<Module>,
) -> anyhow::Result<()> {
    let folder = root.join(dir);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {dir}"))?;
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(ToOwned::to_owned));
    }
    names.sort();
    for name in names {
        if parent.is_empty() && matches!(&*name, "lib" | "main") {
            continue;
        }
        let file = format!("{dir}/{name}.rs");
        let text = fs::read_to_string(root.join(&file));
        let text = text.with_context(|| format!("cannot read {file}"))?;
        let path = [parent, std::slice::from_ref(&name)].concat();
        // A file that is a test as a whole says so where it is declared; these names are all there are.
        if matches!(&*name, "tests" | "fuzz" | "sample") {
            continue;
        }
        modules.push(Module {
            file,
            name: path.clone(),
            text: blank(&text),
        });
        let below = format!("{dir}/{name}");
        if root.join(&below).is_dir() {
            read_below(root, &below, &path, modules)?;
        }
    }
    Ok(())
}

/// The text with spaces in place of comments, strings and what is for tests alone; lines stay where they are.
pub(super) fn blank(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            '"' => string(rest),
            // A lifetime is no character.
            '\'' if let Some(length) = character(rest) => length,
            _ => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        let (gone, left) = rest.split_at(length);
        plain.extend(gone.chars().map(|it| if it == '\n' { it } else { ' ' }));
        rest = left;
    }
    without_tests(plain)
}

/// The length of the character that begins here, if it is one.
fn character(text: &str) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    if letters.next()?.1 == '\\' {
        letters.next()?;
    }
    let (end, last) = letters.next()?;
    (last == '\'').then_some(end + 1)
}

/// The length of the string that begins here.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(end, _)| end + 1)
}

fn without_tests(mut text: String) -> String {
    const TEST: &str = "#[cfg(test)]";
    while let Some(begin) = text.find(TEST) {
        let item = &text[begin..];
        let stop = item.find([';', '{']).unwrap_or(item.len());
        let end = if item[stop..].starts_with('{') {
            closing(&item[stop..]).map_or(item.len(), |length| stop + length)
        } else {
            (stop + 1).min(item.len())
        };
        let lines: String = item[..end].chars().filter(|it| *it == '\n').collect();
        text.replace_range(begin..begin + end, &lines);
    }
    text
}

/// The length up to the brace that closes the first one.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_tests_are_blank() {
        let text = "a(\"b \\\" c\"); // d\n#[cfg(test)]\nmod e {\n f { '{' }\n}\n\
                    g('\"', /* h */ i<'j>, r#\"k \"l m\"#)";
        let plain = blank(text);
        let words: Vec<&str> = plain.split_whitespace().collect();
        assert_eq!(words, ["a(", ");", "g(", ",", "i<'j>,", ")"]);
        assert_eq!(plain.lines().count(), text.lines().count());
    }
}
