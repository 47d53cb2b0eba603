//! Tenants in the form that answers, compiled from manifests without their secrets: for questions about rules. What comes out
//! of here is never published.

use std::sync::Arc;

use kube::ResourceExt as _;
use mqtt_access_core::index::TenantIndex;

use super::OfflineError;
use super::before::Past;
use super::gather::{self, Outcome, Sources, Tenant};
use super::secrets::Secrets;
use crate::compile;
use crate::config::{Broker, Config};
use crate::login::Derived;
use crate::manifest::Objects;

/// A tenant of a broker.
pub(crate) struct Indexed {
    /// Namespace and name, joined by a slash.
    pub(crate) tenant: String,
    /// Its bundle, or why it has none.
    pub(crate) index: Result<Arc<TenantIndex>, String>,
    /// What is not in force as written.
    pub(crate) problems: Vec<String>,
}

/// The tenants of a broker.
pub(crate) fn indexes(
    objects: &Objects,
    config: &Config,
    broker: &Broker,
    past: Past<'_>,
) -> Result<Vec<Indexed>, OfflineError> {
    let (mut secrets, mut derived) = (Secrets::placeholders(objects), Derived::default());
    let mut sources = Sources { secrets: &mut secrets, derived: &mut derived };
    let gathered = gather::gather(objects, config, broker, &mut sources, past)?;
    let indexed = gathered.tenants.into_iter().map(|(tenant, outcome)| {
        let tenant = format!("{}/{}", tenant.namespace().unwrap_or_default(), tenant.name_any());
        let Tenant { gathered, withheld, told } = match outcome {
            Outcome::Refused(why) => return Ok(Indexed { tenant, index: Err(why), problems: Vec::new() }),
            Outcome::Gathered(tenant) => *tenant,
        };
        let compiled = compile::compile(&gathered, past.now);
        let (namespace, name) = (&compiled.bundle.tenant.namespace, &compiled.bundle.tenant.name);
        let problems = told.into_iter().chain(compiled.reports.problems(namespace, name));
        let problems = problems.map(|told| told.to_string()).collect();
        match TenantIndex::new(compiled.bundle, 0) {
            Ok(index) => {
                let index = index.withholding(withheld.iter().map(String::as_str));
                Ok(Indexed { tenant, index: Ok(Arc::new(index)), problems })
            }
            Err(error) => Err(OfflineError::Index(tenant, error)),
        }
    });
    indexed.collect()
}
