//! A command line, split into words.
//!
//! As a POSIX shell splits one (Shell Command Language, section 2.2): at blanks, but not within
//! quotes; nothing is expanded and there are no operators. For these the handler is a shell itself:
//! `sh -c 'tr a-z A-Z | rev'`.

/// What is wrong with a command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum LineError {
    /// A quote has no end.
    #[error("a {0} has no closing {0}")]
    Unclosed(char),
    /// A backslash has nothing to stand before.
    #[error("it ends with a backslash")]
    Backslash,
    /// A NUL cannot be handed to a program.
    #[error("it has a NUL character")]
    Nul,
}

/// The words of a command line.
pub(crate) fn split(line: &str) -> Result<Vec<String>, LineError> {
    if line.contains('\0') {
        return Err(LineError::Nul);
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        None => return Err(LineError::Unclosed('\'')),
                        Some('\'') => break,
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '"' => quoted(&mut characters, word.get_or_insert_default())?,
            '\\' => match characters.next() {
                None => return Err(LineError::Backslash),
                // A line goes on behind it.
                Some('\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Within double quotes a backslash is one only before what would mean something there.
fn quoted(characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), LineError> {
    loop {
        match characters.next() {
            None => return Err(LineError::Unclosed('"')),
            Some('"') => return Ok(()),
            Some('\\') => match characters.next() {
                None => return Err(LineError::Unclosed('"')),
                Some('\n') => {}
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                Some(other) => {
                    word.push('\\');
                    word.push(other);
                }
            },
            Some(plain) => word.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (line, words) in [
            ("tr a-z A-Z", &["tr", "a-z", "A-Z"][..]),
            ("  a\t b\n", &["a", "b"]),
            (
                "sh -c 'echo \"$X\" | rev'",
                &["sh", "-c", "echo \"$X\" | rev"],
            ),
            (r#"a "b c" d\ e"#, &["a", "b c", "d e"]),
            (r#""a\"b" "\n" '\n'"#, &["a\"b", "\\n", "\\n"]),
            ("'' \"\"", &["", ""]),
            ("a'b'\"c\"", &["abc"]),
            ("a\\\nb", &["ab"]),
            ("", &[]),
        ] {
            assert_eq!(split(line).expect(line), words, "{line}");
        }
    }

    #[test]
    fn what_is_no_command_line_is_refused() {
        for (line, error) in [
            ("a 'b", LineError::Unclosed('\'')),
            ("a \"b", LineError::Unclosed('"')),
            ("a \"b\\", LineError::Unclosed('"')),
            ("a\\", LineError::Backslash),
            ("a\0b", LineError::Nul),
        ] {
            assert_eq!(split(line), Err(error));
        }
    }

    #[test]
    fn fuzz_any_line_is_split_or_refused() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let line = String::from_utf8_lossy(bytes);
            let Ok(words) = split(&line) else {
                return;
            };
            // Splitting takes characters away and adds none, and a word is made by at least one.
            let taken: usize = words.iter().map(String::len).sum();
            assert!(taken <= line.len() && words.len() <= line.len());
            assert!(!words.iter().any(|word| word.contains('\0')));
        });
    }

    #[test]
    fn fuzz_words_that_were_quoted_are_had_back() {
        let words = bolero::generator::produce::<Vec<(u8, String)>>();
        bolero::check!()
            .with_generator(words)
            .for_each(|words: &Vec<(u8, String)>| {
                let words: Vec<(u8, String)> = words
                    .iter()
                    .map(|(how, word)| (*how, word.replace('\0', "")))
                    .collect();
                let quoted: Vec<String> =
                    words.iter().map(|(how, word)| quote(*how, word)).collect();
                for between in [" ", "\t", " \\\n \r\n"] {
                    let line = quoted.join(between);
                    let split = split(&line).expect(&line);
                    assert!(
                        split.iter().eq(words.iter().map(|(_, word)| word)),
                        "{line:?}"
                    );
                }
            });
    }

    /// A word as somebody might write it for a shell, in one of three ways.
    fn quote(how: u8, word: &str) -> String {
        match how % 3 {
            0 => format!("'{}'", word.replace('\'', "'\\''")),
            1 => {
                let special = ['\\', '"', '$', '`'];
                let escaped = word.chars().flat_map(|character| {
                    let escape = special.contains(&character).then_some('\\');
                    escape.into_iter().chain([character])
                });
                format!("\"{}\"", escaped.collect::<String>())
            }
            // A line feed that is escaped is none; it has to be quoted.
            _ if word.is_empty() || word.contains('\n') => quote(0, word),
            _ => word
                .chars()
                .flat_map(|character| ['\\', character])
                .collect(),
        }
    }
}
