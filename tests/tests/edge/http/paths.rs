//! Path normalization: the filter and the upstream see the same spelling of a path.
//! Follows RFC 3986, section 6, and RFC 9112, section 3.2.

use http::StatusCode;
use tests::http::{Version, get, raw};

use crate::stack::{GUARDED, assert_error, keyed_get, raw_request, start};

#[tokio::test]
async fn path_is_normalized_before_the_upstream() {
    let (upstream, envoy) = start().await;
    let spellings = [
        ("/v1//models", "/v1/models"),
        ("///v1/models", "/v1/models"),
        ("/healthz/../v1/models", "/v1/models"),
        ("/v1/./models", "/v1/models"),
        ("/a/%2e%2e/v1/models", "/v1/models"),
        ("/a/%2E%2E/v1/models", "/v1/models"),
        (r"/a\..\v1\models", "/v1/models"),
        ("/v1/models/..//models?x=/../y", "/v1/models?x=/../y"),
        ("/../../v1/models", "/v1/models"),
        ("http://elsewhere/a/..//v1/models", "/v1/models"),
    ];
    for (sent, _) in spellings {
        let response = raw(
            envoy.address(),
            &raw_request(&format!("GET {sent} HTTP/1.1"), "", ""),
        )
        .await;
        assert_eq!(response.status, StatusCode::OK, "{sent}");
    }
    let received: Vec<_> = upstream
        .requests()
        .iter()
        .map(|received| received.head.uri.to_string())
        .collect();
    assert_eq!(received, spellings.map(|(_, expected)| expected));
}

#[tokio::test]
async fn path_with_an_escaped_slash_is_rejected() {
    let (upstream, envoy) = start().await;
    for path in [
        "/v1%2fmodels",
        "/v1%2Fmodels",
        "/v1%5cmodels",
        "/v1%5Cmodels",
        "/healthz/%2e%2e%2fv1/models",
    ] {
        for version in [Version::H1, Version::H2] {
            let response = envoy
                .connect(version)
                .await
                .send(keyed_get(path))
                .await
                .unwrap();
            assert_error(
                &response,
                400,
                "invalid_request_error",
                "invalid_request_error",
            );
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn invalid_request_line_is_rejected() {
    let (upstream, envoy) = start().await;
    for (line, status) in [
        ("GET v1/models HTTP/1.1", 400),
        ("GET /v1/models#top HTTP/1.1", 400),
        ("GET /v1/%00models HTTP/1.1", 400),
        ("GET /v1/mo\u{1}dels HTTP/1.1", 400),
        ("BREW /v1/models HTTP/1.1", 400),
        ("CONNECT elsewhere:443 HTTP/1.1", 404),
    ] {
        let response = raw(envoy.address(), &raw_request(line, "", "")).await;
        assert_eq!(response.status.as_u16(), status, "{line}");
        assert_eq!(
            response.json()["error"]["type"],
            "invalid_request_error",
            "{line}"
        );
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn protected_path_requires_a_key_in_every_spelling() {
    let (upstream, envoy) = start().await;
    for path in [
        GUARDED,
        "//v1/usage",
        "/healthz/../v1/usage",
        "/healthz/%2e%2e/v1/usage",
        "/healthz%2f..%2fv1/usage",
        "/healthz/..;/v1/usage",
        "/healthz%3f/../v1/usage",
        "/healthz%23/../v1/usage",
        "/%76%31/usage",
        "/V1/usage",
        "/v1/usage/.",
        "/v1/usage//",
        "/v1/usage;/healthz",
    ] {
        let response = envoy
            .connect(Version::H1)
            .await
            .send(get(path))
            .await
            .unwrap();
        assert!(
            [400, 401].contains(&response.status.as_u16()),
            "{path}: {response:?}"
        );
    }
    assert!(upstream.requests().is_empty());
    let public = envoy
        .connect(Version::H1)
        .await
        .send(get("/v1/usage/../../healthz"))
        .await
        .unwrap();
    assert_eq!(public.status, StatusCode::OK);
}
