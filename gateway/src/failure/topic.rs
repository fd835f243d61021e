//! Why a message is not published.

use http::StatusCode;

use super::Reason;

/// Why a message was not handed to those who keep it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicFailure {
    /// Nobody hears a topic of this name, or not from here.
    #[error("no function hears a topic {name} in the namespace {namespace}{near}", near = or_near(near))]
    Unknown {
        /// The name.
        name: Box<str>,
        /// Its namespace.
        namespace: Box<str>,
        /// Names that are much the same.
        near: Vec<Box<str>>,
    },
    /// Somebody asks for what cannot be done with a topic.
    #[error("messages are published by POST; nothing else is done with a topic here")]
    OnlyPosted,
    /// Nothing keeps messages.
    #[error(
        "messages cannot be published, since nothing keeps them; events.store in the values of the chart \
         switches that on"
    )]
    Off,
    /// More functions hear the topic than can be told at once.
    #[error(
        "{functions} functions hear the topic {name}, which are more than a message is delivered to at once; divide it"
    )]
    TooManyFunctions {
        /// The topic.
        name: Box<str>,
        /// How many there are.
        functions: usize,
    },
}

fn or_near(near: &[Box<str>]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", near.join(" or "))
    }
}

// === impl TopicFailure ===

impl TopicFailure {
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::Unknown { .. } => Reason::NoSuchTopic,
            Self::OnlyPosted => Reason::MethodNotAllowed,
            Self::Off => Reason::EventsOff,
            Self::TooManyFunctions { .. } => Reason::TooManyFunctions,
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::OnlyPosted => StatusCode::METHOD_NOT_ALLOWED,
            Self::Off => StatusCode::NOT_IMPLEMENTED,
            Self::TooManyFunctions { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_near_are_told() {
        let unknown = |near: &[&str]| {
            let unknown = TopicFailure::Unknown {
                name: "order".into(),
                namespace: "shop".into(),
                near: near.iter().map(|name| (*name).into()).collect(),
            };
            unknown.to_string()
        };
        let sentence = "no function hears a topic order in the namespace shop";
        assert_eq!(unknown(&[]), sentence);
        assert_eq!(
            unknown(&["orders", "ordern"]),
            format!("{sentence}; did you mean orders or ordern?")
        );
    }
}
