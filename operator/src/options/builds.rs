//! Builds into images of a registry.

use clap::Args;

/// How many are under way at once where nothing is said.
const DEFAULT_CONCURRENCY: u16 = 10;

const DEFAULT_IMAGE: &str = concat!("ghcr.io/fermata-dev/push:", env!("CARGO_PKG_VERSION"));

/// Settings of builds. Without a registry each instance of a function installs its dependencies when it starts.
#[derive(Args, Clone, Debug)]
pub struct Builds {
    /// Registry, with a folder in it, that functions with dependencies or with source in git are built into, as images
    /// in REGISTRY/NAMESPACE: registry.example.com/functions. Default: none.
    #[arg(
        id = "builds_registry",
        long = "builds-registry",
        env = "FERMATA_BUILDS_REGISTRY",
        value_name = "REGISTRY",
        value_parser = registry
    )]
    pub registry: Option<String>,

    /// Image with the program that pushes.
    #[arg(id = "builds_image", long = "builds-image", env = "FERMATA_BUILDS_IMAGE", default_value = DEFAULT_IMAGE, value_name = "IMAGE")]
    pub image: String,

    /// Name of a Secret of the type kubernetes.io/dockerconfigjson, in each function's namespace, that images are pushed
    /// and pulled with. Default: none, for a registry that wants no credentials.
    #[arg(
        id = "builds_push_secret",
        long = "builds-push-secret",
        env = "FERMATA_BUILDS_PUSH_SECRET",
        value_name = "NAME"
    )]
    pub push_secret: Option<String>,

    /// Speak to the registry without TLS.
    #[arg(
        id = "builds_plain_http",
        long = "builds-plain-http",
        env = "FERMATA_BUILDS_PLAIN_HTTP",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_name = "BOOL"
    )]
    pub plain_http: bool,

    /// Builds that are under way at once; at most half of them, and at least one, for one namespace.
    #[arg(id = "builds_concurrency", long = "builds-concurrency", env = "FERMATA_BUILDS_CONCURRENCY", default_value_t = DEFAULT_CONCURRENCY, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    pub concurrency: u16,
}

// === impl Builds ===

impl Default for Builds {
    fn default() -> Self {
        Self {
            registry: None,
            image: DEFAULT_IMAGE.to_owned(),
            push_secret: None,
            plain_http: false,
            concurrency: DEFAULT_CONCURRENCY,
        }
    }
}

/// A registry, perhaps with a folder: what a namespace can be appended to.
fn registry(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let mut parts = text.split('/');
    let host = parts.next().unwrap_or_default();
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let in_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let is_host = !host.is_empty()
        && host.bytes().all(in_host)
        && (host == "localhost" || host.contains(['.', ':']));
    let at_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_name = parts.clone().all(|part| {
        let bytes = part.as_bytes();
        at_end(bytes.first()) && at_end(bytes.last()) && part.bytes().all(in_name)
    });
    if is_host && is_name {
        // Docker Hub has three names, and images have the first.
        let host = match host {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            host => host,
        };
        Ok([host]
            .into_iter()
            .chain(parts)
            .collect::<Vec<_>>()
            .join("/"))
    } else {
        Err(format!(
            "{text:?} is no registry; it is HOST or HOST/FOLDER in lower case, such as registry.example.com/functions, without https:// and without a tag"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_perhaps_with_a_folder() {
        for (given, expected) in [
            ("r.example", "r.example"),
            ("r.example:5000/fn/", "r.example:5000/fn"),
            ("localhost/x", "localhost/x"),
            ("index.docker.io/acme", "docker.io/acme"),
            ("registry-1.docker.io/acme/fn", "docker.io/acme/fn"),
        ] {
            assert_eq!(registry(given).as_deref(), Ok(expected));
        }
        for wrong in [
            "",
            "functions",
            "https://r.example",
            "r.example/Fn",
            "r.example/a:1",
            "r.example//a",
            "r.example/.a",
            "r.example/a-",
        ] {
            assert!(registry(wrong).is_err(), "{wrong}");
        }
    }
}
