//! Times as ages, such as `5m12s`.

use jiff::Timestamp;
use serde_json::Value;

/// How long ago a time is, as text for people.
pub(crate) fn since(time: &Value) -> Value {
    let Some(text) = time.as_str() else {
        return "<unknown>".into();
    };
    match text.parse() {
        Ok(time) => of(Some(time)),
        Err(_) => "<invalid>".into(),
    }
}

/// The same of a time that has been read.
pub(crate) fn of(time: Option<Timestamp>) -> Value {
    match time {
        Some(time) => human(Timestamp::now().as_second() - time.as_second()).into(),
        None => "<unknown>".into(),
    }
}

/// Seconds as kubectl writes them: two units while the larger one is small.
pub(crate) fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |large: i64, one: char, small: i64, other: char| {
        if small == 0 {
            format!("{large}{one}")
        } else {
            format!("{large}{one}{small}{other}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => pair(days, 'd', hours % 24, 'h'),
        _ if days < 730 => format!("{days}d"),
        _ if days < 2920 => pair(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (660, "11m"),
            (3 * 3600 + 60, "3h1m"),
            (10 * 3600, "10h"),
            (50 * 3600, "2d2h"),
            (9 * 86_400, "9d"),
            (800 * 86_400, "2y70d"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }
}
