//! Lines of tools that say that a registry cannot be reached, as opposed to one that does not have what
//! is asked for.

use std::fmt::{self, Display, Formatter};

/// Why it cannot be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sign {
    Refused,
    Reset,
    Unresolved,
    Silent,
    Unroutable,
    Failing,
    Untrusted,
}

/// What lines hold, in lower case: of Python, Node.js, Go and curl, which cargo stands on.
const SIGNS: [(Sign, &[&str]); 7] = [
    // First, since a line of this may say that tries are exceeded too.
    (
        Sign::Untrusted,
        &[
            "certificate verify failed",
            "certificate_verify_failed",
            "self signed certificate",
            "self-signed certificate",
            "self_signed_cert",
            "unable_to_get_issuer_cert",
            "unable_to_verify_leaf",
            "certificate signed by unknown authority",
            "ssl certificate problem",
        ],
    ),
    (
        Sign::Refused,
        &[
            "connection refused",
            "econnrefused",
            "failed to connect to",
            "could not connect to server",
            "couldn't connect to server",
        ],
    ),
    (
        Sign::Unresolved,
        &[
            "name or service not known",
            "temporary failure in name resolution",
            "no address associated with hostname",
            "nodename nor servname",
            "failed to resolve",
            "enotfound",
            "eai_again",
            "no such host",
            "could not resolve host",
        ],
    ),
    (
        Sign::Silent,
        &[
            "timed out",
            "etimedout",
            "err_socket_timeout",
            "i/o timeout",
            "tls handshake timeout",
            "timeout was reached",
            "timeout awaiting response",
        ],
    ),
    (
        Sign::Unroutable,
        &[
            "network is unreachable",
            "no route to host",
            "enetunreach",
            "ehostunreach",
        ],
    ),
    (
        Sign::Failing,
        &[
            "500 internal server error",
            "502 bad gateway",
            "503 service unavailable",
            "503 server error",
            "504 gateway time",
            "502 server error",
            "504 server error",
            "too many 500 error",
            "too many 502 error",
            "too many 503 error",
            "code e500",
            "code e502",
            "code e503",
            "code e504",
            "got 500",
            "got 502",
            "got 503",
            "got 504",
        ],
    ),
    (
        Sign::Reset,
        &[
            "connection reset",
            "econnreset",
            "connection aborted",
            "remote end closed connection",
            "socket hang up",
            "unexpected eof",
        ],
    ),
];

// === impl Sign ===

impl Sign {
    /// Whether another try may end otherwise.
    pub(crate) fn passes(self) -> bool {
        self != Self::Untrusted
    }

    /// What a line of a tool says; none if it is about something else, or about a try that is not
    /// the last.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let line = line.to_lowercase();
        let goes_on = (line.contains("retrying (retry(total=") && !line.contains("(total=0"))
            || line.starts_with("warning: spurious network error");
        if goes_on {
            return None;
        }
        SIGNS
            .iter()
            .find(|(_, words)| words.iter().any(|word| line.contains(word)))
            .map(|(sign, _)| *sign)
    }
}

impl Display for Sign {
    /// What is wrong, and what to do.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::Untrusted => {
                return formatter.write_str(
                    "the image of the build does not know the authority of its certificate; \
                     a Runtime can name another image in build.image",
                );
            }
            Self::Refused => "it refuses connections",
            Self::Reset => "it breaks the connection off",
            Self::Unresolved => "its name is not known",
            Self::Silent => "it does not answer in time",
            Self::Unroutable => "there is no way to it",
            Self::Failing => "it answers with a failure of its own",
        };
        write!(formatter, "{why}; another try may succeed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_say_of_a_registry_out_of_reach_is_understood() {
        for (line, sign) in [
            (
                "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError('x: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/foo/",
                Sign::Refused,
            ),
            (
                "WARNING: Retrying (Retry(total=0)) after connection broken by 'ResponseError('too many 503 error responses')': /simple/foo/",
                Sign::Failing,
            ),
            ("npm error code ENOTFOUND", Sign::Unresolved),
            ("npm ERR! code E503", Sign::Failing),
            (
                "Could not fetch URL https://r/: There was a problem confirming the ssl certificate: \
                 Max retries exceeded (CERTIFICATE_VERIFY_FAILED) - skipping",
                Sign::Untrusted,
            ),
            (
                "main.go:3:8: x@v1: Get \"https://proxy/x\": dial tcp: lookup proxy: no such host",
                Sign::Unresolved,
            ),
            (
                "  [6] Couldn't resolve host name (Could not resolve host: index.crates.io)",
                Sign::Unresolved,
            ),
            (
                "npm error network Socket timeout: ERR_SOCKET_TIMEOUT",
                Sign::Silent,
            ),
        ] {
            assert_eq!(Sign::of(line), Some(sign), "{line}");
        }
    }

    #[test]
    fn what_is_missing_or_tried_again_is_no_sign() {
        for line in [
            "ERROR: No matching distribution found for foo==9",
            "npm error code E404",
            "npm error 404 Not Found - GET https://registry.example/foo",
            "WARNING: Retrying (Retry(total=1)) after connection broken by 'Connection refused'",
            "warning: spurious network error (2 tries remaining): [6] Could not resolve host",
            "x@v9: reading https://proxy/x/@v/v9.info: 404 Not Found",
        ] {
            assert_eq!(Sign::of(line), None, "{line}");
        }
    }
}
