//! Changes that an operator makes while the stack runs: keys, certificates, the login.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use xtask::command::output;

use crate::stack::{CONFIG, Stack};

/// Writes a filter.yaml with further keys into the folder of the operator, in place.
pub(crate) fn write_keys(stack: &Stack<'_>, keys: &Value) {
    let shipped = fs::read_to_string(stack.path("envoy/filter.yaml")).expect("copied");
    let config = with_keys(&shipped, keys);
    fs::write(stack.path(CONFIG).join("filter.yaml"), config).expect("the folder is writable");
}

/// Adds keys to the text of a filter.yaml as it ships.
pub(crate) fn with_keys(shipped: &str, keys: &Value) -> String {
    let fields = json!({"hold_headers": true, "keys": keys});
    let config = shipped.replace(r#"'{"hold_headers": true}'"#, &format!("'{fields}'"));
    assert_ne!(config, shipped);
    config
}

pub(crate) fn keys_are_read_again(stack: &Stack<'_>) {
    let ann = stack.client().with_key("sk-of-ann-0123456789");
    assert_eq!(ann.get("/v1/usage").status, 401);
    write_keys(stack, &json!([{"id": "ann", "key": ann.key}]));
    ann.wait_for(|| ann.get("/v1/usage"), |answer| answer.status == 200);
    assert_eq!(
        stack.client().get("/v1/usage").status,
        200,
        "the key of .env"
    );
    // A rejected file leaves the previous one in force.
    write_keys(stack, &json!([{"id": "ann", "sha": "short"}]));
    stack.wait_for_log("envoy", "codex_edge");
    assert_eq!(ann.get("/v1/usage").status, 200);
    fs::remove_file(stack.path(CONFIG).join("filter.yaml")).expect("written above");
    ann.wait_for(|| ann.get("/v1/usage"), |answer| answer.status == 401);
}

pub(crate) fn certificates_are_read_again(stack: &Stack<'_>) {
    let folder = stack.path(CONFIG);
    let secure = |authority: &Path| {
        let mut client = stack.client();
        client.url = client.url.replace("http:", "https:");
        client.options = vec!["--cacert".into(), authority.display().to_string()];
        client
    };
    let first = write_certificate(stack, "first");
    stack.compose(&["restart", "envoy"]);
    secure(&first).wait_for_chat();
    stack.wait_for_log(
        "envoy",
        &format!("base URL  https://127.0.0.1:{}/v1", stack.port),
    );
    let second = write_certificate(stack, "second");
    secure(&second).wait_for_chat();
    assert_eq!(
        secure(&first).get("/healthz").status,
        0,
        "the first certificate is still served"
    );
    stack.wait_for_states(super::survival::HEALTHY);
    for file in ["tls.crt", "tls.key"] {
        fs::remove_file(folder.join(file)).expect("written above");
    }
    stack.compose(&["restart", "envoy"]);
    stack.client().wait_for_chat();
}

/// Makes a certificate, puts it into the folder of the operator, and returns the file to verify it with.
fn write_certificate(stack: &Stack<'_>, name: &str) -> std::path::PathBuf {
    let file = |ending: &str| stack.path(&format!("{name}.{ending}"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    openssl.args([
        "-subj",
        "/CN=edge",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
    ]);
    output(openssl.arg(file("key")).arg("-out").arg(file("crt"))).expect("openssl is installed");
    for ending in ["crt", "key"] {
        // Written in place, as an editor or a renewal may do.
        let text = fs::read(file(ending)).expect("written above");
        fs::write(stack.path(CONFIG).join(format!("tls.{ending}")), text)
            .expect("the folder is writable");
    }
    file("crt")
}

/// The live stack without a login says what to run, and takes the login without a restart.
pub(crate) fn running_sidecar_takes_a_login(stack: &Stack<'_>) {
    stack.compose(&["down"]);
    stack.choose("live", &[]);
    stack.compose(&["up", "--detach"]);
    let client = stack.client();
    client.wait_for(
        || client.chat("Hi."),
        |answer| answer.body.contains("codex_login_required"),
    );
    stack.wait_for_log("sidecar", "codex login missing");
    stack.wait_for_log(
        "envoy",
        "docker compose exec sidecar codex login --device-auth",
    );
    stack.wait_for_states(&["envoy running healthy", "sidecar running unhealthy"]);
    let mut login = stack
        .command()
        .args(["exec", "-T", "sidecar", "codex", "login", "--with-api-key"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("Docker Compose is executable");
    let mut stdin = login.stdin.take().expect("stdin is piped");
    stdin
        .write_all(b"sk-of-a-team")
        .expect("Codex reads its stdin");
    drop(stdin);
    assert!(login.wait().expect("Compose is a child").success());
    client.wait_for(
        || client.get("/healthz"),
        |answer| answer.body.contains(r#""login":"api_key""#),
    );
    client.wait_for(|| client.get("/readyz"), |answer| answer.status == 200);
    // The login is in a volume.
    stack.compose(&["down"]);
    stack.compose(&["up", "--detach"]);
    client.wait_for(|| client.get("/readyz"), |answer| answer.status == 200);
    stack.compose(&["down"]);
    stack.choose("demo", &[]);
}
