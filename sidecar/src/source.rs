//! Where bundles come from.

pub(crate) mod dir;
pub(crate) mod kubernetes;
