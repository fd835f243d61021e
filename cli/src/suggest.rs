//! "Did you mean": the name that somebody most likely meant.

/// The candidate that is nearest to a name which is not there, if any is near.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = |candidate: &str| {
        if candidate.len() > name.len() && candidate.starts_with(name) && !name.is_empty() {
            return Some(1);
        }
        let steps = strsim::damerau_levenshtein(name, candidate);
        (steps <= 1.max(name.chars().count() / 3)).then_some(steps)
    };
    candidates
        .into_iter()
        .filter_map(|candidate| Some((near(candidate)?, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The same as a part of a sentence, or nothing.
pub(crate) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates)
        .map(|nearest| format!("; did you mean {nearest}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["hello", "orders", "orders-eu"];
        assert_eq!(nearest("helo", names), Some("hello"));
        assert_eq!(nearest("ordesr", names), Some("orders"));
        assert_eq!(nearest("hell", names), Some("hello"));
        assert_eq!(nearest("payments", names), None);
        assert_eq!(nearest("x", names), None);
    }
}
