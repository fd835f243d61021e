//! Requests taken apart: paths, queries, bodies, what the client accepts.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::{
    media,
    resource::{Resource, registry::Registry},
    status::Failure,
    store::Key,
    table::Include,
};

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// In which form a client wants objects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Object,
    Partial,
    Table(Include),
}

/// A request with its body.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) form: Form,
    pub(crate) body: Bytes,
}

// === impl Query ===

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        Self {
            pairs: pairs
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        }
    }

    /// A parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is there and says neither `0` nor `false`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let given = self.all(name).next();
        given.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.get(name)
            .map(|text| text.parse().map_err(|_| no_number(name, text)))
            .transpose()
    }
}

fn no_number(name: &str, value: &str) -> Failure {
    let why = format!("parsing {value:?}: invalid syntax");
    if name == "resourceVersion" {
        return Failure::unclassified(format!(
            "resourceVersion: Invalid value: {value:?}: strconv.ParseUint: {why}"
        ));
    }
    Failure::bad_request(format!("strconv.ParseInt: {why}"))
}

/// Undoes percent encoding; bytes that are no text are replaced.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let hex = |offset: usize| {
            let digit = bytes.get(index + offset)?;
            char::from(*digit).to_digit(16)
        };
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                index += 2;
            }
            (b'+', ..) if plus_is_space => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

// === impl Target ===

impl Target {
    /// From a path such as `/apis/apps/v1/namespaces/x/deployments/y/scale`.
    pub(crate) fn parse(path: &str, registry: &Registry) -> Result<Self, Failure> {
        let segments: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|segment| decode(segment, false))
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::no_such_page()),
        };
        if !registry.serves(group, version) {
            return Err(Failure::no_such_page());
        }
        let (namespace, rest) = match rest {
            // A namespace itself, or its subresource.
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(*name), None),
            [plural, name, subresource] => (plural, Some(*name), Some(*subresource)),
            _ => return Err(Failure::no_such_path()),
        };
        let resource = registry
            .find(group, version, plural)
            .ok_or_else(Failure::no_such_path)?;
        let wrong_scope = namespace.is_some() != resource.namespaced;
        // Namespaced objects can be listed over all namespaces, but not addressed without one.
        if wrong_scope && (namespace.is_some() || name.is_some()) {
            return Err(Failure::no_such_path());
        }
        Ok(Self {
            resource: Arc::clone(resource),
            namespace,
            name: name.map(str::to_owned),
            subresource: subresource.map(str::to_owned),
        })
    }

    /// Where the object stands among those of its resource.
    pub(crate) fn key(&self) -> Key {
        let namespace = self.namespace.clone().unwrap_or_default();
        Key::new(namespace, self.name.clone().unwrap_or_default())
    }
}

// === impl Call ===

impl Call {
    pub(crate) fn content_type(&self) -> &str {
        media::content_type(&self.headers)
    }
}

// === impl Form ===

impl Form {
    /// The first form in `Accept` that can be given.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Self, Failure> {
        let accept: Vec<&str> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        if accept.is_empty() {
            return Ok(Self::Object);
        }
        for range in accept.iter().flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            if !matches!(media, "application/json" | "application/*" | "*/*") {
                continue;
            }
            let parameter = |name: &str| {
                let mut all = range.split(';').skip(1).map(str::trim);
                all.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
            };
            let meta = parameter("g") == Some("meta.k8s.io") && parameter("v") == Some("v1");
            match parameter("as") {
                None => return Ok(Self::Object),
                Some("Table") if meta => {
                    return Ok(Self::Table(match query.get("includeObject") {
                        Some("None") => Include::None,
                        Some("Object") => Include::Object,
                        _ => Include::Metadata,
                    }));
                }
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => {
                    return Ok(Self::Partial);
                }
                Some(_) => {}
            }
        }
        Err(Failure::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("a=1&b=x%3Dy%2Cz+w&c=&a=2"));
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("x=y,z w"));
        assert_eq!(query.get("c"), None);
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert!(query.flag("b") && query.flag("c"));
        assert!(!query.flag("d"));
        assert_eq!(decode("100%", true), "100%");
    }

    #[test]
    fn paths_lead_to_resources() {
        let registry = Registry::builtin();
        let parse = |path: &str| Target::parse(path, &registry);
        let target = parse("/apis/apps/v1/namespaces/x/deployments/y/scale").expect("path");
        assert_eq!(target.resource.kind, "Deployment");
        assert_eq!(target.namespace.as_deref(), Some("x"));
        assert_eq!(target.name.as_deref(), Some("y"));
        assert_eq!(target.subresource.as_deref(), Some("scale"));
        let target = parse("/api/v1/namespaces/x/finalize").expect("path");
        assert_eq!(target.resource.kind, "Namespace");
        assert_eq!(target.subresource.as_deref(), Some("finalize"));
        assert_eq!(parse("/api/v1/pods").expect("all").namespace, None);
        for bad in [
            "/api/v1/pods/x",
            "/api/v1/namespaces/x/nodes",
            "/api/v2/pods",
            "/apis/apps/v1",
            "/x",
            "/",
            "/api/v1/namespaces/x/pods/y/z/w",
        ] {
            assert_eq!(parse(bad).expect_err(bad).code, 404, "{bad}");
        }
    }

    #[test]
    fn the_first_form_that_can_be_given_is_chosen() {
        let form = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("header"));
            Form::negotiate(&headers, &Query::default())
        };
        let table = Form::Table(Include::Metadata);
        assert_eq!(
            form("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
            Ok(table)
        );
        assert_eq!(
            form("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"),
            Ok(Form::Object)
        );
        assert_eq!(
            form("application/vnd.kubernetes.protobuf,application/json"),
            Ok(Form::Object)
        );
        assert_eq!(
            form("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
            Ok(Form::Partial)
        );
        assert_eq!(form("text/html").expect_err("refused").code, 406);
    }
}

#[cfg(test)]
mod fuzz;
