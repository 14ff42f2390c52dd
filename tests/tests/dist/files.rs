//! The files of a release: sums, archive, bills of materials, image.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use xtask::command::output;

use crate::release::{Release, json};

#[test]
fn programs_of_the_archive_find_their_files_through_a_link() {
    let folder = TempDir::new().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(Release::get().file("-linux.tar.gz"));
    output(tar.arg("-C").arg(folder.path())).expect("tar extracts the archive");
    let archive = Release::get().file("-linux.tar.gz");
    let name = archive.file_name().unwrap().to_string_lossy();
    let unpacked = folder.path().join(name.trim_end_matches(".tar.gz"));
    let link = folder.path().join("linked");
    std::os::unix::fs::symlink(unpacked.join("codex-edge"), &link).unwrap();
    let check = Command::new(&link)
        .args(["check", "--demo"])
        .env("ENVOY_BIN", Release::get().environment().join("bin/envoy"))
        .env("CODEX_BIN", crate::release::codex())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&check.stdout);
    let complete = format!("ok    package      complete, in {}\n", unpacked.display());
    assert!(report.contains(&complete), "{report}");
    assert!(report.contains("ok    filter.yaml  "), "{report}");
}

#[test]
fn bills_of_materials_are_closed_graphs_of_the_linked_crates() {
    let release = Release::get();
    for (file, linked, unlinked) in [
        ("-linux.cdx.json", "hyper", "wasmtime"),
        (
            concat!("codex-edge-filter-", env!("CARGO_PKG_VERSION"), ".cdx.json"),
            "proxy-wasm",
            "tokio",
        ),
    ] {
        let bill = json(&release.file(file));
        assert_eq!(
            (&bill["bomFormat"], &bill["specVersion"]),
            (&Value::from("CycloneDX"), &Value::from("1.6"))
        );
        let of = |field: &str| bill[field].as_array().expect(field).iter();
        let names: BTreeSet<_> = of("components")
            .map(|c| c["name"].as_str().unwrap())
            .collect();
        assert!(
            names.contains(linked) && !names.contains(unlinked),
            "{file}: {names:?}"
        );
        let refs: Vec<_> = of("components")
            .map(|c| c["bom-ref"].as_str().unwrap())
            .collect();
        let known: BTreeSet<_> = refs.iter().copied().collect();
        assert_eq!(
            refs.len(),
            known.len(),
            "{file}: a component is listed twice"
        );
        for dependency in of("dependencies") {
            for on in dependency["dependsOn"].as_array().expect("a list") {
                assert!(known.contains(on.as_str().unwrap()), "{file}: {on}");
            }
        }
    }
}

#[test]
fn image_layout_of_the_filter_is_read_by_skopeo() {
    let folder = TempDir::new().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(Release::get().file(".oci.tar.gz"));
    output(tar.arg("-C").arg(folder.path())).expect("tar extracts the layout");
    let image = format!(
        "oci:{}:{}",
        folder.path().display(),
        env!("CARGO_PKG_VERSION")
    );
    let inspected = output(Command::new("skopeo").args(["inspect", &image]));
    let inspected: Value = serde_json::from_str(&inspected.unwrap()).unwrap();
    assert_eq!(inspected["Os"], "wasip1");
}

#[test]
fn wheel_carries_its_bill_of_materials_and_licence() {
    let site = Release::get().site_packages();
    let info = site.join(concat!(
        "codex_edge-",
        env!("CARGO_PKG_VERSION"),
        ".dist-info"
    ));
    assert!(info.join("licenses/LICENSE").is_file());
    let bill = json(&info.join("sboms/codex-edge.cdx.json"));
    assert_eq!(bill, json(&Release::get().file("-linux.cdx.json")));
}
