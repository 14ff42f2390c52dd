//! Reads the archive of `docker save`: `manifest.json` names the configuration and the layers. Before version 25 a layer is
//! `ID/layer.tar`, or a link to an equal one; since then it is a blob, which a containerd image store keeps compressed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use serde_json::Value;
use tar::{Archive, Entry, EntryType};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An image in the archive.
pub(super) struct SavedImage {
    file: File,
    /// Configuration of the image, as in the archive.
    pub(super) config: Vec<u8>,
    /// Layers, the lowest first.
    pub(super) layers: Vec<SavedLayer>,
}

/// Place of a layer, or of another file, in the archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct SavedLayer {
    offset: u64,
    size: u64,
}

impl SavedLayer {
    fn read(self, mut file: &File) -> Result<Take<&File>> {
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(file.take(self.size))
    }
}

impl SavedImage {
    /// Reads the table of contents of an archive with one image.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(context)?;
        let contents = Contents::read(&file).with_context(context)?;
        let manifest = contents.bytes(&file, "manifest.json")?;
        let manifest: Value = serde_json::from_slice(&manifest).with_context(context)?;
        let image = &manifest[0];
        let config = image["Config"].as_str().context("no configuration")?;
        let mut layers = Vec::new();
        for layer in image["Layers"].as_array().context("no layers")? {
            layers.push(contents.find(layer.as_str().unwrap_or_default())?);
        }
        Ok(Self {
            config: contents.bytes(&file, config)?,
            layers,
            file,
        })
    }

    /// Returns the bytes of a layer, until the next call: the readers share the position in the file.
    pub(super) fn read(&self, layer: SavedLayer) -> Result<Take<&File>> {
        layer.read(&self.file)
    }

    /// Whether a layer is compressed.
    pub(super) fn is_compressed(&self, layer: SavedLayer) -> Result<bool> {
        let mut start = Vec::new();
        self.read(layer)?.take(2).read_to_end(&mut start)?;
        Ok(start == GZIP)
    }

    /// Returns the content of a file of the image, in the highest layer that has it.
    pub(super) fn file(&self, path: &str) -> Result<Option<String>> {
        for layer in self.layers.iter().rev() {
            let found = if self.is_compressed(*layer)? {
                find_file(GzDecoder::new(self.read(*layer)?), path)?
            } else {
                find_file(self.read(*layer)?, path)?
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn find_file(layer: impl Read, path: &str) -> Result<Option<String>> {
    for entry in Archive::new(layer).entries()? {
        let mut entry = entry?;
        let is_named = without_dots(&entry.path()?) == Path::new(path);
        if is_named && entry.header().entry_type().is_file() {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// The files and links of the archive.
#[derive(Default)]
struct Contents {
    files: HashMap<PathBuf, SavedLayer>,
    links: HashMap<PathBuf, PathBuf>,
}

impl Contents {
    fn read(file: &File) -> Result<Self> {
        let mut contents = Self::default();
        for entry in Archive::new(file).entries_with_seek()? {
            contents.add(&entry?)?;
        }
        Ok(contents)
    }

    fn add(&mut self, entry: &Entry<'_, &File>) -> Result<()> {
        let path = entry.path()?.into_owned();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let place = SavedLayer {
                    offset: entry.raw_file_position(),
                    size: entry.size(),
                };
                self.files.insert(path, place);
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.context("a link without a target")?;
                let folder = path.parent().unwrap_or(Path::new(""));
                let target = without_dots(&folder.join(target));
                self.links.insert(path, target);
            }
            _ => {}
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<SavedLayer> {
        let path = Path::new(name);
        let path = self.links.get(path).map_or(path, PathBuf::as_path);
        match self.files.get(path) {
            Some(place) => Ok(*place),
            None => bail!("the archive of the engine lacks {name}"),
        }
    }

    fn bytes(&self, file: &File, name: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.find(name)?.read(file)?.read_to_end(&mut content)?;
        Ok(content)
    }
}

/// Resolves `.` and `..` in a path of an archive, which has no links between folders.
fn without_dots(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}
