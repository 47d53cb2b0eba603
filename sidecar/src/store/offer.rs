//! What a source offers, and why it may be refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt_access_core::bundle::{self, BundleError, Digest, EnvelopeError};
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

/// A bundle that decoded completely.
pub(crate) struct Decoded {
    pub(crate) index: Vec<u8>,
    pub(crate) shards: BTreeMap<Digest, Shard>,
    pub(super) tenant: Arc<TenantIndex>,
}

/// What came of checking an offer.
pub(super) struct Checked {
    /// Of the index that was offered.
    pub(super) digest: Digest,
    pub(super) result: Result<Arc<Decoded>, ReloadError>,
}

/// Checks an offer completely, against what was in service when that began. (pure)
///
/// This is the slow part, and needs no lock. What is in service already is not decoded again.
pub(super) fn check(key: &TenantKey, files: Files, held: Option<&Arc<Decoded>>) -> Checked {
    let digest = Digest::of(&files.index);
    let result = match held {
        Some(held) if held.index == files.index => Ok(Arc::clone(held)),
        _ => decode(key, files, held.map(AsRef::as_ref)).map(Arc::new),
    };
    Checked { digest, result }
}

/// Takes shards from the offer or from what is in service.
fn decode(key: &TenantKey, files: Files, held: Option<&Decoded>) -> Result<Decoded, ReloadError> {
    let Files { index, shards: offered } = files;
    let file = bundle::decode_index(&index)?;
    if !key.is_of(&file.tenant) {
        return Err(ReloadError::Foreign);
    }
    may_follow(held, &file.tenant.uid, file.revision)?;
    let find = |digest: &Digest| offered.get(digest).or_else(|| held?.shards.get(digest));
    let bundle = bundle::decode(&file, |digest| find(digest).map(|bytes| Cow::Borrowed(bytes.as_slice())))?;
    let tenant = Arc::new(TenantIndex::new(bundle, file.revision)?);
    let keep = |digest: &Digest| Some((digest.clone(), Arc::clone(find(digest)?)));
    let shards = file.shards.iter().filter_map(keep).collect();
    Ok(Decoded { index, shards, tenant })
}

/// A revision never goes back. Another UID is another tenant of the same name: its revisions start anew. (pure)
pub(super) fn may_follow(held: Option<&Decoded>, uid: &str, offered: u64) -> Result<(), ReloadError> {
    match held.map(|held| &held.tenant) {
        Some(held) if held.tenant().uid == uid && offered < held.revision() => {
            Err(ReloadError::RevisionBack { offered, held: held.revision() })
        }
        _ => Ok(()),
    }
}
