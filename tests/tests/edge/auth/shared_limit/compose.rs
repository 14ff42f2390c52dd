//! What the files for Compose make of the command line.
//! Follows the Compose specification (`entrypoint`, `command`, `volumes`) for `deploy/ratelimit/compose.yaml`.

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;
use xtask::workspace;

use super::fleet::shipped;

#[test]
fn compose_file_passes_the_overlay_to_envoy() {
    let compose: Value = serde_saphyr::from_str(&shipped("compose.yaml")).expect("it is YAML");
    let envoy = &compose["services"]["envoy"];
    let words = |field: &str| -> Vec<String> {
        serde_json::from_value(envoy[field].clone()).expect("it is a list of words")
    };
    let [mount] = &words("volumes")[..] else {
        panic!("the overlay is mounted, and nothing else");
    };
    let [source, target, "ro"] = mount.split(':').collect::<Vec<_>>()[..] else {
        panic!("{mount}");
    };
    let source = workspace::root().join(source);
    let source = source.to_str().expect("the path is UTF-8");
    let entrypoint = words("entrypoint").into_iter();
    // Compose reads two dollars as one.
    let mut entrypoint = entrypoint.map(|word| word.replace("$$", "$").replace(target, source));
    // An Envoy that says what it was told.
    let dir = tempfile::tempdir().unwrap();
    symlink("/bin/echo", dir.path().join("envoy")).unwrap();
    let output = Command::new(entrypoint.next().expect("a program"))
        .args(entrypoint)
        .args(words("command"))
        .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
        .output()
        .unwrap();
    let (flags, overlay) = (words("command").join(" "), shipped("envoy.yaml"));
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, format!("{flags} --config-yaml {overlay}"));
}
