//! The routes, and the ones that need no API key.
//! Every route that is not listed here as open needs a key: any server may be behind this filter, and an unknown path
//! may have a meaning there.

/// The class of a route, which decides on its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Open to all: health, and `HEAD` of the generating routes.
    Open,
    /// The model list: needs a key only with `protect_models`.
    Models,
    /// Starts a turn: needs a key, is rate limited, and its body must name a model.
    Generate,
    /// The forward-auth endpoint, answered by the filter itself.
    Verify,
    /// Reads the usage: needs a key, and is rate limited, since it costs the upstream more than other reads.
    Usage,
    /// Needs a key; the upstream decides whether the path exists.
    Guarded,
}

impl Route {
    /// Returns the route of a method and a request target. The query and one trailing slash are ignored; letter case
    /// matters. A path that a lenient server might resolve to another one (`%2F`, `..`, `//`) is never open.
    pub fn of(method: &[u8], target: &[u8]) -> Self {
        let reads = matches!(method, b"GET" | b"HEAD");
        match Path::of(target) {
            Path::Health if reads => Self::Open,
            Path::Models if reads => Self::Models,
            Path::Generate if method == b"POST" => Self::Generate,
            Path::Generate if method == b"HEAD" => Self::Open,
            Path::Verify => Self::Verify,
            Path::Usage if method == b"GET" => Self::Usage,
            // Named one by one, so that a new path cannot become open by default.
            Path::Health
            | Path::Models
            | Path::Generate
            | Path::Response
            | Path::InputItems
            | Path::Cancel
            | Path::Usage
            | Path::Other => Self::Guarded,
        }
    }
}

/// The API of a client, which decides the shape of errors and the header of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
}

impl Dialect {
    /// Returns the dialect of a request target: Anthropic's at and below `/v1/messages`, and for the models if the client
    /// names a version of that API. The sidecar and Envoy's local replies follow the same rule.
    pub fn of(target: &[u8], has_anthropic_version: bool) -> Self {
        let path = path_of(target);
        let is_at = |route: &[u8]| {
            let rest = path.strip_prefix(route);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        if is_at(b"/v1/messages") || (has_anthropic_version && is_at(b"/v1/models")) {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }
}

/// Returns a target without its query.
fn path_of(target: &[u8]) -> &[u8] {
    target
        .split(|&byte| byte == b'?')
        .next()
        .unwrap_or_default()
}

/// Returns the methods of a path, as `allow` lists them.
pub fn allowed_methods(target: &[u8]) -> &'static str {
    match Path::of(target) {
        Path::Health | Path::Models | Path::Verify => "GET, HEAD, OPTIONS",
        Path::Generate => "POST, HEAD, OPTIONS",
        Path::Response => "GET, DELETE, HEAD, OPTIONS",
        Path::InputItems => "GET, HEAD, OPTIONS",
        Path::Cancel => "POST, OPTIONS",
        Path::Usage => "GET, OPTIONS",
        Path::Other => "GET, POST, DELETE, HEAD, OPTIONS",
    }
}

/// Returns the path that a forward-auth proxy has appended to `/verify`, as Envoy's `ext_authz` does.
pub fn verified_path(target: &[u8]) -> Option<&[u8]> {
    let appended = target.strip_prefix(b"/verify")?;
    (appended.len() > 1 && appended.starts_with(b"/")).then_some(appended)
}

#[derive(Clone, Copy)]
enum Path {
    Health,
    Models,
    Generate,
    Response,
    InputItems,
    Cancel,
    Usage,
    Verify,
    Other,
}

impl Path {
    fn of(target: &[u8]) -> Self {
        let path = path_of(target);
        match path.strip_suffix(b"/").unwrap_or(path) {
            b"/healthz" | b"/livez" | b"/readyz" => Self::Health,
            b"/v1/models" => Self::Models,
            b"/v1/chat/completions" | b"/v1/completions" | b"/v1/responses" => Self::Generate,
            // The count of tokens starts no turn, and costs the upstream as much as the parse of one.
            b"/v1/messages" | b"/v1/messages/count_tokens" => Self::Generate,
            b"/v1/usage" | b"/v1/usage/raw" => Self::Usage,
            b"/verify" => Self::Verify,
            // `ext_authz` appends the original path, which may be any.
            path if path.starts_with(b"/verify/") => Self::Verify,
            path if path.starts_with(b"/v1/responses/") => match path {
                path if path.ends_with(b"/input_items") => Self::InputItems,
                path if path.ends_with(b"/cancel") => Self::Cancel,
                _ => Self::Response,
            },
            path if path
                .strip_prefix(b"/v1/models/")
                .is_some_and(is_plain_segment) =>
            {
                Self::Models
            }
            _ => Self::Other,
        }
    }
}

/// Whether every server reads the path segment alike: not empty, not `.` or `..`, and without escapes.
fn is_plain_segment(segment: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:@".contains(byte);
    !segment.is_empty() && segment.iter().all(plain) && !segment.iter().all(|&byte| byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_paths_are_open() {
        let cases = [
            ("GET", "/healthz", Route::Open),
            ("HEAD", "/livez/", Route::Open),
            ("GET", "/readyz?verbose=1", Route::Open),
            ("POST", "/healthz", Route::Guarded),
            ("GET", "/HEALTHZ", Route::Guarded),
            ("GET", "/healthz//", Route::Guarded),
            ("GET", "//healthz", Route::Guarded),
            ("GET", "/healthz/../v1/usage", Route::Guarded),
            ("GET", "/healthz%2f..%2fv1", Route::Guarded),
            ("GET", "/healthz;v=1", Route::Guarded),
            ("GET", "/healthz#", Route::Guarded),
            ("GET", "/v1/models", Route::Models),
            ("GET", "/v1/models/codex-5", Route::Models),
            ("HEAD", "/v1/models/codex-5/", Route::Models),
            ("DELETE", "/v1/models/codex-5", Route::Guarded),
            ("GET", "/v1/models/..", Route::Guarded),
            ("GET", "/v1/models/%2e%2e", Route::Guarded),
            ("GET", "/v1/models/a/b", Route::Guarded),
            ("GET", "/v1/models//", Route::Guarded),
            ("POST", "/v1/chat/completions", Route::Generate),
            ("POST", "/v1/chat/completions/", Route::Generate),
            ("POST", "/v1/completions?x", Route::Generate),
            ("POST", "/v1/responses", Route::Generate),
            ("HEAD", "/v1/responses", Route::Open),
            ("POST", "/v1/messages", Route::Generate),
            ("POST", "/v1/messages?beta=true", Route::Generate),
            ("POST", "/v1/messages/count_tokens/", Route::Generate),
            ("HEAD", "/v1/messages", Route::Open),
            ("GET", "/v1/messages", Route::Guarded),
            ("POST", "/v1/messages/batches", Route::Guarded),
            ("GET", "/v1/chat/completions", Route::Guarded),
            ("GET", "/v1/responses/resp_1", Route::Guarded),
            ("POST", "/v1/responses/resp_1/cancel", Route::Guarded),
            ("GET", "/v1/usage", Route::Usage),
            ("GET", "/v1/usage/raw?limit=1", Route::Usage),
            ("POST", "/v1/usage", Route::Guarded),
            ("GET", "/v1/usage/raw/a", Route::Guarded),
            ("GET", "/verify", Route::Verify),
            ("POST", "/verify/v1/chat/completions", Route::Verify),
            ("GET", "/verifyx", Route::Guarded),
            ("GET", "/", Route::Guarded),
            ("GET", "", Route::Guarded),
            ("", "", Route::Guarded),
            ("post", "/v1/chat/completions", Route::Guarded),
        ];
        for (method, target, route) in cases {
            assert_eq!(
                Route::of(method.as_bytes(), target.as_bytes()),
                route,
                "{method} {target}"
            );
        }
    }

    #[test]
    fn dialect_is_anthropics_on_its_routes_only() {
        for (target, has_version, dialect) in [
            ("/v1/messages", false, Dialect::Anthropic),
            ("/v1/messages?beta=true", false, Dialect::Anthropic),
            ("/v1/messages/count_tokens", false, Dialect::Anthropic),
            ("/v1/messages/batches", false, Dialect::Anthropic),
            ("/v1/messagesx", true, Dialect::OpenAi),
            ("/v1/models", false, Dialect::OpenAi),
            ("/v1/models", true, Dialect::Anthropic),
            ("/v1/models/codex-5", true, Dialect::Anthropic),
            ("/v1/chat/completions", true, Dialect::OpenAi),
            ("", true, Dialect::OpenAi),
        ] {
            assert_eq!(
                Dialect::of(target.as_bytes(), has_version),
                dialect,
                "{target}"
            );
        }
    }

    #[test]
    fn responses_paths_list_their_methods() {
        for (target, methods) in [
            ("/v1/messages", "POST, HEAD, OPTIONS"),
            ("/v1/responses", "POST, HEAD, OPTIONS"),
            ("/v1/responses/resp_1", "GET, DELETE, HEAD, OPTIONS"),
            (
                "/v1/responses/resp_1/input_items?limit=1",
                "GET, HEAD, OPTIONS",
            ),
            ("/v1/responses/resp_1/cancel/", "POST, OPTIONS"),
        ] {
            assert_eq!(allowed_methods(target.as_bytes()), methods, "{target}");
        }
    }

    #[test]
    fn verified_path_is_the_rest_of_the_target() {
        let cases = [
            ("/verify", None),
            ("/verify/", None),
            ("/verify?x", None),
            ("/verify/a?b", Some("/a?b")),
        ];
        for (target, path) in cases {
            assert_eq!(
                verified_path(target.as_bytes()),
                path.map(str::as_bytes),
                "{target}"
            );
        }
    }
}
