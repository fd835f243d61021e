use std::time::Duration;

use super::*;
use crate::sample::{self, Choices};

/// Cron fields that mean something, or nearly so.
fn cron(choose: Choices<'_>) -> String {
    const FIELDS: [&[&str]; 5] = [
        &["*", "0", "30", "*/7", "5/15", "0-10", "1,59", "60"],
        &["*", "0", "2", "23", "*/5", "9-17", "1,2,3"],
        &["*", "1", "31", "L", "15W", "LW", "28-31", "*/10", "?"],
        &["*", "2", "FEB", "JAN-MAR", "12", "*/2", "4,6,9,11"],
        &[
            "*", "MON-FRI", "0", "7", "SUN#1", "5L", "FRI#5", "SAT,SUN", "?",
        ],
    ];
    FIELDS.map(|field| sample::pick(field, choose)).join(" ")
}

fn schedule(choose: Choices<'_>) -> Schedule {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Australia/Lord_Howe",
        "Etc/GMT+12",
    ];
    let minutes = [1, 7, 60, 600, 3000, 10_080];
    Schedule {
        cron: cron(choose),
        timezone: Some(sample::pick(&zones, choose).to_owned()),
        duration: Duration::from_secs(60 * sample::pick(&minutes, choose)).into(),
        min: Some(1),
        max: None,
    }
}

/// Times at which something is special, and others.
fn time(choose: Choices<'_>) -> Timestamp {
    let around = sample::pick(
        &[
            "2026-11-26T12:00:00Z",
            // A clock that goes forward, back, and one that leaves a day out.
            "2026-03-08T06:00:00Z",
            "2026-11-01T04:00:00Z",
            "2011-12-29T20:00:00Z",
            "2028-02-28T12:00:00Z",
            "1999-12-31T12:00:00Z",
            "0000-12-31T12:00:00Z",
            "-000399-01-01T12:00:00Z",
            "4999-12-31T12:00:00Z",
            "-009999-01-10T00:00:00Z",
            "9999-12-20T00:00:00Z",
        ],
        choose,
    );
    let around: Timestamp = around.parse().expect("a time");
    let minutes = i64::try_from(choose(4000)).unwrap_or(0);
    around + SignedDuration::from_secs(60 * minutes + 13)
}

#[test]
fn fuzz_an_answer_holds_for_as_long_as_it_says() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = sample::chosen_by(bytes);
        let schedule = schedule(&mut choose);
        let Ok(recurrence) = Recurrence::of(&schedule) else {
            return;
        };
        let now = time(&mut choose);
        let phase = recurrence.phase(now);
        assert!(phase.until > now, "{schedule:?} {now}");
        assert!(phase.until <= now + LONGEST_HOLD, "{schedule:?} {now}");
        let lasts = phase.until.duration_since(now);
        for share in [1, 2, 3, 5, 9] {
            let then = now + lasts * share / 10;
            let on = recurrence.phase(then).on;
            assert_eq!(on, phase.on, "{schedule:?} at {then} after {now}");
        }
        let _ = recurrence.check_occurs(now);
    });
}

#[test]
fn fuzz_any_text_is_a_recurrence_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (cron, timezone) = text.split_once('\n').unwrap_or((&text, "UTC"));
        let schedule = Schedule {
            cron: cron.chars().take(100).collect(),
            timezone: Some(timezone.to_owned()),
            duration: Duration::from_secs(60).into(),
            min: None,
            max: None,
        };
        if let Ok(recurrence) = Recurrence::of(&schedule) {
            let _ = recurrence.phase(Timestamp::UNIX_EPOCH);
            let _ = recurrence.check_occurs(Timestamp::UNIX_EPOCH);
        }
    });
}
