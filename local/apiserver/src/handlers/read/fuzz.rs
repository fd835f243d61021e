use super::*;
use crate::sample::{self, chosen_by, integer, pick, words};

#[test]
fn fuzz_a_token_leads_to_where_the_list_was_left() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let key = Key::new(words(&mut choose), words(&mut choose));
        let revision = integer(&mut choose).cast_unsigned();
        assert_eq!(parse_token(&token(revision, &key)), Some((revision, key)));
        let text = String::from_utf8_lossy(bytes);
        let _ = parse_token(&text);
        let _ = parse_token(&URL_SAFE_NO_PAD.encode(bytes));
    });
}

#[test]
fn fuzz_any_options_of_a_list_are_understood_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let pods = Target::parse("/api/v1/pods", &sample::REGISTRY).expect("a path");
        let mut choose = chosen_by(bytes);
        let names = [
            "limit",
            "continue",
            "resourceVersion",
            "resourceVersionMatch",
            "labelSelector",
            "fieldSelector",
        ];
        let token = token(3, &Key::new("a", "b"));
        let values = [
            "",
            "0",
            "1",
            "-1",
            "18446744073709551616",
            "Exact",
            "NotOlderThan",
            "a=b",
            "metadata.name=a",
            &token,
        ];
        let pairs: Vec<String> = (0..choose(6))
            .map(|_| {
                format!(
                    "{}={}",
                    pick(&names, &mut choose),
                    pick(&values, &mut choose)
                )
            })
            .collect();
        for text in [pairs.join("&"), String::from_utf8_lossy(bytes).into_owned()] {
            let query = Query::parse(Some(&text));
            if let Err(failure) = Page::new(&query, 5) {
                assert!((400..=504).contains(&failure.code), "{text}: {failure:?}");
            }
            if let Err(failure) = Filter::new(&pods, &query) {
                assert_eq!(failure.code, 400, "{text}");
            }
        }
    });
}
