//! Recurring times: cron fields in a time zone. Pure.
//!
//! The operator refuses what can never occur, and the gateway asks whether a time is on; both read the
//! fields here. Every question is answered in bounded work, whatever the fields are.

mod fault;

use croner::{
    Cron, Weekday,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    SignedDuration, Timestamp, ToSpan as _, civil,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::Schedule;

/// What does not occur for so long never does, as far as anybody who writes a manifest is concerned.
/// February 29 comes at least once in it.
const HORIZON_YEARS: i32 = 8;

/// How long an answer holds at most: time zones and clocks change.
const LONGEST_HOLD: SignedDuration = SignedDuration::from_hours(1);

/// A recurring time that lasts for a while each time.
#[derive(Clone, Debug)]
pub struct Recurrence {
    cron: Cron,
    timezone: TimeZone,
    duration: SignedDuration,
}

/// Whether a recurring time is on, and until when that is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Phase {
    /// Whether it is on.
    pub on: bool,
    /// Until then, and not for longer, the answer holds without a look.
    pub until: Timestamp,
}

/// Why there is no such recurring time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecurrenceError {
    /// The cron fields cannot be read.
    #[error("cron {cron:?} is not understood: {detail}")]
    Cron {
        /// What was given.
        cron: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The time zone is unknown.
    #[error("timezone {0:?} is not a known IANA time zone; write it like Europe/Berlin")]
    TimeZone(String),
    /// No day fits.
    #[error(
        "cron {0:?} does not occur within {HORIZON_YEARS} years; correct its day of month, month and day of week"
    )]
    Never(String),
}

// === impl Recurrence ===

impl Recurrence {
    /// The recurring time of a schedule.
    ///
    /// # Errors
    ///
    /// As [`Recurrence::new`].
    pub fn of(schedule: &Schedule) -> Result<Self, RecurrenceError> {
        let duration = SignedDuration::try_from(schedule.duration())
            .unwrap_or(SignedDuration::from_hours(168));
        Ok(Self {
            duration,
            ..Self::new(&schedule.cron, schedule.timezone.as_deref())?
        })
    }

    /// Recurring moments: five cron fields in a time zone, which is UTC if none is given.
    ///
    /// # Errors
    ///
    /// When the fields or the time zone cannot be read. That it occurs at all is
    /// [`Recurrence::check_occurs`].
    pub fn new(cron: &str, timezone: Option<&str>) -> Result<Self, RecurrenceError> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            // 5/15, which Kubernetes takes too.
            .sloppy_ranges(true)
            .build();
        let parsed = parser.parse(cron).map_err(|error| RecurrenceError::Cron {
            cron: cron.to_owned(),
            detail: fault::of(&parser, cron).unwrap_or_else(|| error.to_string()),
        })?;
        let name = timezone.unwrap_or("UTC");
        let timezone =
            TimeZone::get(name).map_err(|_| RecurrenceError::TimeZone(name.to_owned()))?;
        Ok(Self {
            cron: parsed,
            timezone,
            duration: SignedDuration::ZERO,
        })
    }

    /// Whether it occurs within the next eight years.
    ///
    /// # Errors
    ///
    /// [`RecurrenceError::Never`] if it does not.
    pub fn check_occurs(&self, now: Timestamp) -> Result<(), RecurrenceError> {
        let today = self.date(now);
        let end = today.saturating_add(HORIZON_YEARS.years());
        if has_day(today, end, |date| self.fits(date)) {
            Ok(())
        } else {
            Err(RecurrenceError::Never(self.cron.pattern.to_string()))
        }
    }

    /// Whether it is on: it began at most its duration ago. Looks no further back than that.
    #[must_use]
    pub fn phase(&self, now: Timestamp) -> Phase {
        let hold = now.saturating_add(LONGEST_HOLD).unwrap_or(Timestamp::MAX);
        let off = |until: Timestamp| Phase {
            on: false,
            until: until.min(hold),
        };
        let Ok(start) = now.checked_sub(self.duration) else {
            return off(hold);
        };
        let Some(begin) = self.first_after(start, self.date(hold)) else {
            return off(hold);
        };
        if begin > now {
            return off(begin);
        }
        let end = begin.saturating_add(self.duration).unwrap_or(hold);
        Phase {
            on: true,
            until: end.min(hold),
        }
    }

    /// When it begins for the first time after a time; not later than in eight years.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let last = self.date(after).saturating_add(HORIZON_YEARS.years());
        self.first_after(after, last)
    }

    /// When it has begun last: after the one time, and not after the other. Looks back eight years at most.
    #[must_use]
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut date = self.date(until);
        let first = date.saturating_sub(HORIZON_YEARS.years());
        let first = self.date(after).max(first);
        while date >= first {
            if self.occurs_on(date) {
                let begin = date.to_zoned(self.timezone.clone()).ok()?.timestamp();
                let begin = begin.checked_sub(SignedDuration::from_nanos(1)).ok()?;
                let mut latest = None;
                let mut from = begin.max(after);
                while let Some(found) = self.first_after(from, date).filter(|found| *found <= until)
                {
                    latest = Some(found);
                    from = found;
                }
                if latest.is_some() {
                    return latest;
                }
            }
            date = date.yesterday().ok()?;
        }
        None
    }

    /// When it begins for the first time after a time, up to the end of a day.
    ///
    /// croner is asked of single days: from one that has nothing left it would look up to the year 5000,
    /// and a day that the time zone leaves out leads it astray.
    fn first_after(&self, time: Timestamp, last: civil::Date) -> Option<Timestamp> {
        let today = self.date(time);
        let mut date = today;
        while date <= last {
            if self.occurs_on(date) {
                let (from, inclusive) = if date == today {
                    (time.to_zoned(self.timezone.clone()), false)
                } else {
                    (date.to_zoned(self.timezone.clone()).ok()?, true)
                };
                let found = self.cron.find_next_occurrence(&from, inclusive).ok();
                // What the clock skips at the end of a day is met on the next.
                let is_near = |found: civil::Date| {
                    found == date
                        || date.tomorrow().is_ok_and(|next| next == found) && self.knows(found)
                };
                if let Some(found) = found.filter(|found| is_near(found.date())) {
                    return Some(found.timestamp());
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Whether there are times on a day: before the year 1 and after 4999 croner knows none, and a time
    /// zone may leave the day out, as Samoa's did 2011-12-30.
    fn knows(&self, date: civil::Date) -> bool {
        let noon = self.timezone.to_ambiguous_timestamp(date.at(12, 0, 0, 0));
        (1..5000).contains(&date.year()) && !matches!(noon.offset(), AmbiguousOffset::Gap { .. })
    }

    fn date(&self, time: Timestamp) -> civil::Date {
        self.timezone.to_datetime(time).date()
    }

    /// Whether it occurs on a day.
    fn occurs_on(&self, date: civil::Date) -> bool {
        self.knows(date) && self.fits(date)
    }

    fn fits(&self, date: civil::Date) -> bool {
        let (Ok(month), Ok(day)) = (u32::try_from(date.month()), u32::try_from(date.day())) else {
            return false;
        };
        let pattern = &self.cron.pattern;
        let weekday = date.weekday().to_sunday_zero_offset();
        let weekday = Weekday::from_days_from_sunday(u32::try_from(weekday).unwrap_or(0));
        pattern.month_match(month).unwrap_or(false)
            && pattern
                .day_match(i32::from(date.year()), month, day, weekday)
                .unwrap_or(false)
    }
}

/// Whether one of the days, both ends included, is such a day.
fn has_day(first: civil::Date, last: civil::Date, is_one: impl Fn(civil::Date) -> bool) -> bool {
    let mut date = first;
    while date <= last {
        if is_one(date) {
            return true;
        }
        let Ok(next) = date.tomorrow() else {
            return false;
        };
        date = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn recurrence(cron: &str, timezone: &str, hours: u64) -> Recurrence {
        let schedule = Schedule {
            cron: cron.to_owned(),
            timezone: Some(timezone.to_owned()),
            duration: Duration::from_secs(hours * 3600).into(),
            min: Some(1),
            max: None,
        };
        Recurrence::of(&schedule).expect("a schedule")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn it_is_on_for_its_duration_in_its_time_zone() {
        let office = recurrence("0 8 * * MON-FRI", "Europe/Berlin", 10);
        // Monday; Berlin is two hours ahead in summer.
        for (time, on, until) in [
            ("2026-07-06T05:30:00Z", false, "2026-07-06T06:00:00Z"),
            ("2026-07-06T06:00:00Z", true, "2026-07-06T07:00:00Z"),
            ("2026-07-06T15:59:59Z", true, "2026-07-06T16:00:00Z"),
            ("2026-07-06T16:00:00Z", false, "2026-07-06T17:00:00Z"),
            ("2026-07-05T09:00:00Z", false, "2026-07-05T10:00:00Z"),
        ] {
            let until = at(until);
            assert_eq!(office.phase(at(time)), Phase { on, until }, "{time}");
        }
    }

    #[test]
    fn it_is_on_until_the_last_of_those_that_overlap_has_ended() {
        let often = recurrence("*/10 * * * *", "UTC", 1);
        assert!(often.phase(at("2026-01-01T12:34:56Z")).on);
        let week = recurrence("0 0 1 1 *", "UTC", 168);
        assert!(week.phase(at("2026-01-07T23:59:59Z")).on);
        assert!(!week.phase(at("2026-01-08T00:00:00Z")).on);
    }

    #[test]
    fn an_hour_that_the_clock_skips_or_repeats_is_met_once() {
        // New York, 2026: 2:30 is skipped on March 8 and 1:30 comes twice on November 1.
        let skipped = recurrence("30 2 * * *", "America/New_York", 1);
        assert!(skipped.phase(at("2026-03-08T07:15:00Z")).on);
        let repeated = recurrence("30 1 * * *", "America/New_York", 1);
        assert!(repeated.phase(at("2026-11-01T05:45:00Z")).on);
        assert!(!repeated.phase(at("2026-11-01T06:45:00Z")).on);
    }

    #[test]
    fn the_times_between_two_others_are_found_from_both_sides() {
        for (cron, timezone, from, times) in [
            // New York leaves out 2:30 on 2026-03-08 and has 1:30 twice on 2026-11-01.
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-07T00:00:00Z",
                &[
                    "2026-03-07T07:30:00Z",
                    "2026-03-08T07:00:00Z",
                    "2026-03-09T06:30:00Z",
                ][..],
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-10-31T00:00:00Z",
                &[
                    "2026-10-31T05:30:00Z",
                    "2026-11-01T05:30:00Z",
                    "2026-11-02T06:30:00Z",
                ],
            ),
            // Berlin's 2026-03-29 has 23 hours, and its 2026-10-25 has 25.
            (
                "0 6 * * *",
                "Europe/Berlin",
                "2026-03-28T00:00:00Z",
                &["2026-03-28T05:00:00Z", "2026-03-29T04:00:00Z"],
            ),
            (
                "0 6 * * *",
                "Europe/Berlin",
                "2026-10-24T00:00:00Z",
                &["2026-10-24T04:00:00Z", "2026-10-25T05:00:00Z"],
            ),
            (
                "0 0 29 2 *",
                "UTC",
                "2020-03-01T00:00:00Z",
                &["2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"],
            ),
        ] {
            let moments = Recurrence::new(cron, Some(timezone)).expect("a schedule");
            let (mut time, begin) = (at(from), at(from));
            for expected in times {
                let next = moments.next(time).expect("a time");
                assert_eq!(next, at(expected), "{cron} in {timezone} after {time}");
                assert_eq!(
                    moments.latest(begin, next),
                    Some(next),
                    "{cron} until {next}"
                );
                assert_eq!(moments.latest(next, next), None, "{cron} after {next}");
                let later = next.saturating_add(SignedDuration::from_mins(29)).unwrap();
                assert_eq!(
                    moments.latest(begin, later),
                    Some(next),
                    "{cron} until {later}"
                );
                time = next;
            }
        }
    }

    #[test]
    fn an_hourly_time_comes_in_each_hour_that_there_is() {
        let hourly = Recurrence::new("0 * * * *", Some("Europe/Berlin")).expect("a schedule");
        for from in ["2026-03-28T22:30:00Z", "2026-10-24T22:30:00Z"] {
            let mut time = at(from);
            for _ in 0..6 {
                let next = hourly.next(time).expect("a time");
                assert!(
                    next.duration_since(time) <= SignedDuration::from_hours(1),
                    "{time} {next}"
                );
                time = next;
            }
        }
    }

    #[test]
    fn a_day_that_a_time_zone_leaves_out_hides_nothing() {
        // Apia had no 2011-12-30: its 31st began at 10:00 UTC on the 30th.
        for (cron, time, on, until) in [
            (
                "0 0 31 * *",
                "2011-12-30T10:00:00Z",
                true,
                "2011-12-30T11:00:00Z",
            ),
            (
                "0 0 30 * *",
                "2011-12-30T10:00:00Z",
                false,
                "2011-12-30T11:00:00Z",
            ),
            (
                "0 1 * * *",
                "2011-12-30T10:30:00Z",
                false,
                "2011-12-30T11:00:00Z",
            ),
            (
                "30 0 * * *",
                "2011-12-30T09:50:00Z",
                false,
                "2011-12-30T10:30:00Z",
            ),
            (
                "*/7 2 28-31 * *",
                "2011-12-30T12:10:00Z",
                true,
                "2011-12-30T13:00:00Z",
            ),
        ] {
            let apia = recurrence(cron, "Pacific/Apia", 1);
            let until = at(until);
            assert_eq!(apia.phase(at(time)), Phase { on, until }, "{cron} {time}");
        }
    }

    #[test]
    fn answers_hold_until_the_last_year_that_is_known_ends() {
        let often = recurrence("* * * * *", "UTC", 1);
        assert!(often.phase(at("4999-12-31T23:59:30Z")).on);
        assert!(often.phase(at("5000-01-01T00:30:00Z")).on);
        assert!(!often.phase(at("5000-01-01T01:00:00Z")).on);
    }

    #[test]
    fn what_never_occurs_is_found_out() {
        let never = [
            "* * 31 2,4,6,9,11 *",
            "* * 30 2 *",
            "0 0 31 4 *",
            "* * 30,31 FEB *",
        ];
        let now = at("2026-11-26T12:00:00Z");
        for cron in never {
            let never = recurrence(cron, "America/New_York", 168);
            let error = never.check_occurs(now).expect_err("never");
            assert!(error.to_string().contains("within 8 years"), "{error}");
            // With a walk through the calendar for each look this would take minutes.
            for _ in 0..10_000 {
                assert!(!never.phase(now).on, "{cron}");
            }
        }
        for cron in [
            "0 0 29 2 *",
            "5/15 * * * *",
            "* * * * *",
            "0 0 L * *",
            "0 0 * * FRI#5",
        ] {
            let occurs = recurrence(cron, "Pacific/Apia", 1);
            assert_eq!(occurs.check_occurs(now), Ok(()), "{cron}");
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let daily = recurrence("0 0 * * *", "Asia/Kathmandu", 168);
        for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            let phase = daily.phase(time);
            assert!(phase.until >= time);
        }
        assert!(daily.check_occurs(Timestamp::MAX).is_ok());
    }
}

#[cfg(test)]
mod fuzz;
