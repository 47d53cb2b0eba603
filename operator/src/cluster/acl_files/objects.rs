//! What the objects that hold ACL files look like (pure).

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as KubeSecret};
use kube::core::ObjectMeta;
use mqtt_access_core::acl_file::{File, Sections};
use mqtt_access_core::bundle::Digest;
use serde::Serialize;

use super::is_open;
use crate::cluster::cache::{Cached, Group, ObjectKey};
use crate::cluster::publish::bundle_labels;
use crate::cluster::world::key_of;
use crate::names::{self, BUNDLE_LABEL, MANAGER, TENANT_LABEL, TENANT_NAMESPACE_LABEL};

/// What the values of a `ConfigMap` may come to, less some room for the comments that stand in for what does not fit.
const LIMIT: usize = 1024 * 1024 - 4096;
/// The broker's own objects. No tenant's has such a name: they hold dots.
pub(super) const BROKER_MAP: &str = "acl";
pub(super) const BROKER_SECRET: &str = "mosquitto-passwords";

/// The value of [`BUNDLE_LABEL`] on such `ConfigMap`s.
pub(in crate::cluster) const MAP_LABEL: &str = "acl";
/// The value of [`BUNDLE_LABEL`] on such Secrets.
pub(in crate::cluster) const SECRET_LABEL: &str = "passwords";

/// An object as it stands in the cluster: enough to tell whether it is as it should be.
#[derive(Debug)]
pub(in crate::cluster) struct AclObject {
    pub(super) metadata: ObjectMeta,
    pub(super) digest: Digest,
}

impl AclObject {
    /// The tenant that it is of; `None` for the broker's own.
    pub(super) fn tenant(&self) -> Option<ObjectKey> {
        let label = |name: &str| self.metadata.labels.as_ref()?.get(name).cloned();
        Some(ObjectKey::new(label(TENANT_NAMESPACE_LABEL)?, label(TENANT_LABEL)?))
    }

    /// Whether it is as it should be, up to what somebody else may have put beside it.
    pub(super) fn is(&self, labels: &BTreeMap<String, String>, digest: &Digest) -> bool {
        let present = self.metadata.labels.as_ref();
        let has = |(name, value)| present.is_some_and(|present| present.get(name) == Some(value));
        self.digest == *digest && labels.iter().all(has)
    }
}

impl Cached for AclObject {
    fn key(&self) -> ObjectKey {
        key_of(&self.metadata)
    }

    /// A change of it concerns the broker, and no reconcile.
    fn groups(&self) -> Vec<Group> {
        Vec::new()
    }
}

impl From<ConfigMap> for AclObject {
    fn from(map: ConfigMap) -> Self {
        let ConfigMap { metadata, data, binary_data, .. } = map;
        let digest = match binary_data {
            Some(binary) if !binary.is_empty() => digest(&(data, binary)),
            _ => digest(&data.unwrap_or_default()),
        };
        Self { metadata, digest }
    }
}

impl From<KubeSecret> for AclObject {
    fn from(secret: KubeSecret) -> Self {
        let KubeSecret { metadata, data, .. } = secret;
        Self { metadata, digest: digest(&data.unwrap_or_default()) }
    }
}

/// Of the data of an object.
pub(super) fn digest(data: &impl Serialize) -> Digest {
    // Maps from strings to strings and bytes are JSON; an object that were not would be written again and again.
    Digest::of(&serde_json::to_vec(data).unwrap_or_default())
}

/// Name of the `ConfigMap` of a tenant.
pub(super) fn tenant_map(tenant: &ObjectKey) -> String {
    names::acl(&names::bundle(&tenant.namespace, &tenant.name))
}

pub(super) fn config_map(name: String, labels: BTreeMap<String, String>, data: BTreeMap<String, String>) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

pub(super) fn secret(data: BTreeMap<String, ByteString>) -> KubeSecret {
    let name = Some(BROKER_SECRET.to_owned());
    let metadata = ObjectMeta { name, labels: Some(broker_labels(SECRET_LABEL)), ..ObjectMeta::default() };
    KubeSecret { metadata, data: Some(data), type_: Some("mqttaccess.io/acl".to_owned()), ..KubeSecret::default() }
}

pub(super) fn tenant_labels(tenant: &ObjectKey) -> BTreeMap<String, String> {
    bundle_labels(tenant, MAP_LABEL)
}

pub(super) fn broker_labels(kind: &str) -> BTreeMap<String, String> {
    [(BUNDLE_LABEL, kind), ("app.kubernetes.io/managed-by", MANAGER)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The data of a `ConfigMap` of some tenants, and which files do not fit into it.
pub(super) fn config_map_data(files: &[File], tenants: &[&Sections]) -> (BTreeMap<String, String>, Vec<File>) {
    let text = |file: File| String::from_utf8_lossy(file.of(tenants.iter().copied()).expose()).into_owned();
    fitting(files.iter().copied().filter(|file| is_open(*file)).map(|file| (file, text(file))).collect(), LIMIT)
}

/// The data of the Secret of a broker, and which files do not fit into it.
pub(super) fn secret_data(files: &[File], tenants: &[&Sections]) -> (BTreeMap<String, ByteString>, Vec<File>) {
    let private = files.iter().copied().filter(|file| !is_open(*file));
    let text = |file: File| file.of(tenants.iter().copied()).expose().to_vec();
    let (data, closed) = fitting(private.map(|file| (file, text(file))).collect(), LIMIT);
    (data.into_iter().map(|(name, bytes)| (name, ByteString(bytes))).collect(), closed)
}

/// Closes the largest files until the rest fits. Nothing is cut: what is left could lack a Deny.
fn fitting<T: AsRef<[u8]> + From<String>>(mut texts: Vec<(File, T)>, limit: usize) -> (BTreeMap<String, T>, Vec<File>) {
    texts.sort_by_key(|(_, text)| text.as_ref().len());
    let (mut data, mut closed, mut total) = (BTreeMap::new(), Vec::new(), 0);
    for (file, text) in texts {
        total += text.as_ref().len();
        let text = if total <= limit {
            text
        } else {
            closed.push(file);
            T::from(
                file.closed("too large for Kubernetes, so everything is denied; take it from a sidecar's `--acl-dir`"),
            )
        };
        data.insert(file.name().to_owned(), text);
    }
    (data, closed)
}

/// What is told of files that do not fit.
pub(super) fn too_large(object: &str, closed: &[File]) -> String {
    let names: Vec<&str> = closed.iter().map(|file| file.name()).collect();
    let names = names.join(" and ");
    format!(
        "{names} denies everything in `{object}` because it is larger than 1 MiB; take it from a sidecar's `--acl-dir`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sizes: [usize; 2]) -> Vec<(File, String)> {
        [File::Emqx, File::MosquittoAcl].into_iter().zip(sizes.map(|size| "x".repeat(size))).collect()
    }

    #[test]
    fn what_does_not_fit_denies_everything_and_is_never_cut() {
        let (data, closed) = fitting(texts([10, 20]), 30);
        assert_eq!((data["acl.conf"].len(), data["mosquitto.acl"].len(), closed), (10, 20, Vec::new()));
        let (data, closed) = fitting(texts([11, 20]), 30);
        assert_eq!((data["acl.conf"].len(), closed), (11, vec![File::MosquittoAcl]), "the largest one goes first");
        assert!(data["mosquitto.acl"].starts_with("# too large"), "{data:?}");
        let (data, closed) = fitting(texts([32, 31]), 30);
        assert_eq!(closed, [File::MosquittoAcl, File::Emqx]);
        assert!(
            data["acl.conf"].starts_with("%% too large") && data["acl.conf"].ends_with("{deny, all}.\n"),
            "{data:?}"
        );
        assert!(data.values().all(|text| !text.contains('x') || text.contains("too large")));
    }
}
