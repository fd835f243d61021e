//! Whether a body is signed with a key, without keeping the body. Pure.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};

/// How a delivery is signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Claim {
    /// By the HMAC-SHA256 of the body.
    Mac([u8; 32]),
    /// By the key itself.
    Token(Box<[u8]>),
}

/// Takes a body, and says whether it was signed.
pub(super) struct Check {
    key: Box<[u8]>,
    mac: hmac::Context,
}

// === impl Claim ===

impl Claim {
    /// A signature in hexadecimal; `None` if it is none.
    pub(super) fn signature(text: &[u8]) -> Option<Self> {
        let mut mac = [0; 32];
        if text.len() != 2 * mac.len() {
            return None;
        }
        for (byte, digits) in mac.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let value = digit(digits[0])? * 16 + digit(digits[1])?;
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self::Mac(mac))
    }
}

// === impl Check ===

impl Check {
    /// With this key.
    pub(super) fn new(key: &[u8]) -> Self {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self {
            key: key.into(),
            mac: hmac::Context::with_key(&mac),
        }
    }

    /// The next part of the body.
    pub(super) fn update(&mut self, part: &[u8]) {
        self.mac.update(part);
    }

    /// Whether the whole body was signed in one of these ways. How long that takes says nothing of the key.
    pub(super) fn holds(self, claims: &[Claim]) -> bool {
        let mac = self.mac.sign();
        claims.iter().fold(false, |holds, claim| {
            let (said, own) = match claim {
                Claim::Mac(said) => (&said[..], mac.as_ref()),
                Claim::Token(said) => (&said[..], &*self.key),
            };
            // An empty key is nobody's secret.
            let same = verify_slices_are_equal(said, own).is_ok() && !self.key.is_empty();
            holds | same
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str) -> Claim {
        Claim::signature(text.as_bytes()).unwrap()
    }

    fn holds(key: &str, parts: &[&str], claims: &[Claim]) -> bool {
        let mut check = Check::new(key.as_bytes());
        for part in parts {
            check.update(part.as_bytes());
        }
        check.holds(claims)
    }

    /// The example of GitHub's documentation.
    const HELLO: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    const KEY: &str = "It's a Secret to Everybody";

    #[test]
    fn a_body_is_signed_as_a_whole() {
        assert!(holds(KEY, &["Hello, World!"], &[claim(HELLO)]));
        assert!(holds(KEY, &["Hello", "", ", World!"], &[claim(HELLO)]));
        assert!(holds(
            KEY,
            &["Hello, World!"],
            &[claim(&HELLO.to_uppercase())]
        ));
        assert!(!holds(KEY, &["Hello, World"], &[claim(HELLO)]));
        assert!(!holds("another", &["Hello, World!"], &[claim(HELLO)]));
        assert!(!holds(KEY, &["Hello, World!"], &[]));
    }

    #[test]
    fn a_token_is_the_key() {
        let token = |text: &str| Claim::Token(text.as_bytes().into());
        assert!(holds(KEY, &["anything"], &[token(KEY)]));
        assert!(holds(KEY, &[], &[token("wrong"), token(KEY)]));
        assert!(!holds(KEY, &[], &[token(&KEY[1..])]));
        assert!(!holds("", &[], &[token("")]));
    }

    #[test]
    fn what_is_no_signature_is_none() {
        for text in [
            "",
            "ab",
            &"ab".repeat(31),
            &"ab".repeat(33),
            &"xy".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(Claim::signature(text.as_bytes()), None, "{text}");
        }
    }
}
