//! `PROXY_MODELS`: rejected, or every id of it is one that a client may use, and the catalogue is a list of models.

use std::sync::Arc;

use serde_json::Value;
use sidecar::catalogue::{Catalogue, CatalogueSettings, CodexModels, ModelOverride};
use sidecar::openai::models::ModelAccess;

pub(crate) fn check(input: &[u8]) {
    let Ok(json) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(overrides) = ModelOverride::parse_all(json) else {
        return;
    };
    let ids: serde_json::Map<String, Value> =
        serde_json::from_str(json).expect("an accepted value is an object");
    let settings = CatalogueSettings {
        codex_model: None,
        lists_codev: true,
        overrides,
    };
    let catalogue = Arc::new(Catalogue::new(&settings, CodexModels::only("gpt-5")));
    for id in ids.keys() {
        assert!(catalogue.find(id).is_some(), "{id:?} cannot be requested");
    }
    let access = ModelAccess::new(Arc::clone(&catalogue), None);
    for listed in catalogue.ids() {
        let id = listed.id;
        assert!(
            catalogue.find(id).is_some(),
            "{id:?} is listed and cannot be requested"
        );
        access.one(id).expect("a listed model can be retrieved");
    }
    serde_json::from_slice::<Value>(&access.list()).expect("the list is JSON");
}
