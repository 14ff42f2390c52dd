//! The current models of a launch: the catalogue for requests, and the files that children are started with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::sync::{Mutex, watch};

use super::{catalog_files, list};
use crate::catalogue::{Catalogue, CatalogueSettings, CodexModels};
use crate::codex::launch::binary::CodexBinary;
use crate::codex::launch::config_toml::ConfigToml;
use crate::codex::launch::error::LaunchError;
use crate::codex::launch::version::Protocol;

/// The sources of the list: a Codex with a home and a provider.
#[derive(Clone, Copy)]
pub(in crate::codex::launch) struct ModelSource<'a> {
    pub(in crate::codex::launch) binary: &'a CodexBinary,
    pub(in crate::codex::launch) protocol: Protocol,
    pub(in crate::codex::launch) home: &'a Path,
    /// The settings of the provider that children use.
    pub(in crate::codex::launch) provider: &'a [(String, String)],
}

/// The models of Codex, as it reported them last.
#[derive(Debug)]
pub(in crate::codex::launch) struct ModelList {
    settings: CatalogueSettings,
    folder: PathBuf,
    catalogue: watch::Sender<Arc<Catalogue>>,
    /// Changes with the files, which a child reads at its start only.
    generation: AtomicU64,
    current: Mutex<Snapshot>,
}

/// One reading of the sources.
#[derive(Debug, PartialEq)]
struct Snapshot {
    models: CodexModels,
    /// The list for agents, complete with the operator's models; `None` with `proto`, whose children read no list.
    files: Option<Value>,
}

impl Snapshot {
    async fn read(
        settings: &CatalogueSettings,
        source: ModelSource<'_>,
    ) -> Result<Self, LaunchError> {
        let from_home = ConfigToml::read(source.home)?.model;
        let default = settings.codex_model.clone().or(from_home);
        if source.protocol == Protocol::Proto {
            return Ok(Self {
                models: list::of_proto(default.as_deref()),
                files: None,
            });
        }
        let listed = list::read(source.binary, source.provider).await?;
        let empty = || LaunchError::Models("the list of models is empty".to_owned());
        let models = list::parse(&listed, default.as_deref()).ok_or_else(empty)?;
        let names: Vec<_> = settings.model_names().into_iter().chain(default).collect();
        let files = catalog_files::complete(listed, &names).ok_or_else(empty)?;
        Ok(Self {
            models,
            files: Some(files),
        })
    }
}

impl ModelList {
    /// Reads the list for the first time, and writes the files for children into `folder`.
    ///
    /// # Errors
    /// Codex prints no list, `config.toml` is invalid, or a file cannot be written.
    pub(in crate::codex::launch) async fn read(
        settings: CatalogueSettings,
        source: ModelSource<'_>,
        folder: &Path,
    ) -> Result<Self, LaunchError> {
        let snapshot = Snapshot::read(&settings, source).await?;
        write_files(folder, &snapshot)?;
        let catalogue = Catalogue::new(&settings, snapshot.models.clone());
        Ok(Self {
            settings,
            folder: folder.to_owned(),
            catalogue: watch::Sender::new(Arc::new(catalogue)),
            generation: AtomicU64::new(0),
            current: Mutex::new(snapshot),
        })
    }

    /// Reads the list again. A changed list takes effect for the next request, and for the children that start next.
    ///
    /// # Errors
    /// As for `read`; the earlier list stays in effect.
    pub(in crate::codex::launch) async fn refresh(
        &self,
        source: ModelSource<'_>,
    ) -> Result<(), LaunchError> {
        let mut current = self.current.lock().await;
        let snapshot = Snapshot::read(&self.settings, source).await?;
        if *current == snapshot {
            return Ok(());
        }
        let catalogue = Catalogue::new(&self.settings, snapshot.models.clone());
        tracing::info!(default = catalogue.default_id(), "codex models changed");
        if current.files != snapshot.files {
            write_files(&self.folder, &snapshot)?;
            self.generation.fetch_add(1, Ordering::Release);
        }
        self.catalogue.send_replace(Arc::new(catalogue));
        *current = snapshot;
        Ok(())
    }

    /// Returns the model ids for a request.
    pub(in crate::codex::launch) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.borrow())
    }

    /// Returns a number that changes when a child that runs has read an outdated list.
    pub(in crate::codex::launch) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Returns the path of the list for plain models.
pub(in crate::codex::launch) fn plain_path(folder: &Path) -> PathBuf {
    folder.join("models.json")
}

/// Returns the path of the list for agents.
pub(in crate::codex::launch) fn agent_path(folder: &Path) -> PathBuf {
    folder.join("agent-models.json")
}

fn write_files(folder: &Path, snapshot: &Snapshot) -> Result<(), LaunchError> {
    let Some(files) = &snapshot.files else {
        return Ok(());
    };
    write(&agent_path(folder), files)?;
    write(&plain_path(folder), &catalog_files::plain(files.clone()))
}

/// Replaces a file by renaming a new one, because a child may be reading it.
fn write(path: &Path, list: &Value) -> Result<(), LaunchError> {
    let new = path.with_extension("new");
    std::fs::write(&new, list.to_string())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| LaunchError::Folder(path.to_owned(), error))
}
