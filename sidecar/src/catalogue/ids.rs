//! The ids of a deployment: `codex-5` and `codev-5` with the efforts of the default model, every model that Codex
//! offers, and the ids of `PROXY_MODELS`.

use super::codex_models::{CodexModel, CodexModels};
use super::settings::{CatalogueSettings, ModelOverride, WILDCARD};
use crate::turn::Effort;

/// Ids that stand for the default model; each also exists with the suffix `-<effort>`.
const FAMILIES: [&str; 2] = ["codex-5", "codev-5"];

/// The efforts of a family without a model in Codex's list; every reasoning model of OpenAI has them.
const USUAL_EFFORTS: [&str; 3] = ["low", "medium", "high"];

/// The model ids of a deployment, and the default id.
#[derive(Debug, Clone)]
pub struct Catalogue {
    entries: Vec<CatalogueEntry>,
    /// The model of every unknown id, if the operator configured one.
    wildcard: Option<CatalogueEntry>,
    models: CodexModels,
}

#[derive(Debug, Clone)]
struct CatalogueEntry {
    id: String,
    model: String,
    effort: Option<Effort>,
    is_family: bool,
    is_listed: bool,
}

/// A model id, with the model behind it.
#[derive(Debug, Clone)]
pub struct CatalogueId<'a> {
    /// The id as this deployment spells it; for an unknown id, the client's spelling.
    pub id: &'a str,
    /// The name that is sent to the model provider.
    pub model: &'a str,
    /// The effort that the id selects.
    pub effort: Option<&'a Effort>,
    /// The efforts of the model, the lowest first; `None` where the provider decides.
    pub efforts: Option<&'a [Effort]>,
    /// Codex's entry for the model, if its list has one.
    pub codex_model: Option<&'a CodexModel>,
    /// Whether the id belongs to a family, which accepts efforts below the model's lowest.
    pub is_family: bool,
    /// Whether `/v1/models` lists the id.
    pub is_listed: bool,
}

impl CatalogueId<'_> {
    /// Returns the effort that the model uses for `effort`; `None` if the model does not have it.
    pub fn used_effort<'e>(&'e self, effort: &'e Effort) -> Option<&'e Effort> {
        let Some(efforts) = self.efforts else {
            return Some(effort); // The provider decides.
        };
        if efforts.contains(effort) {
            return Some(effort);
        }
        let lowest = efforts.first();
        lowest.filter(|_| self.is_family && effort.is_below_low())
    }
}

impl Catalogue {
    /// Builds the catalogue of a deployment with `name` as its only model, with every setting, for tests and benchmarks.
    #[cfg(any(test, feature = "harness"))]
    pub fn of_model(name: &str) -> std::sync::Arc<Self> {
        let efforts = ["low", "medium", "high", "xhigh"].into_iter();
        let model = CodexModel {
            name: name.to_owned(),
            efforts: efforts.filter_map(Effort::parse).collect(),
            context_window: None,
            has_verbosity: true,
            service_tiers: vec!["priority".to_owned()],
            is_visible: true,
            priority: 0,
        };
        let settings = CatalogueSettings::default();
        let models =
            CodexModels::new(vec![model], Some(name)).unwrap_or_else(|| CodexModels::only(name));
        Self::new(&settings, models).into()
    }

    /// Builds the catalogue of a deployment.
    pub fn new(settings: &CatalogueSettings, models: CodexModels) -> Self {
        let mut catalogue = Self {
            entries: Vec::new(),
            wildcard: None,
            models,
        };
        let default = catalogue.models.default_name().to_owned();
        // Both families are accepted in every deployment; `PROXY_ENV` only selects the listed one.
        for (family, is_codev) in FAMILIES.into_iter().zip([false, true]) {
            catalogue.add_family(family, &default, settings.lists_codev == is_codev);
        }
        let visible = catalogue.models.visible().map(|model| model.name.clone());
        // The default first; it need not be in Codex's list.
        let names: Vec<_> = std::iter::once(default.clone()).chain(visible).collect();
        for name in names {
            catalogue.add(CatalogueEntry {
                id: name.clone(),
                model: name,
                effort: None,
                is_family: false,
                is_listed: true,
            });
        }
        // Last, so that the operator can redefine a built-in id.
        for ModelOverride { id, model, effort } in settings.overrides.iter().cloned() {
            catalogue.add(CatalogueEntry {
                id,
                model: model.unwrap_or_else(|| default.clone()),
                effort,
                is_family: false,
                is_listed: true,
            });
        }
        catalogue
    }

    fn add_family(&mut self, family: &str, model: &str, is_listed: bool) {
        let own = self.models.efforts(model).map_or_else(
            || {
                USUAL_EFFORTS
                    .into_iter()
                    .filter_map(Effort::parse)
                    .collect()
            },
            <[Effort]>::to_vec,
        );
        // For clients of OpenAI's smaller models; they select the model's lowest effort.
        let below: Vec<_> = Effort::BELOW_LOW
            .into_iter()
            .filter_map(Effort::parse)
            .filter(|effort| !own.contains(effort))
            .map(|effort| (effort, false))
            .collect();
        let listed = own.into_iter().map(|effort| (effort, is_listed));
        let with_effort = listed.chain(below);
        let ids = with_effort.map(|(effort, is_listed)| {
            let id = format!("{family}-{}", effort.as_str());
            (id, Some(effort), is_listed)
        });
        let ids: Vec<_> = std::iter::once((family.to_owned(), None, is_listed))
            .chain(ids)
            .collect();
        for (id, effort, is_listed) in ids {
            self.add(CatalogueEntry {
                id,
                model: model.to_owned(),
                effort,
                is_family: true,
                is_listed,
            });
        }
    }

    /// Adds an entry, which replaces an earlier one with the same id in its place.
    fn add(&mut self, entry: CatalogueEntry) {
        if entry.id == WILDCARD {
            self.wildcard = Some(entry);
            return;
        }
        let same = |other: &&mut CatalogueEntry| other.id.eq_ignore_ascii_case(&entry.id);
        match self.entries.iter_mut().find(same) {
            Some(earlier) => *earlier = entry,
            None => self.entries.push(entry),
        }
    }

    /// Returns the model behind `id`, ignoring case and surrounding white space.
    pub fn find<'a>(&'a self, id: &'a str) -> Option<CatalogueId<'a>> {
        let id = id.trim();
        let known = |entry: &&CatalogueEntry| entry.id.eq_ignore_ascii_case(id);
        match self.entries.iter().find(known) {
            Some(entry) => Some(self.resolve(entry, &entry.id)),
            None if id.is_empty() => None,
            None => Some(self.resolve(self.wildcard.as_ref()?, id)),
        }
    }

    fn resolve<'a>(&'a self, entry: &'a CatalogueEntry, id: &'a str) -> CatalogueId<'a> {
        CatalogueId {
            id,
            model: &entry.model,
            effort: entry.effort.as_ref(),
            efforts: self.models.efforts(&entry.model),
            codex_model: self.models.get(&entry.model),
            is_family: entry.is_family,
            is_listed: entry.is_listed,
        }
    }

    /// Whether the deployment lists or accepts `id` by itself, not through the wildcard.
    pub fn has(&self, id: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.id.eq_ignore_ascii_case(id))
    }

    /// Returns the id for a request without a model.
    pub fn default_id(&self) -> &str {
        self.models.default_name()
    }

    /// Returns all ids in the order of `/v1/models`, without the wildcard.
    pub fn ids(&self) -> impl Iterator<Item = CatalogueId<'_>> {
        self.entries
            .iter()
            .map(|entry| self.resolve(entry, &entry.id))
    }

    /// Returns the ids of `PROXY_MODELS` whose effort the model does not have; requests with them are rejected.
    pub fn unusable(&self) -> impl Iterator<Item = CatalogueId<'_>> {
        self.ids().chain(self.wildcard()).filter(|id| {
            let (Some(effort), Some(efforts)) = (id.effort, id.efforts) else {
                return false;
            };
            !id.is_family && !efforts.contains(effort)
        })
    }

    /// Returns the model of every unknown id, if the operator configured one.
    pub fn wildcard(&self) -> Option<CatalogueId<'_>> {
        let entry = self.wildcard.as_ref()?;
        Some(self.resolve(entry, &entry.id))
    }
}
