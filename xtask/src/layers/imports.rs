//! The paths of a source text that begin with `crate` or `super`.

use super::source::Name;

/// The paths from the root of the crate that a module names, each with its line. The text has neither
/// comments nor strings; `module` is the name of the module it is.
pub(super) fn of(text: &str, module: &Name) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = next(text, at) {
        let base = match word(text, begin) {
            "super" => module.get(..module.len().saturating_sub(1)),
            _ => Some(&[][..]),
        };
        let mut reader = Reader { text, at: begin };
        let paths = reader.tree();
        at = reader.at.max(begin + 1);
        for (place, path) in paths {
            // The first part is the word itself; each further `super` goes up once more.
            let mut base = base.unwrap_or_default();
            let mut rest = path.get(1..).unwrap_or_default();
            while let [first, others @ ..] = rest
                && first == "super"
            {
                base = base.get(..base.len().saturating_sub(1)).unwrap_or_default();
                rest = others;
            }
            let line = text[..place].matches('\n').count() + 1;
            found.push((line, [base, rest].concat()));
        }
    }
    found
}

/// Where the next such path begins.
fn next(text: &str, from: usize) -> Option<usize> {
    let begins = |root: &str| {
        text[from..]
            .match_indices(root)
            .map(|(index, _)| from + index)
            .find(|index| {
                let before = text[..*index].chars().next_back();
                !before.is_some_and(|it| is_word(it) || matches!(it, '$' | ':'))
            })
    };
    begins("crate::").into_iter().chain(begins("super::")).min()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn word(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
    &rest[..end]
}

/// Reads a path, or a tree of paths.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    /// All paths of the tree that begins here, and where each ends.
    fn tree(&mut self) -> Vec<(usize, Vec<String>)> {
        let mut path = Vec::new();
        let mut place = self.at;
        loop {
            self.skip_space();
            if self.takes("{") {
                return self.group(&path);
            }
            let part = word(self.text, self.at);
            if part.is_empty() {
                return vec![(place, path)];
            }
            place = self.at;
            self.at += part.len();
            if part != "self" {
                path.push(part.to_owned());
            }
            if !self.takes("::") {
                return vec![(place, path)];
            }
        }
    }

    fn group(&mut self, path: &[String]) -> Vec<(usize, Vec<String>)> {
        let mut all = Vec::new();
        while self.at < self.text.len() && !self.takes("}") {
            let begin = self.at;
            let below = self.tree();
            all.extend(
                below
                    .into_iter()
                    .map(|(place, rest)| (place, [path, &rest].concat())),
            );
            // Past `as NAME`, a star and the comma.
            let rest = &self.text[self.at..];
            self.at += rest.find([',', '}']).unwrap_or(rest.len());
            self.takes(",");
            self.skip_space();
            if self.at == begin {
                break;
            }
        }
        all
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = self.text[self.at..].starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        let module = ["a", "b"].map(ToOwned::to_owned);
        let paths = of(text, &module).into_iter();
        paths.map(|(line, path)| (line, path.join("::"))).collect()
    }

    #[test]
    fn paths_are_read_wherever_they_stand() {
        let text = "use crate::{\n    c::{self, D as E, f::*},\n    g,\n};\n\
                    fn h(i: crate::j::K) -> super::L { super::super::m::n() }\n\
                    macro $crate::o and mycrate::p";
        let expected = [
            (2, "c"),
            (2, "c::D"),
            (2, "c::f"),
            (3, "g"),
            (5, "j::K"),
            (5, "a::L"),
            (5, "m::n"),
        ];
        let expected = expected.map(|(line, path)| (line, path.to_owned()));
        assert_eq!(found(text), expected);
    }

    #[test]
    fn a_tree_may_begin_with_super() {
        let expected = [(1, "a::c".to_owned()), (1, "a::d::e".to_owned())];
        assert_eq!(found("use super::{c, d::e};"), expected);
    }
}
