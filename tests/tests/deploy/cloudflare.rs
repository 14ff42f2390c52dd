//! The configuration of the Cloudflare tunnel, against a closed list of the fields that cloudflared reads.
//! cloudflared does not publish a schema, and its binary is not in a package registry. The list comes from its
//! documentation ("Configuration file", "Origin parameters"); `cloudflared tunnel ingress validate` is authoritative.

use serde::Deserialize;

use crate::files::{parse, text};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "serde only checks that the fields are known")]
struct TunnelConfig {
    tunnel: String,
    credentials_file: String,
    grace_period: Option<String>,
    no_autoupdate: Option<bool>,
    metrics: Option<String>,
    protocol: Option<String>,
    loglevel: Option<String>,
    ingress: Vec<IngressRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct IngressRule {
    hostname: Option<String>,
    path: Option<String>,
    service: String,
    #[serde(rename = "originRequest")]
    _origin_request: Option<OriginRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "serde only checks that the fields are known")]
struct OriginRequest {
    connect_timeout: Option<String>,
    tls_timeout: Option<String>,
    tcp_keep_alive: Option<String>,
    no_happy_eyeballs: Option<bool>,
    keep_alive_connections: Option<u32>,
    keep_alive_timeout: Option<String>,
    http_host_header: Option<String>,
    disable_chunked_encoding: Option<bool>,
    http2_origin: Option<bool>,
}

#[test]
fn tunnel_routes_only_v1_to_the_edge() {
    let config: TunnelConfig =
        parse(&text("cloudflare/config.yml")).expect("cloudflared knows every field");
    let [edge, fallback] = &config.ingress[..] else {
        panic!("one service and a fallback: {config:?}");
    };
    assert_eq!(edge.service, "http://127.0.0.1:11435");
    assert!(edge.hostname.is_some() && edge.path.as_deref() == Some("^/v1/"));
    // cloudflared does not start unless the last rule matches every request.
    assert!(fallback.hostname.is_none() && fallback.path.is_none());
    assert_eq!(fallback.service, "http_status:404");
}

#[test]
fn misspelt_field_is_rejected() {
    for (field, typo) in [
        ("credentials-file", "credentialsFile"),
        ("originRequest", "origin-request"),
        ("keepAliveTimeout", "keepaliveTimeout"),
    ] {
        let misspelt = text("cloudflare/config.yml").replace(field, typo);
        let error = parse::<TunnelConfig>(&misspelt).expect_err(typo);
        assert!(error.contains(typo), "{error}");
    }
}
