use super::*;
use crate::sample::{self, Choices, chosen_by};

/// What looks like a quantity, or nearly so.
fn nearly(choose: Choices<'_>) -> String {
    let mut text = sample::pick(&["", "", "-", "+"], choose).to_owned();
    for _ in 0..choose(40) {
        text.push(sample::pick(&['0', '0', '1', '5', '9', '.'], choose));
    }
    let suffixes = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3",
        "E-2", "e+18", "x",
    ];
    text + sample::pick(&suffixes, choose)
}

#[test]
fn fuzz_what_is_written_is_read_again() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let [one, other] = [nearly(&mut choose), nearly(&mut choose)];
        let (Some(first), Some(second)) = (Quantity::parse(&one), Quantity::parse(&other)) else {
            return;
        };
        for quantity in [first, second, first.plus(second)] {
            let written = quantity.to_string();
            let again = Quantity::parse(&written).unwrap_or_else(|| panic!("{one}: {written}"));
            assert_eq!(again.nanos, quantity.nanos, "{one}: {written}");
        }
        assert!(!(first.exceeds(second) && second.exceeds(first)));
    });
}

#[test]
fn fuzz_any_text_is_a_quantity_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Some(quantity) = Quantity::parse(&String::from_utf8_lossy(bytes)) {
            assert!(Quantity::parse(&quantity.to_string()).is_some());
        }
    });
}
