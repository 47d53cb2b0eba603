//! What a source offers, and why it may be refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt_access_core::bundle::{self, BundleError, Digest, EnvelopeError, IndexFile};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::template::TemplateError;
use thiserror::Error;

use crate::metrics::ReloadFailure;
use crate::tenant_key::TenantKey;

/// The bytes of a shard, shared between the source, the last good bundle and the state folder.
pub type Shard = Arc<Vec<u8>>;

/// A bundle as files. Shards that its index does not name are ignored.
#[derive(Clone, Default)]
pub struct Files {
    /// The index file.
    pub index: Vec<u8>,
    /// Shards by their digests. Those of the last good bundle may be left out.
    pub shards: BTreeMap<Digest, Shard>,
}

/// Why an offer is refused. No variant and no message holds content of a bundle.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The bytes are not a bundle, or not all of one.
    #[error("the bundle does not decode")]
    Bundle(#[from] BundleError),
    /// A topic in it is one that the compiler would have refused.
    #[error("the bundle holds a topic that is none; compile it again")]
    Topic(#[from] TemplateError),
    /// The index is another tenant's.
    #[error("the index is of another tenant than its name says; compile the bundle again")]
    Foreign,
    /// Older than what is in service, of the same tenant UID.
    #[error("revision {offered} is older than {held}, which is in service")]
    RevisionBack {
        /// What was offered.
        offered: u64,
        /// What is in service.
        held: u64,
    },
    /// The Secret has no such key.
    #[error("the Secret has no data `{0}`")]
    NoData(&'static str),
    /// A file could not be read.
    #[error("a file of the bundle cannot be read")]
    Io(#[from] std::io::Error),
    /// The API server did not give a shard.
    #[error("a shard cannot be fetched")]
    Fetch(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ReloadError {
    /// The kind, for metrics.
    pub(crate) fn kind(&self) -> ReloadFailure {
        match self {
            Self::Bundle(BundleError::Index(error) | BundleError::Shard(_, error)) => match error {
                EnvelopeError::Header => ReloadFailure::Header,
                EnvelopeError::Version(_) => ReloadFailure::UnknownVersion,
                EnvelopeError::Digest => ReloadFailure::WrongDigest,
            },
            Self::Bundle(BundleError::ShardMissing(_)) => ReloadFailure::ShardMissing,
            Self::Bundle(BundleError::Payload(_)) => ReloadFailure::Payload,
            Self::Topic(_) => ReloadFailure::Topic,
            Self::Foreign => ReloadFailure::Foreign,
            Self::RevisionBack { .. } => ReloadFailure::RevisionBack,
            Self::NoData(_) => ReloadFailure::NoData,
            Self::Io(_) => ReloadFailure::Unreadable,
            Self::Fetch(_) => ReloadFailure::FetchFailed,
        }
    }
}

impl Files {
    /// The files of a bundle that was just compiled.
    #[must_use]
    pub fn new(index: Vec<u8>, shards: BTreeMap<Digest, Vec<u8>>) -> Self {
        Self { index, shards: shards.into_iter().map(|(digest, bytes)| (digest, Arc::new(bytes))).collect() }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("shards", &self.shards.keys()).finish_non_exhaustive()
    }
}

/// A bundle that decoded completely. (pure)
pub(super) struct Decoded {
    pub(super) index: Vec<u8>,
    pub(super) shards: BTreeMap<Digest, Shard>,
    pub(super) tenant: Arc<TenantIndex>,
}

/// Reads an index and checks that it is this tenant's. (pure)
pub(super) fn read_index(key: &TenantKey, bytes: &[u8]) -> Result<IndexFile, ReloadError> {
    let file = bundle::decode_index(bytes)?;
    if key.is_of(&file.tenant) { Ok(file) } else { Err(ReloadError::Foreign) }
}

/// Decodes the rest, taking shards from the offer or from the last good bundle. (pure)
pub(super) fn decode(
    file: &IndexFile,
    files: Files,
    held: Option<&BTreeMap<Digest, Shard>>,
) -> Result<Decoded, ReloadError> {
    let Files { index, shards: offered } = files;
    let find = |digest: &Digest| offered.get(digest).or_else(|| held?.get(digest));
    let bundle = bundle::decode(file, |digest| find(digest).map(|bytes| Cow::Borrowed(bytes.as_slice())))?;
    let tenant = Arc::new(TenantIndex::new(bundle, file.revision)?);
    let keep = |digest: &Digest| Some((digest.clone(), Arc::clone(find(digest)?)));
    let shards = file.shards.iter().filter_map(keep).collect();
    Ok(Decoded { index, shards, tenant })
}
