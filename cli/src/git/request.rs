//! What a request wants, and whether it may. Pure.
//!
//! Only what git asks is answered (<https://git-scm.com/docs/http-protocol>, the smart protocol).

use std::net::{IpAddr, SocketAddr};

use fermata_crds::{BUNDLES_SUFFIX, names::MAX_FUNCTION_NAME};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use crate::errors;

/// Where all repositories are.
pub(super) const PATH: &str = "/git";

/// What Git LFS is told, which brings what it keeps before git pushes its pointers.
const WITHOUT_LFS: &str = "a push brings nothing that Git LFS keeps. Name the repository in source.git of a manifest, from where it is fetched; or store the files themselves: git lfs untrack PATTERN, git add --renormalize .";

/// The longest name of a namespace.
const MAX_NAMESPACE: usize = 63;

/// What git does on a repository.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Service {
    /// Give what is there.
    Fetch,
    /// Take something.
    Push,
}

/// A request that git makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    /// The namespace of the function.
    pub(super) namespace: String,
    /// The name of the function.
    pub(super) name: String,
    /// Whether it is about the folders of the function that were deployed as bundles, and not about its repository.
    pub(super) bundles: bool,
    pub(super) service: Service,
    /// Whether it asks what there is, before it asks for anything else.
    pub(super) begins: bool,
}

/// Why a request is refused.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) sentence: String,
    /// Whether it is Git LFS that asks, which has a form of its own for what it shows.
    pub(super) to_lfs: bool,
}

// === impl Service ===

impl Service {
    /// The name that git has for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fetch => "git-upload-pack",
            Self::Push => "git-receive-pack",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Fetch, Self::Push]
            .into_iter()
            .find(|service| service.name() == name)
    }
}

// === impl Asked ===

impl Asked {
    /// What the request wants.
    ///
    /// # Errors
    ///
    /// When git asks no such thing, or no function can have the name.
    pub(super) fn of(parts: &Parts) -> Result<Self, Refusal> {
        let path = parts.uri.path().strip_prefix(PATH).unwrap_or_default();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (namespace, repository, rest) = match segments.as_slice() {
            [name, rest @ ..] if name.ends_with(".git") => ("default", *name, rest),
            [namespace, name, rest @ ..] if name.ends_with(".git") => (*namespace, *name, rest),
            _ => {
                return Err(refused(
                    StatusCode::NOT_FOUND,
                    "a repository is /git/NAME.git, or /git/NAMESPACE/NAME.git".to_owned(),
                ));
            }
        };
        let (name, bundles) = match repository.strip_suffix(BUNDLES_SUFFIX) {
            Some(name) => (name, true),
            None => (repository.strip_suffix(".git").unwrap_or_default(), false),
        };
        check_names(namespace, name)?;
        if let ["info", "lfs", ..] = rest {
            return Err(Refusal {
                to_lfs: true,
                ..refused(StatusCode::NOT_IMPLEMENTED, WITHOUT_LFS.to_owned())
            });
        }
        let query = parts.uri.query().unwrap_or_default();
        let (service, begins, method) = match rest {
            ["info", "refs"] => {
                let service = query.strip_prefix("service=").and_then(Service::of);
                (service, true, Method::GET)
            }
            [service] if query.is_empty() => (Service::of(service), false, Method::POST),
            _ => (None, false, Method::GET),
        };
        let service = service.ok_or_else(|| {
            refused(
                StatusCode::NOT_FOUND,
                "only git is answered here, and by its smart protocol alone".to_owned(),
            )
        })?;
        if parts.method != method {
            let sentence = format!("git asks this by {method}");
            return Err(refused(StatusCode::METHOD_NOT_ALLOWED, sentence));
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            bundles,
            service,
            begins,
        })
    }

    /// The path of what is asked below all repositories.
    pub(super) fn path(&self) -> String {
        let what = if self.begins {
            "info/refs"
        } else {
            self.service.name()
        };
        let suffix = if self.bundles { BUNDLES_SUFFIX } else { ".git" };
        format!("/{}/{}{suffix}/{what}", self.namespace, self.name)
    }
}

/// Looks whether a web page may have sent it.
///
/// # Errors
///
/// When it may.
pub(super) fn check_no_page(headers: &HeaderMap) -> Result<(), Refusal> {
    // Git sends none of these, and browsers leave none out.
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(forbidden("web pages cannot push"));
    }
    Ok(())
}

/// The client of the gateway, as that says.
///
/// # Errors
///
/// When the request does not come from the gateway, or may come from a web page by a name of its own.
pub(super) fn client(headers: &HeaderMap) -> Result<SocketAddr, Refusal> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    // A name that leads here for a web page, and elsewhere for everybody else, is neither.
    if !host.is_some_and(is_of_this_machine) {
        return Err(forbidden(
            "pushes are taken at an address or at localhost alone, such as http://127.0.0.1:8080/git/NAME.git",
        ));
    }
    let mut said = headers.get_all(header::FORWARDED).iter();
    let (Some(said), None) = (said.next(), said.next()) else {
        return Err(forbidden("pushes are taken by the gateway alone"));
    };
    let client = said.to_str().ok().and_then(|said| {
        let (client, _) = said.strip_prefix("for=\"")?.split_once('"')?;
        client.parse().ok()
    });
    client.ok_or_else(|| forbidden("the gateway does not say who asks"))
}

/// What went wrong on this side.
pub(super) fn failed(error: &anyhow::Error) -> Refusal {
    refused(StatusCode::INTERNAL_SERVER_ERROR, errors::line(error))
}

/// Whoever asks may not do it.
pub(super) fn forbidden(why: &str) -> Refusal {
    refused(StatusCode::FORBIDDEN, why.to_owned())
}

pub(super) fn refused(status: StatusCode, sentence: String) -> Refusal {
    Refusal {
        status,
        sentence,
        to_lfs: false,
    }
}

/// The form in which Git LFS reads a refusal and shows its sentence
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md#response-errors>), with its content type.
pub(super) fn told_by_lfs(sentence: &str) -> (String, HeaderValue) {
    let told = serde_json::json!({"message": sentence}).to_string();
    let kind = HeaderValue::from_static("application/vnd.git-lfs+json");
    (told, kind)
}

/// The refusal of what git asks after it has begun, as git hears it: it shows no text of such an answer that is not
/// its own. `None` where it does.
pub(super) fn told_by_git(asked: &Asked, sentence: &str) -> Option<Response<String>> {
    if asked.begins {
        return None;
    }
    let what = match asked.service {
        // The band of errors (gitprotocol-pack, "Packfile Data").
        Service::Push => format!("\u{3}{sentence}\n"),
        Service::Fetch => format!("ERR {sentence}"),
    };
    // Lines begin with their length, which counts itself.
    let line = format!("{:04x}{what}0000", what.len() + 4);
    let mut answer = Response::new(line);
    let kind = match asked.service {
        Service::Push => "application/x-git-receive-pack-result",
        Service::Fetch => "application/x-git-upload-pack-result",
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Some(answer)
}

fn is_of_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_localhost = name.eq_ignore_ascii_case("localhost");
    is_localhost || name.parse::<IpAddr>().is_ok()
}

/// The rules that the API has too, said before a repository is made.
fn check_names(namespace: &str, name: &str) -> Result<(), Refusal> {
    let is_label = |label: &str, most: usize| {
        label.len() <= most
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let is_name = is_label(name, MAX_FUNCTION_NAME) && name.as_bytes()[0].is_ascii_lowercase();
    if is_name && is_label(namespace, MAX_NAMESPACE) {
        return Ok(());
    }
    Err(refused(
        StatusCode::NOT_FOUND,
        format!(
            "no function can have this name: use at most {MAX_FUNCTION_NAME} lower case letters, digits and '-', beginning with a letter"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;

    fn asked(method: Method, uri: &str) -> Result<Asked, StatusCode> {
        let request = Request::builder().method(method).uri(uri).body(());
        let (parts, ()) = request.unwrap().into_parts();
        Asked::of(&parts).map_err(|refusal| refusal.status)
    }

    #[test]
    fn what_git_asks_is_understood() {
        for (method, uri, path, service) in [
            (
                Method::GET,
                "/git/hello.git/info/refs?service=git-receive-pack",
                "/default/hello.git/info/refs",
                Service::Push,
            ),
            (
                Method::POST,
                "/git/shop/pay-2.git/git-receive-pack",
                "/shop/pay-2.git/git-receive-pack",
                Service::Push,
            ),
            (
                Method::POST,
                "/git/hello.git/git-upload-pack",
                "/default/hello.git/git-upload-pack",
                Service::Fetch,
            ),
            (
                Method::GET,
                "/git/shop/hello.bundles.git/info/refs?service=git-receive-pack",
                "/shop/hello.bundles.git/info/refs",
                Service::Push,
            ),
        ] {
            let asked = asked(method, uri).unwrap();
            assert_eq!((asked.path().as_str(), asked.service), (path, service));
        }
    }

    #[test]
    fn anything_else_is_not_there() {
        for path in [
            "/git",
            "/git/",
            "/git/hello/info/refs?service=git-upload-pack",
            "/git/hello.git",
            "/git/hello.git/HEAD",
            "/git/hello.git.git/info/refs?service=git-receive-pack",
            "/git/.bundles.git/info/refs?service=git-upload-pack",
            "/git/shop/hello.bundles.bundles.git/info/refs?service=git-upload-pack",
            "/git/shop/hello.git.git/info/refs?service=git-upload-pack",
            "/git/hello.git/objects/info/packs",
            "/git/hello.git/info/refs",
            "/git/hello.git/info/refs?service=git-upload-archive",
            "/git/hello.git/info/refs?service=git-receive-pack&x",
            "/git/.git/info/refs?service=git-receive-pack",
            "/git/../a.git/info/refs?service=git-receive-pack",
            "/git/a/../b.git/info/refs?service=git-receive-pack",
            "/git/a%2e.git/info/refs?service=git-receive-pack",
            "/git/Hello.git/info/refs?service=git-receive-pack",
            "/git/.hooks/a.git/info/refs?service=git-receive-pack",
            "/git/1a.git/info/refs?service=git-receive-pack",
            "/function/hello.git/info/refs?service=git-receive-pack",
        ] {
            assert_eq!(
                asked(Method::GET, path),
                Err(StatusCode::NOT_FOUND),
                "{path}"
            );
        }
        let long = format!("/git/{}.git/git-upload-pack", "a".repeat(51));
        assert_eq!(asked(Method::POST, &long), Err(StatusCode::NOT_FOUND));
        let wrong = asked(Method::GET, "/git/hello.git/git-receive-pack");
        assert_eq!(wrong, Err(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn git_lfs_is_told_that_nothing_is_kept_here() {
        let request = Request::post("/git/hello.git/info/lfs/objects/batch").body(());
        let (parts, ()) = request.unwrap().into_parts();
        let refusal = Asked::of(&parts).unwrap_err();
        assert_eq!(
            (refusal.status, refusal.to_lfs),
            (StatusCode::NOT_IMPLEMENTED, true)
        );
        assert!(refusal.sentence.contains("source.git"));
    }

    fn client_of(pairs: &[(&str, &str)]) -> Result<SocketAddr, String> {
        let headers = pairs.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        let headers = headers.collect();
        check_no_page(&headers)
            .and_then(|()| client(&headers))
            .map_err(|refusal| refusal.sentence)
    }

    #[test]
    fn the_gateway_says_who_asks_and_web_pages_do_not_ask() {
        let host = ("host", "127.0.0.1:8080");
        let said = ("forwarded", "for=\"127.0.0.1:5\";host=\"a\";proto=http");
        let v6 = ("forwarded", "for=\"[::1]:5\";proto=http");
        assert_eq!(client_of(&[host, said]), Ok("127.0.0.1:5".parse().unwrap()));
        assert_eq!(client_of(&[host, v6]), Ok("[::1]:5".parse().unwrap()));
        for name in ["localhost", "LOCALHOST:8080", "[::1]:8080", "192.168.0.2"] {
            assert!(client_of(&[("host", name), said]).is_ok(), "{name}");
        }
        for headers in [
            &[host][..],
            &[said],
            &[host, said, v6],
            &[host, ("forwarded", "for=127.0.0.1")],
            &[host, ("forwarded", "for=\"127.0.0.1\"")],
            &[host, said, ("origin", "http://127.0.0.1:8080")],
            &[host, said, ("sec-fetch-site", "same-origin")],
            &[("host", "evil.example:8080"), said],
            &[("host", "git.localhost.evil.example"), said],
        ] {
            let refused = client_of(headers);
            assert!(refused.is_err(), "{headers:?}");
        }
    }
}
