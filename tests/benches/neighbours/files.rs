//! Bundles as files for the source `dir`, also for a sidecar that knows no newer format than version 4.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mqtt_access_core::bundle::{Bundle, Digest, Encoded, FORMAT_VERSION, encode};

/// The format version that a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Newest,
    /// The bundles of this benchmark use no field that version 4 does not know.
    Version4,
}

/// A bundle in a folder of its own, as `compile --out` writes it.
pub(crate) struct Files {
    folder: PathBuf,
    encoded: Encoded,
    format: Format,
    written: bool,
}

impl Files {
    pub(crate) fn of(folder: &Path, bundle: &Bundle, format: Format) -> Self {
        let folder = folder.join(format!("{}.{}", bundle.tenant.namespace, bundle.tenant.name));
        Self { folder, encoded: encode(bundle).unwrap(), format, written: false }
    }

    /// Puts it in force: the shards, unless they are there, and the index last.
    pub(crate) fn publish(&mut self, revision: u64) {
        let mut index = self.encoded.index(revision).unwrap();
        let mut shards = Vec::new();
        if !self.written || self.format == Format::Version4 {
            shards = self.encoded.shards.clone().into_iter().collect();
        }
        if self.format == Format::Version4 {
            (index, shards) = downgrade(&index, &shards);
        }
        fs::create_dir_all(&self.folder).unwrap();
        for (digest, bytes) in shards {
            fs::write(self.folder.join(format!("shard-{digest}")), bytes).unwrap();
        }
        fs::write(self.folder.join("index.new"), index).unwrap();
        fs::rename(self.folder.join("index.new"), self.folder.join("index")).unwrap();
        self.written = true;
    }
}

/// The same content under the headers of version 4. The digests of shards cover their headers, so they change too.
fn downgrade(index: &[u8], shards: &[(Digest, Vec<u8>)]) -> (Vec<u8>, Vec<(Digest, Vec<u8>)>) {
    let mut renamed = BTreeMap::new();
    let mut older = Vec::new();
    for (digest, bytes) in shards {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let newest = format!("mqtt-access-shard {FORMAT_VERSION} ");
        let bytes = text.replacen(&newest, "mqtt-access-shard 4 ", 1).into_bytes();
        renamed.insert(digest.to_string(), Digest::of(&bytes));
        older.push((Digest::of(&bytes), bytes));
    }
    let text = String::from_utf8(index.to_vec()).unwrap();
    let (_header, payload) = text.split_once('\n').unwrap();
    let (before, content) = payload.split_once("\"content\":").unwrap();
    let revision = before.split_once("\"revision\":").unwrap().1.split(',').next().unwrap();
    let mut content = content.strip_suffix('}').unwrap().to_owned();
    for (old, new) in &renamed {
        content = content.replace(old.as_str(), new.as_str());
    }
    let digest = Digest::of(content.as_bytes());
    let payload = format!("{{\"revision\":{revision},\"digest\":\"{digest}\",\"content\":{content}}}");
    let header = format!("mqtt-access-index 4 sha256:{}\n", Digest::of(payload.as_bytes()));
    ([header, payload].concat().into_bytes(), older)
}
