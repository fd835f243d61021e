//! Which results go. Pure.

use std::{
    cmp::Reverse,
    time::{Duration, SystemTime},
};

/// How long a result stays that nobody uses: a function that is changed back and forth finds it again.
const UNUSED: Duration = Duration::from_hours(24);

/// The most results that stay and that nobody uses.
const MOST_UNUSED: usize = 32;

/// Those of the unused results, given with the time of their last use, that are not needed.
pub(super) fn unneeded(mut unused: Vec<(String, SystemTime)>, now: SystemTime) -> Vec<String> {
    unused.sort_by_key(|(_, used)| Reverse(*used));
    let old = |used: SystemTime| now.duration_since(used).is_ok_and(|age| age > UNUSED);
    let going = unused
        .into_iter()
        .enumerate()
        .filter(|(place, (_, used))| *place >= MOST_UNUSED || old(*used));
    going.map(|(_, (key, _))| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_goes_and_what_is_too_much() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1000);
        let used = |hours: u64| (hours.to_string(), now - Duration::from_hours(hours));
        assert_eq!(
            unneeded(vec![used(25), used(1), used(24)], now),
            ["25"],
            "a day is not yet too long"
        );
        let ahead = ("ahead".to_owned(), now + UNUSED * 2);
        assert!(unneeded(vec![ahead], now).is_empty());

        let minutes = |minutes: u64| {
            let used = now - Duration::from_mins(minutes);
            (minutes.to_string(), used)
        };
        let many = (0..34).map(minutes).collect();
        assert_eq!(unneeded(many, now), ["32", "33"]);
    }
}
