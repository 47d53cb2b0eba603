//! `acl.conf` of EMQX.

use super::Section;
use crate::bundle::UnixSeconds;
use crate::index::TenantIndex;

/// The rules of one tenant.
#[must_use]
pub fn section(index: &TenantIndex, _now: UnixSeconds) -> Section {
    let tenant = format!("{}/{}", index.tenant().namespace, index.tenant().name);
    Section { tenant, text: String::new(), narrowed: Vec::new() }
}

/// The file of a broker: of all its tenants, or of one.
#[must_use]
pub fn file<'s>(sections: impl IntoIterator<Item = &'s Section>) -> String {
    let texts: String = sections.into_iter().map(|section| section.text.as_str()).collect();
    texts + "{deny, all}.\n"
}
