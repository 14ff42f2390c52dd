//! Writes OCI image layouts: image-layout and image-spec 1.1.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::bufread::GzEncoder;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The tag of the images: the version of the workspace.
pub(crate) const TAG: &str = env!("CARGO_PKG_VERSION");

/// A layout with one image, whose layers are compressed with gzip without a time stamp.
pub(crate) struct Layout {
    dir: PathBuf,
    layers: Vec<Value>,
}

impl Layout {
    /// Makes the folder.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create {}", blobs.display()))?;
        Ok(Self {
            dir: dir.to_owned(),
            layers: Vec::new(),
        })
    }

    /// Compresses a layer's archive into the layout, and returns the digest of the archive, which belongs into `diff_ids`.
    pub(crate) fn add_layer(
        &mut self,
        archive: impl Read,
        compression: Compression,
    ) -> Result<String> {
        let hashed = std::io::BufReader::new(Hashed::new(archive));
        let mut compressed = GzBuilder::new().buf_read(hashed, compression);
        self.add_compressed_layer(&mut compressed)?;
        Ok(GzEncoder::into_inner(compressed).into_inner().digest())
    }

    /// Adds a layer that is compressed already.
    pub(crate) fn add_compressed_layer(&mut self, mut layer: impl Read) -> Result<()> {
        let path = self.dir.join("layer");
        let (digest, size) = copy_hashed(&mut layer, &path)?;
        let blob = self.blob(&digest);
        fs::rename(&path, &blob).with_context(|| format!("cannot write {}", blob.display()))?;
        self.layers.push(descriptor(LAYER, &digest, size));
        Ok(())
    }

    /// Writes configuration, manifest and index, and returns the SHA-256 of the manifest in hexadecimal.
    pub(crate) fn finish(self, config: &[u8], annotations: &Value) -> Result<String> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(CONFIG, config)?,
            "layers": self.layers,
            "annotations": annotations,
        })
        .to_string();
        let mut listed = self.add(MANIFEST, manifest.as_bytes())?;
        listed["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]});
        for (file, content) in [
            ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json", &index.to_string()),
        ] {
            write(&self.dir.join(file), content.as_bytes())?;
        }
        Ok(hex::encode(Sha256::digest(&manifest)))
    }

    /// Writes a blob and returns its descriptor.
    fn add(&self, media_type: &str, content: &[u8]) -> Result<Value> {
        let digest = hex::encode(Sha256::digest(content));
        write(&self.blob(&digest), content)?;
        Ok(descriptor(media_type, &digest, content.len() as u64))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest)
    }
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

/// Copies `from` into a file, and returns its digest and size.
fn copy_hashed(from: &mut impl Read, path: &Path) -> Result<(String, u64)> {
    let context = || format!("cannot write {}", path.display());
    let mut file = File::create(path).with_context(context)?;
    let mut hashed = Hashed::new(from);
    let size = std::io::copy(&mut hashed, &mut file).with_context(context)?;
    Ok((hex::encode(hashed.sum.finalize()), size))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// A reader that sums the bytes which it has read.
struct Hashed<R> {
    inner: R,
    sum: Sha256,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            sum: Sha256::new(),
        }
    }

    fn digest(self) -> String {
        format!("sha256:{}", hex::encode(self.sum.finalize()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.update(&buffer[..read]);
        Ok(read)
    }
}
