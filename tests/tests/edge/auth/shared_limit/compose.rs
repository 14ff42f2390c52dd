//! The Compose overlay: Envoy's command line with the rate limit configuration.
//! Follows the Compose specification (`entrypoint`, `command`, `volumes`) for `deploy/ratelimit/compose.yaml`.

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;
use xtask::workspace;

use super::fleet::shipped;

#[test]
fn compose_file_passes_the_overlay_to_envoy() {
    let compose: Value =
        serde_saphyr::from_str(&shipped("compose.yaml")).expect("`compose.yaml` is YAML");
    let envoy = &compose["services"]["envoy"];
    let words = |field: &str| -> Vec<String> {
        serde_json::from_value(envoy[field].clone()).expect("a list of strings")
    };
    let [mount] = &words("volumes")[..] else {
        panic!("the overlay must be the only mount");
    };
    let [source, target, "ro"] = mount.split(':').collect::<Vec<_>>()[..] else {
        panic!("{mount}");
    };
    let overlay_path = workspace::root().join(source).display().to_string();
    let mut entrypoint = words("entrypoint")
        .into_iter()
        // Compose interpolates `$$` as a literal dollar sign.
        .map(|word| word.replace("$$", "$").replace(target, &overlay_path));
    // A stand-in for Envoy that prints its arguments.
    let dir = tempfile::tempdir().unwrap();
    symlink("/bin/echo", dir.path().join("envoy")).unwrap();
    let output = Command::new(entrypoint.next().expect("a program"))
        .args(entrypoint)
        .args(words("command"))
        .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
        .output()
        .unwrap();
    let (flags, overlay) = (words("command").join(" "), shipped("envoy.yaml"));
    let arguments = String::from_utf8(output.stdout).unwrap();
    assert_eq!(arguments, format!("{flags} --config-yaml {overlay}"));
}
