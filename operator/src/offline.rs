//! Without a cluster: manifests in, and bundles out to a folder (`compile`) or to a sidecar in the same process
//! (`standalone`). What is compiled, and how, is the same as in the cluster.

mod acl_files;
mod before;
mod claims;
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

pub use crate::compile::Seniority;
use crate::compile::{self, Compiled, Contested, Reports};
use crate::config::{Broker, Config};
use crate::isolation::{self, Reach};
use crate::login::Derived;
use crate::manifest::{self, Refused};
use crate::{names, policy_tests};
pub use claims::Collision;
use gather::{GatherError, Gathering, Outcome, Sources, Tenant};
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
    /// Nothing tells whose a name is.
    #[error(
        "nothing tells who had a name first, so nothing is written:{}\nchange one of the two; or compile into the folder that holds \
         what is in force, so that its owner keeps the name; or, for objects dumped from a cluster, say `--exported`",
        .0.iter().fold(String::new(), |told, collision| told + "\n  " + &collision.to_string())
    )]
    Contested(Vec<Collision>),
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
    /// Names that nobody got, since nothing tells who had them first.
    pub collisions: Vec<Collision>,
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
    published: Published,
}

impl TenantBundle {
    /// What its folder is called.
    fn folder(&self) -> String {
        names::bundle(&self.namespace, &self.name)
    }

    /// What its tenant has from now on.
    fn published(&self) -> ((String, String), Published) {
        ((self.namespace.clone(), self.name.clone()), self.published.clone())
    }
}

/// Compiles the tenants of one broker.
fn compile_broker(
    objects: &manifest::Objects,
    config: &Config,
    broker: &Broker,
    sources: &mut Sources<'_>,
    past: Past<'_>,
) -> Result<BrokerBundles, OfflineError> {
    let (mut bundles, mut tenants, mut reaches) = (Vec::new(), Vec::new(), Vec::new());
    let Gathering { tenants: gathered, mut collisions } = gather::gather(objects, config, broker, sources, past)?;
    for (tenant, outcome) in gathered {
        let (namespace, name) = (tenant.namespace().unwrap_or_default(), tenant.name_any());
        match outcome {
            Outcome::Refused(why) => tenants.push(TenantReport::refused(&namespace, &name, why)),
            Outcome::Gathered(tenant) => {
                let compiled = compile_tenant(&tenant, broker, past.now)?;
                collisions.extend(compiled.contested.iter().map(|name| contested(name, &namespace, objects)));
                tenants.push(compiled.report);
                reaches.push(compiled.reach);
                bundles.push(compiled.bundle);
            }
        }
    }
    let isolation = isolation::check(&reaches, broker.allow_dollar_topics);
    let report = BrokerReport { broker: broker.name.clone(), isolation, tenants };
    Ok(BrokerBundles { bundles, report, collisions })
}

struct CompiledTenant {
    bundle: TenantBundle,
    report: TenantReport,
    reach: Reach,
    contested: Vec<Contested>,
}

fn compile_tenant(tenant: &Tenant, broker: &Broker, now: UnixSeconds) -> Result<CompiledTenant, OfflineError> {
    let Tenant { gathered, withheld, told } = tenant;
    let Compiled { bundle, mut reports } = compile::compile(gathered, now);
    let (namespace, name) = (bundle.tenant.namespace.clone(), bundle.tenant.name.clone());
    let shown = format!("{namespace}/{name}");
    let encoded = encode(&bundle).map_err(|error| OfflineError::Encode(shown.clone(), error))?;
    let filters = || withheld.iter().map(String::as_str);
    let reach = Reach::of(&bundle.tenant, &bundle.policies, filters());
    let published = Published::of(&bundle.tenant, &bundle.devices);
    let index = TenantIndex::new(bundle, 0).map_err(|error| OfflineError::Index(shown, error))?.withholding(filters());
    let sections = Sections::of(&index, now);
    let tests = policy_tests::evaluate(&index, &gathered.policies, now);
    let contested = std::mem::take(&mut reports.contested);
    let mut report = TenantReport::of(&index, &sections, Reports { tests, ..reports }, broker);
    report.findings.splice(0..0, told.iter().cloned());
    let bundle = TenantBundle { namespace, name, sections, encoded, published };
    Ok(CompiledTenant { bundle, report, reach, contested })
}

fn contested(contested: &Contested, namespace: &str, objects: &manifest::Objects) -> Collision {
    let Contested { kind, name, devices } = contested;
    let names: Vec<(&str, &str)> = devices.iter().map(|device| (namespace, device.as_str())).collect();
    Collision::new(format!("the {} `{name}`", kind.as_str()), "DeviceCredential", kind.field(), &names, objects)
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

/// `compile PATH... --out DIR`: every broker of the configuration. What stands in the folder goes first; where two want one
/// name and nothing there tells whose it is, nothing is written.
pub fn compile_to(
    paths: &[PathBuf],
    config: &Config,
    state_dir: Option<&Path>,
    out: &Path,
    seniority: Seniority,
) -> Result<Summary, OfflineError> {
    let objects = read(paths, seniority)?;
    let (mut secrets, mut derived) = (Secrets::fixed(&objects, state_dir)?, Derived::default());
    let mut sources = Sources { secrets: &mut secrets, derived: &mut derived };
    let (mut all, mut collisions) = (Vec::new(), Vec::new());
    for broker in &config.brokers {
        let folder = out.join(&broker.name);
        let past = Past { before: &Before::read(&folder), seniority, now: now() };
        let mut compiled = compile_broker(&objects, config, broker, &mut sources, past)?;
        collisions.append(&mut compiled.collisions);
        all.push((broker, folder, compiled));
    }
    if !collisions.is_empty() {
        return Err(OfflineError::Contested(collisions));
    }
    let (mut bundles, mut written, mut brokers) = (0, 0, Vec::new());
    for (broker, folder, compiled) in all {
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

/// Reads manifests: `creationTimestamp` is kept where it counts.
fn read(paths: &[PathBuf], seniority: Seniority) -> Result<manifest::Objects, Refused> {
    match seniority {
        Seniority::Known => manifest::read_exported(paths),
        Seniority::Unknown => manifest::read(paths),
    }
}

pub(crate) use before::{Before, Past, Published};
pub(crate) use indexes::{Indexed, indexes};

pub(crate) fn now() -> UnixSeconds {
    k8s_openapi::jiff::Timestamp::now().as_second()
}
