//! What is wrong with cron fields, by the field. Pure.

use croner::parser::CronParser;

/// The fields in their order, and what they may be.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31"),
    ("month", "1 to 12, or JAN to DEC"),
    (
        "day of week",
        "0 to 7, which are both Sunday, or SUN to SAT",
    ),
];

/// The first field that the parser does not take, in a sentence; nothing if it takes each by itself.
pub(super) fn of(parser: &CronParser, cron: &str) -> Option<String> {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        return Some(format!(
            "it has {} fields, and needs {}: {}",
            fields.len(),
            FIELDS.len(),
            names.join(", ")
        ));
    }
    let alone = |index: usize| {
        let mut others = ["*"; FIELDS.len()];
        others[index] = fields[index];
        others.join(" ")
    };
    let index = (0..FIELDS.len()).find(|index| parser.parse(&alone(*index)).is_err())?;
    let (name, range) = FIELDS[index];
    Some(format!(
        "the {name} is {:?}, and goes from {range}; lists (1,3), ranges (1-5) and steps (*/2) of these are taken",
        fields[index]
    ))
}
