use super::*;
use crate::sample::{self, Choices};

/// What looks like a duration, or nearly so.
fn nearly(choose: Choices<'_>) -> String {
    let mut text = String::new();
    for _ in 0..=choose(4) {
        for _ in 0..choose(22) {
            text.push(sample::pick(&['0', '1', '5', '9', '.'], choose));
        }
        text += sample::pick(
            &[
                "s", "ms", "h", "m", "ns", "us", "\u{b5}s", "\u{3bc}s", "", "d", "-", " ",
            ],
            choose,
        );
    }
    text
}

#[test]
fn fuzz_any_text_is_a_duration_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(duration) = text.parse::<GoDuration>() {
            assert!(duration.0.as_nanos() <= LONGEST_NANOS);
        }
    });
}

#[test]
fn fuzz_a_duration_is_the_sum_of_its_parts() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = sample::chosen_by(bytes);
        let [one, other] = [nearly(&mut choose), nearly(&mut choose)];
        let parse = |text: &str| text.parse::<GoDuration>().map(|it| it.0);
        let whole = parse(&format!("{one}{other}"));
        // 0 alone needs no unit.
        let (Ok(first), Ok(second), false) =
            (parse(&one), parse(&other), one == "0" || other == "0")
        else {
            return;
        };
        let sum = first + second;
        if sum.as_nanos() > LONGEST_NANOS {
            assert_eq!(whole, Err(DurationError::TooLong), "{one}{other}");
        } else {
            assert_eq!(whole, Ok(sum), "{one}{other}");
        }
    });
}

#[test]
fn fuzz_what_is_written_is_read_again() {
    bolero::check!().with_type().for_each(|nanos: &u64| {
        let nanos = nanos >> 1;
        // With all sizes as likely as the large ones.
        for shift in [0, 7, 17, 31, 47, 60] {
            let duration = GoDuration(Duration::from_nanos(nanos >> shift));
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    });
}
