//! The ids of a catalogue, from a list of Codex and the operator's settings.

use super::{Catalogue, CatalogueSettings, CodexModel, CodexModels, ModelOverride};
use crate::turn::Effort;

fn model(name: &str, priority: i64, efforts: &[&str]) -> CodexModel {
    CodexModel {
        name: name.to_owned(),
        efforts: efforts
            .iter()
            .filter_map(|name| Effort::parse(name))
            .collect(),
        context_window: Some(1000),
        has_verbosity: true,
        service_tiers: Vec::new(),
        is_visible: priority < 10,
        priority,
    }
}

fn models(default: Option<&str>) -> CodexModels {
    let list = vec![
        model("gpt-b", 2, &["low", "high", "max"]),
        model("gpt-a", 1, &["low", "medium"]),
        model("gpt-hidden", 11, &["low"]),
    ];
    CodexModels::new(list, default).unwrap()
}

fn catalogue(codex_model: Option<&str>, overrides: &str, lists_codev: bool) -> Catalogue {
    let settings = CatalogueSettings {
        codex_model: codex_model.map(str::to_owned),
        lists_codev,
        overrides: ModelOverride::parse_all(overrides).unwrap(),
    };
    Catalogue::new(&settings, models(codex_model))
}

fn listed(catalogue: &Catalogue) -> Vec<String> {
    let listed = catalogue.ids().filter(|id| id.is_listed);
    listed.map(|id| id.id.to_owned()).collect()
}

#[test]
fn the_default_is_the_first_visible_model_with_its_own_efforts() {
    let own = catalogue(None, "{}", false);
    assert_eq!(own.default_id(), "gpt-a");
    let expected = ["codex-5", "codex-5-low", "codex-5-medium", "gpt-a", "gpt-b"];
    assert_eq!(listed(&own), expected);
    let chosen = catalogue(Some("gpt-b"), "{}", true);
    let expected = [
        "codev-5",
        "codev-5-low",
        "codev-5-high",
        "codev-5-max",
        "gpt-b",
        "gpt-a",
    ];
    assert_eq!(listed(&chosen), expected);
}

#[test]
fn a_model_outside_of_the_list_has_the_usual_efforts_and_accepts_any() {
    let catalogue = catalogue(Some("local"), "{}", false);
    let expected = [
        "codex-5",
        "codex-5-low",
        "codex-5-medium",
        "codex-5-high",
        "local",
        "gpt-a",
        "gpt-b",
    ];
    assert_eq!(listed(&catalogue), expected);
    assert_eq!(catalogue.find("local").unwrap().efforts, None);
}

#[test]
fn ids_are_found_in_any_case_and_hidden_models_are_not() {
    let catalogue = catalogue(None, r#"{"Fast":{"model":"gpt-b","effort":"max"}}"#, false);
    for (id, expected) in [
        ("codex-5", Some(("codex-5", "gpt-a", None))),
        (
            "CODEV-5-Medium",
            Some(("codev-5-medium", "gpt-a", Some("medium"))),
        ),
        (
            "codex-5-minimal",
            Some(("codex-5-minimal", "gpt-a", Some("minimal"))),
        ),
        (" gpt-b ", Some(("gpt-b", "gpt-b", None))),
        ("fast", Some(("Fast", "gpt-b", Some("max")))),
        ("codex-5-max", None),
        ("gpt-hidden", None),
        ("*", None),
        ("", None),
    ] {
        let entry = catalogue.find(id);
        let found = entry
            .as_ref()
            .map(|found| (found.id, found.model, found.effort.map(Effort::as_str)));
        assert_eq!(found, expected, "{id:?}");
    }
}

#[test]
fn the_wildcard_stands_for_unknown_ids_only() {
    let catalogue = catalogue(None, r#"{"*":{"model":"gpt-b","effort":"low"}}"#, false);
    let unknown = catalogue.find("gpt-4o").unwrap();
    assert_eq!((unknown.id, unknown.model), ("gpt-4o", "gpt-b"));
    assert_eq!(catalogue.find("codex-5").unwrap().model, "gpt-a");
    assert!(catalogue.find(" ").is_none());
    assert!(!listed(&catalogue).contains(&"*".to_owned()));
}

#[test]
fn an_override_with_an_effort_that_the_model_does_not_have_is_reported() {
    let overrides = r#"{"a":{"effort":"max"},"b":{"effort":"low"},"*":{"effort":"none"}}"#;
    let catalogue = catalogue(None, overrides, false);
    let unusable: Vec<_> = catalogue.unusable().map(|id| id.id.to_owned()).collect();
    assert_eq!(unusable, ["a", "*"]);
}

#[test]
fn an_override_replaces_a_built_in_id_in_its_place() {
    let catalogue = catalogue(None, r#"{"codex-5":{"model":"gpt-hidden"}}"#, false);
    assert_eq!(listed(&catalogue)[0], "codex-5");
    assert_eq!(catalogue.find("codex-5").unwrap().model, "gpt-hidden");
}

#[test]
fn an_override_that_no_request_can_name_is_rejected() {
    for id in ["", " ", " fast", "fast\\n", "gpt-*"] {
        let json = format!(r#"{{"{id}":{{}}}}"#);
        let error = ModelOverride::parse_all(&json).unwrap_err();
        assert!(error.to_string().starts_with("invalid model id"), "{error}");
    }
    let error = ModelOverride::parse_all(r#"{"a":{"effort":"very high"}}"#).unwrap_err();
    assert!(error.to_string().starts_with("invalid effort"), "{error}");
}

#[test]
fn a_codex_without_a_list_has_one_set_of_efforts() {
    let efforts: Vec<_> = ["minimal", "low"]
        .into_iter()
        .filter_map(Effort::parse)
        .collect();
    let models = CodexModels::without_list("gpt-5", efforts);
    let catalogue = Catalogue::new(&CatalogueSettings::default(), models);
    assert_eq!(
        listed(&catalogue),
        ["codex-5", "codex-5-minimal", "codex-5-low", "gpt-5"]
    );
    assert_eq!(CodexModels::new(Vec::new(), None), None);
}
