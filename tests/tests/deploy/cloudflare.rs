//! The tunnel's configuration, against a closed list of what cloudflared reads.
//! cloudflared publishes no schema, and no package registry has its binary: the list is written down here, from its
//! documentation ("Configuration file", "Origin parameters"). `cloudflared tunnel ingress validate` has the last word.

use serde::Deserialize;

use crate::files::{parse, text};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "what counts is that cloudflared has such a field")]
struct Config {
    tunnel: String,
    credentials_file: String,
    grace_period: Option<String>,
    no_autoupdate: Option<bool>,
    metrics: Option<String>,
    protocol: Option<String>,
    loglevel: Option<String>,
    ingress: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    hostname: Option<String>,
    path: Option<String>,
    service: String,
    #[serde(rename = "originRequest")]
    _origin_request: Option<OriginRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what counts is that cloudflared has such a field")]
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
    let config: Config = parse(&text("cloudflare/config.yml")).expect("cloudflared knows it");
    let [edge, rest] = &config.ingress[..] else {
        panic!("one service and what is left: {config:?}");
    };
    assert_eq!(edge.service, "http://127.0.0.1:11435");
    assert!(edge.hostname.is_some() && edge.path.as_deref() == Some("^/v1/"));
    // cloudflared refuses to start unless the last rule takes everything.
    assert!(rest.hostname.is_none() && rest.path.is_none());
    assert_eq!(rest.service, "http_status:404");
}

#[test]
fn misspelt_field_is_rejected() {
    for (field, typo) in [
        ("credentials-file", "credentialsFile"),
        ("originRequest", "origin-request"),
        ("keepAliveTimeout", "keepaliveTimeout"),
    ] {
        let text = text("cloudflare/config.yml").replace(field, typo);
        let refused = parse::<Config>(&text).expect_err(typo);
        assert!(refused.contains(typo), "{refused}");
    }
}
