use fermata_crds::{
    names::GATEWAY_PATHS,
    routes::{Claim, ClaimPolicy},
    sample::{self, Choices, chosen_by, pick},
};

use super::*;

const DOMAIN: &str = "fn.example";
const LABELS: [&str; 9] = [
    "pay", "a", "svc", "default", "fn", "example", "cluster", "local", "x-1",
];

/// A table written down as what it was made from, and searched from one end to the other.
#[derive(Debug, Default)]
struct Model {
    /// Namespace, name, and whether it is for the cluster only.
    names: Vec<(String, String, bool)>,
    hosts: Vec<(String, usize)>,
    paths: Vec<(String, usize)>,
}

/// Which function, and how much of the path led to it.
type Found = Option<(usize, usize)>;

impl Model {
    fn name(&self, namespace: &str, name: &str, everybody: bool) -> Option<usize> {
        self.names.iter().position(|(of, is, cluster_only)| {
            of == namespace && is == name && !(everybody && *cluster_only)
        })
    }

    fn whole(&self, text: &str, everybody: bool) -> Option<usize> {
        let (name, namespace) = text.split_once('.')?;
        self.name(namespace, name, everybody)
    }

    /// `/function/NAME` or `/function/NAME.NAMESPACE`, and all below.
    fn in_path(&self, path: &str, namespace: &str, everybody: bool) -> Found {
        let mut segments = path.split('/');
        if segments.next() != Some("") || segments.next() != Some("function") {
            return None;
        }
        let text = segments.next()?;
        let found = match text.contains('.') {
            true => self.whole(text, everybody),
            false => self.name(namespace, text, everybody),
        };
        Some((found?, "/function/".len() + text.len()))
    }

    fn find(&self, host: &str, path: &str) -> Found {
        let by_domain = host
            .strip_suffix(&format!(".{DOMAIN}"))
            .and_then(|name| self.whole(name, true));
        let by_host = || self.hosts.iter().find(|(own, _)| own == host);
        if let Some(function) = by_domain.or_else(|| by_host().map(|(_, function)| *function)) {
            return Some((function, 0));
        }
        self.in_path(path, "default", true).or_else(|| {
            self.paths
                .iter()
                .filter(|(prefix, _)| {
                    let rest = path.strip_prefix(prefix.as_str());
                    prefix == "/" && path.starts_with('/')
                        || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                })
                .max_by_key(|(prefix, _)| prefix.len())
                .map(|(_, function)| (*function, 0))
        })
    }

    fn find_in_cluster(&self, host: &str, path: &str, namespace: Option<&str>) -> Found {
        let labels: Vec<&str> = host.split('.').collect();
        let found = match labels.as_slice() {
            [name, namespace, "svc", "cluster", "local"] | [name, namespace, "svc"] => {
                self.name(namespace, name, false)
            }
            [_, "svc", "cluster", "local"] | [_, "cluster", "local"] => None,
            [name, namespace] => self.name(namespace, name, false),
            [name] => namespace.and_then(|namespace| self.name(namespace, name, false)),
            _ => None,
        };
        found
            .map(|function| (function, 0))
            .or_else(|| self.in_path(path, namespace.unwrap_or("default"), false))
    }
}

fn joined(between: &str, most: usize, choose: Choices<'_>) -> String {
    let labels: Vec<&str> = (0..=choose(most)).map(|_| pick(&LABELS, choose)).collect();
    labels.join(between)
}

fn path(choose: Choices<'_>) -> String {
    match choose(4) {
        0 => format!("/{}", joined("/", 4, choose)),
        1 => format!("/function/{}", joined("/", 2, choose)),
        2 => format!(
            "/function/{}/{}",
            joined(".", 2, choose),
            joined("/", 2, choose)
        ),
        _ => sample::words(choose),
    }
}

/// A model, and the router of the same.
fn made(choose: Choices<'_>) -> (Model, Router<usize>) {
    let mut model = Model::default();
    let mut router = Router::new(DOMAIN, "cluster.local");
    for _ in 0..choose(6) {
        let (namespace, name) = (pick(&LABELS, choose), pick(&LABELS, choose));
        if model.name(namespace, name, false).is_some() {
            continue;
        }
        let function = model.names.len();
        let cluster_only = choose(3) == 2;
        let target = NamedFunction {
            function,
            cluster_only,
        };
        router.add_name(namespace, name, target);
        model
            .names
            .push((namespace.to_owned(), name.to_owned(), cluster_only));
    }
    let policy = ClaimPolicy::new(DOMAIN, "cluster.local", &[], &[]);
    for _ in 0..choose(4) {
        let host = joined(".", 3, choose);
        let allowed = policy.check("a", &Claim::Host(host.clone())).is_ok();
        if allowed && !model.hosts.iter().any(|(own, _)| *own == host) {
            router.add_host(&host, 100 + model.hosts.len());
            model.hosts.push((host, 100 + model.hosts.len()));
        }
        let path = path(choose);
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let allowed = policy.check("a", &Claim::Path(path.to_owned())).is_ok();
        if allowed && path.starts_with('/') && !model.paths.iter().any(|(own, _)| own == path) {
            router.add_path(path, 200 + model.paths.len());
            model.paths.push((path.to_owned(), 200 + model.paths.len()));
        }
    }
    (model, router)
}

#[test]
fn fuzz_a_request_goes_where_a_plain_search_finds() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let (model, router) = made(&mut choose);
        let host = match choose(6) {
            0 => format!("{}.{DOMAIN}", joined(".", 2, &mut choose)),
            1 => format!("{}.svc", joined(".", 2, &mut choose)),
            2 => format!("{}.cluster.local", joined(".", 3, &mut choose)),
            3 if !model.hosts.is_empty() => model.hosts[choose(model.hosts.len())].0.clone(),
            4 => joined(".", 3, &mut choose),
            _ => pick(&LABELS, &mut choose).to_owned(),
        };
        let path = path(&mut choose);
        let pair = |found: Match<'_, usize>| (*found.function, found.strip);
        for written in [
            host.clone(),
            host.to_ascii_uppercase(),
            format!("{host}:8080"),
            format!("{host}.:80"),
        ] {
            let found = router.find(&written, &path).map(pair);
            assert_eq!(
                found,
                model.find(&host, &path),
                "{written} {path} {model:?}"
            );
            for namespace in [None, Some(pick(&LABELS, &mut choose))] {
                let found = router.find_in_cluster(&written, &path, namespace).map(pair);
                let expected = model.find_in_cluster(&host, &path, namespace);
                assert_eq!(found, expected, "{written} {path} {namespace:?} {model:?}");
                let alike = router.find_in_cluster(&written, &path, None).map(pair);
                let needed = Router::<usize>::needs_namespace(&written, &path);
                assert!(needed || alike == found, "{written} {path}");
            }
        }
    });
}

#[test]
fn fuzz_nothing_that_is_asked_for_leads_astray() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let (model, router) = made(&mut choose);
        let text = String::from_utf8_lossy(bytes);
        let (host, path) = text.split_once(' ').unwrap_or((&text, "/"));
        for found in [
            router.find(host, path),
            router.find_in_cluster(host, path, Some("a")),
        ]
        .into_iter()
        .flatten()
        {
            // What is taken off is a name that stands in the path.
            assert!(path.is_char_boundary(found.strip));
            assert!(found.strip == 0 || path.starts_with(FUNCTION_PATH_PREFIX));
            assert!(
                *found.function >= 200
                    || *found.function < model.names.len()
                    || *found.function >= 100
            );
        }
        // Nobody's path comes before a name.
        for own in GATEWAY_PATHS {
            let taken = |path: &str| path.split('/').nth(1) == Some(own);
            assert!(!model.paths.iter().any(|(path, _)| taken(path)));
        }
    });
}
