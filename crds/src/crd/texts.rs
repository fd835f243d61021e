//! Descriptions as `kubectl explain` wraps them itself: a line of theirs is a paragraph.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use super::parts::parts;

/// Joins the lines of each paragraph, of all descriptions of the schema. Paragraphs and items of lists stay apart.
pub(super) fn join_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description = joined(description);
    }
    for part in parts(schema) {
        join_lines(part);
    }
}

fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.trim();
        let begins = line.is_empty() || line.starts_with("- ");
        if !joined.is_empty() && !joined.ends_with('\n') {
            joined.push(if begins { '\n' } else { ' ' });
        }
        joined.push_str(line);
        if line.is_empty() {
            joined.push('\n');
        }
    }
    joined.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_paragraphs_and_items_are_not() {
        assert_eq!(joined("one\ntwo"), "one two");
        assert_eq!(joined("one\n\ntwo\nthree"), "one\n\ntwo three");
        assert_eq!(joined("one:\n- a\n  b\n- c"), "one:\n- a b\n- c");
    }
}
