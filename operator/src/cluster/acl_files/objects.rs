//! What the objects that hold ACL files look like (pure).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as KubeSecret};
use kube::core::ObjectMeta;
use mqtt_access_core::acl_file::{Closed, File, Sections};
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

/// The data of the `ConfigMap` of a tenant, and which files do not fit into it.
pub(super) fn tenant_data(files: &[File], tenant: &Sections) -> (BTreeMap<String, String>, Vec<File>) {
    let open: Vec<File> = files.iter().copied().filter(|file| is_open(*file)).collect();
    let closed = without_room(&open, &[(tenant, &BTreeSet::new())], LIMIT);
    let text = |file: &File| text(*file, &[(tenant, &BTreeSet::new())], &closed);
    (open.iter().map(|file| (file.name().to_owned(), utf8(text(file)))).collect(), closed)
}

/// The data of an object of a broker.
pub(super) struct Joined<T> {
    pub(super) data: BTreeMap<String, T>,
    /// Files that deny everything to everybody: not even comments about the tenants fit.
    pub(super) closed: Vec<File>,
    /// For whom there is no room in which files.
    pub(super) crowded_out: BTreeMap<ObjectKey, BTreeSet<File>>,
}

/// The `ConfigMap` of a broker.
pub(super) fn broker_map(files: &[File], tenants: &[(&ObjectKey, &Sections)]) -> Joined<String> {
    let open: Vec<File> = files.iter().copied().filter(|file| is_open(*file)).collect();
    joined(&open, tenants, LIMIT, utf8)
}

/// The Secret of a broker.
pub(super) fn broker_secret(files: &[File], tenants: &[(&ObjectKey, &Sections)]) -> Joined<ByteString> {
    let private: Vec<File> = files.iter().copied().filter(|file| !is_open(*file)).collect();
    joined(&private, tenants, LIMIT, ByteString)
}

fn joined<T>(
    files: &[File],
    tenants: &[(&ObjectKey, &Sections)],
    limit: usize,
    of: impl Fn(Vec<u8>) -> T,
) -> Joined<T> {
    let crowded_out = crowded_out(files, tenants, limit);
    let nobody = BTreeSet::new();
    let parts = tenants.iter().map(|(tenant, sections)| (*sections, crowded_out.get(*tenant).unwrap_or(&nobody)));
    let parts: Vec<(&Sections, &BTreeSet<File>)> = parts.collect();
    let closed = without_room(files, &parts, limit);
    let data = files.iter().map(|file| (file.name().to_owned(), of(text(*file, &parts, &closed)))).collect();
    Joined { data, closed, crowded_out }
}

/// Closes the largest sections until the rest fits: no tenant outgrows a smaller one. Of tenants alike, by their names.
fn crowded_out(
    files: &[File],
    tenants: &[(&ObjectKey, &Sections)],
    limit: usize,
) -> BTreeMap<ObjectKey, BTreeSet<File>> {
    let sizes = tenants.iter().flat_map(|(tenant, sections)| {
        files.iter().map(move |file| (sections.size_in(*file), *tenant, *file, *sections))
    });
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_by_key(|(size, tenant, file, _)| (std::cmp::Reverse(*size), *tenant, *file));
    let ends: usize = files.iter().map(|file| file.of([]).expose().len()).sum();
    let mut total = ends + sizes.iter().map(|(size, ..)| size).sum::<usize>();
    let mut crowded_out: BTreeMap<ObjectKey, BTreeSet<File>> = BTreeMap::new();
    for (size, tenant, file, sections) in sizes {
        let closed = sections.closed_size_in(file, Closed::NoRoom);
        if total <= limit || size <= closed {
            break;
        }
        total = total - size + closed;
        crowded_out.entry(tenant.clone()).or_default().insert(file);
    }
    crowded_out
}

/// The largest files that have to be closed until the rest fits. Nothing is cut: what is left could lack a Deny.
fn without_room(files: &[File], parts: &[(&Sections, &BTreeSet<File>)], limit: usize) -> Vec<File> {
    let size = |file: File| {
        let of = |(sections, closed): &(&Sections, &BTreeSet<File>)| {
            if closed.contains(&file) { sections.closed_size_in(file, Closed::NoRoom) } else { sections.size_in(file) }
        };
        file.of([]).expose().len() + parts.iter().map(of).sum::<usize>()
    };
    let mut sizes: Vec<(usize, File)> = files.iter().map(|file| (size(*file), *file)).collect();
    sizes.sort_unstable();
    let mut total = 0_usize;
    let fits = |(size, _): &(usize, File)| {
        total = total.saturating_add(*size);
        total > limit
    };
    sizes.into_iter().filter(fits).map(|(_, file)| file).collect()
}

fn text(file: File, parts: &[(&Sections, &BTreeSet<File>)], closed: &[File]) -> Vec<u8> {
    if closed.contains(&file) {
        let why = "too large for Kubernetes, so everything is denied; take it from a sidecar's `--acl-dir`";
        return file.closed(why).into_bytes();
    }
    let no_room = |closed: &BTreeSet<File>| closed.contains(&file).then_some(Closed::NoRoom);
    file.parts(parts.iter().map(|(sections, closed)| (*sections, no_room(closed)))).concat()
}

/// Rules are text.
fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What is told of files that do not fit.
pub(super) fn too_large(object: &str, closed: &[File]) -> Option<String> {
    let names = names_of(closed)?;
    Some(format!(
        "{names} denies everything in `{object}` because it is larger than 1 MiB; take it from a sidecar's `--acl-dir`"
    ))
}

/// What is told of sections that would pass a bound.
pub(super) fn closed(sections: &Sections) -> Option<String> {
    let told = File::ALL.into_iter().filter_map(|file| {
        let why = sections.closed_in(file)?.message();
        Some(format!("{} denies everything to the tenant: {why}", file.name()))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// What a tenant is told for which the files of all tenants have no room.
pub(super) fn no_room(files: &BTreeSet<File>) -> String {
    let objects = [(BROKER_MAP, true), (BROKER_SECRET, false)];
    let told = objects.into_iter().filter_map(|(object, open)| {
        let files: Vec<File> = files.iter().copied().filter(|file| is_open(*file) == open).collect();
        Some(format!("{} denies everything to the tenant in `{object}`", names_of(&files)?))
    });
    format!("{}: {}", told.collect::<Vec<_>>().join(", "), Closed::NoRoom.message())
}

fn names_of(files: &[File]) -> Option<String> {
    let names: Vec<&str> = files.iter().map(|file| file.name()).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

#[cfg(test)]
pub(super) mod tests;
