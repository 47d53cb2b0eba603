//! Without a cluster: manifests in, and bundles out to a folder (`compile`) or to a sidecar in the same process
//! (`standalone`). What is compiled, and how, is the same as in the cluster.

mod acl_files;
mod gather;
mod indexes;
mod out_dir;
pub mod report;
mod secrets;
pub mod standalone;

use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use mqtt_access_core::acl_file::Sections;
use mqtt_access_core::bundle::{BundleError, Encoded, UnixSeconds, encode};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::template::TemplateError;
use thiserror::Error;

use crate::compile::{self, Compiled, Reports};
use crate::config::{Broker, Config};
use crate::isolation::{self, Reach};
use crate::login::Derived;
use crate::manifest::{self, Refused};
use crate::{names, policy_tests};
use gather::{GatherError, Outcome, Sources};
use out_dir::OutDirError;
use report::{BrokerReport, Report, TenantReport};
use secrets::{Secrets, SecretsError};

/// Why nothing was compiled.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// The manifests are not what the API server would accept.
    #[error("the manifests are refused")]
    Refused(#[from] Refused),
    /// A secret is missing or cannot be kept.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A key or a ticket key is missing.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// A bundle cannot be encoded.
    #[error("the bundle of tenant `{0}` cannot be encoded")]
    Encode(String, #[source] BundleError),
    /// A bundle cannot be indexed.
    #[error("the bundle of tenant `{0}` cannot be indexed, which is a bug")]
    Index(String, #[source] TemplateError),
    /// The output folder cannot be written.
    #[error(transparent)]
    Out(#[from] OutDirError),
    /// There is no broker of that name.
    #[error("the configuration has no broker `{0}`; choose one of its brokers with `--broker`")]
    NoBroker(String),
}

/// The bundles of one broker.
#[derive(Debug)]
pub struct BrokerBundles {
    /// One for each tenant that owns what it claims.
    pub bundles: Vec<TenantBundle>,
    /// What was found about them.
    pub report: BrokerReport,
}

/// The bundle of a tenant.
#[derive(Debug)]
pub struct TenantBundle {
    /// Namespace of the tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it says in ACL files.
    pub sections: Sections,
    /// The same in bytes.
    pub encoded: Encoded,
}

impl TenantBundle {
    /// What its folder is called.
    fn folder(&self) -> String {
        names::bundle(&self.namespace, &self.name)
    }
}

/// Compiles the tenants of one broker.
fn compile_broker(
    objects: &manifest::Objects,
    config: &Config,
    broker: &Broker,
    sources: &mut Sources<'_>,
    now: UnixSeconds,
) -> Result<BrokerBundles, OfflineError> {
    let (mut bundles, mut tenants, mut reaches) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, outcome) in gather::gather(objects, config, broker, sources)? {
        let (namespace, name) = (tenant.namespace().unwrap_or_default(), tenant.name_any());
        let shown = format!("{namespace}/{name}");
        match outcome {
            Outcome::Refused(why) => tenants.push(TenantReport::refused(&namespace, &name, why)),
            Outcome::Gathered(gathered) => {
                let Compiled { bundle, reports } = compile::compile(&gathered, now);
                let encoded = encode(&bundle).map_err(|error| OfflineError::Encode(shown.clone(), error))?;
                reaches.push(Reach::of(&bundle.tenant, &bundle.policies));
                let index = TenantIndex::new(bundle, 0).map_err(|error| OfflineError::Index(shown, error))?;
                let sections = Sections::of(&index, now);
                let tests = policy_tests::evaluate(&index, &gathered.policies, now);
                tenants.push(TenantReport::of(&index, &sections, Reports { tests, ..reports }, broker));
                bundles.push(TenantBundle { namespace, name, sections, encoded });
            }
        }
    }
    let isolation = isolation::check(&reaches, broker.allow_dollar_topics);
    Ok(BrokerBundles { bundles, report: BrokerReport { broker: broker.name.clone(), isolation, tenants } })
}

/// What `compile` did.
#[derive(Debug)]
pub struct Summary {
    /// How many bundles there are.
    pub bundles: usize,
    /// How many of them were written because they are new or different.
    pub written: usize,
    /// What was found; also in `report.json` beside the bundles.
    pub report: Report,
}

/// `compile PATH... --out DIR`: every broker of the configuration.
pub fn compile_to(
    paths: &[PathBuf],
    config: &Config,
    state_dir: Option<&Path>,
    out: &Path,
) -> Result<Summary, OfflineError> {
    let objects = manifest::read(paths)?;
    let (mut secrets, mut derived) = (Secrets::fixed(&objects, state_dir)?, Derived::default());
    let mut sources = Sources { secrets: &mut secrets, derived: &mut derived };
    let (mut bundles, mut written, mut brokers) = (0, 0, Vec::new());
    for broker in &config.brokers {
        let (folder, now) = (out.join(&broker.name), now());
        let compiled = compile_broker(&objects, config, broker, &mut sources, now)?;
        bundles += compiled.bundles.len();
        written += out_dir::write(&folder, &compiled.bundles)?;
        let sections: Vec<_> = compiled.bundles.into_iter().map(|bundle| (bundle.folder(), bundle.sections)).collect();
        acl_files::write(&folder, &broker.wanted_files(), &sections)?;
        brokers.push(compiled.report);
    }
    let report = Report::new(brokers, gather::strays(&objects, config));
    out_dir::write_report(out, &report)?;
    Ok(Summary { bundles, written, report })
}

pub(crate) use indexes::{Indexed, indexes};

pub(crate) fn now() -> UnixSeconds {
    k8s_openapi::jiff::Timestamp::now().as_second()
}
