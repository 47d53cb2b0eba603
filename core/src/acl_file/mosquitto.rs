//! `acl_file` and `password_file` of Mosquitto.

use super::Section;
use crate::bundle::UnixSeconds;
use crate::index::TenantIndex;
use crate::secret::Secret;

/// The rules of one tenant.
#[must_use]
pub fn section(index: &TenantIndex, _now: UnixSeconds) -> Section {
    let tenant = format!("{}/{}", index.tenant().namespace, index.tenant().name);
    Section { tenant, text: String::new(), narrowed: Vec::new() }
}

/// The `acl_file` of a broker: of all its tenants, or of one. Without any rule it denies everything.
#[must_use]
pub fn file<'s>(sections: impl IntoIterator<Item = &'s Section>) -> String {
    sections.into_iter().map(|section| section.text.as_str()).collect()
}

/// The lines of one tenant for the `password_file`, each ended by a line feed: `username:$7$iterations$salt$hash`.
#[must_use]
pub fn passwords(_index: &TenantIndex, _now: UnixSeconds) -> Secret {
    Secret::new(Vec::new())
}
