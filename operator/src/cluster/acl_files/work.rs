//! What tenants say in ACL files, worked out for each on its own and by turns: it holds up neither the watches nor the reconciles,
//! and one tenant's rules no other tenant's.

use std::sync::Arc;
use std::time::Duration;

use mqtt_access_core::acl_file::{File, Limits, Sections};
use mqtt_access_core::bundle::Bundle;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_sidecar::Turns;
use tokio::task::{JoinError, JoinSet};

use super::objects::{self, tenant_data};
use super::{Compiled, Known, Standing, Version};
use crate::cluster::cache::ObjectKey;
use crate::cluster::controller::{Context, now};
use crate::config::Broker;

/// How many tenants are worked on at once.
const AT_ONCE: usize = 16;

/// A broker, a tenant and what its sections are worked out from, with what came of it.
type Ended = ((String, ObjectKey, Version), Option<Standing>);

/// Works out what tenants say whose bundles wait, until the files are closed.
pub(in crate::cluster) async fn work(context: Arc<Context>) {
    let (turns, mut works) = (Turns::default(), JoinSet::new());
    while !context.acl_files.is_closed() {
        context.config.brokers.iter().for_each(|broker| begin(&context, broker, &turns, &mut works));
        tokio::select! {
            () = context.acl_files.news.notified() => {}
            Some(ended) = works.join_next() => settle(&context, ended),
        }
    }
}

fn begin(context: &Context, broker: &Broker, turns: &Turns, works: &mut JoinSet<Ended>) {
    while works.len() < AT_ONCE {
        let taken = context.acl_files.known(&broker.name, Known::take).flatten();
        let Some((tenant, version, bundle)) = taken else { return };
        let (files, name) = (broker.wanted_files(), (broker.name.clone(), tenant.clone(), version.clone()));
        turns.begin(works, name, move |go_on| standing(&files, &tenant, bundle, version, go_on));
    }
}

fn settle(context: &Context, ended: Result<Ended, JoinError>) {
    // Else the runtime is stopping.
    let Ok(((broker, tenant, version), standing)) = ended else { return };
    if standing.is_none() {
        tracing::error!(%tenant, revision = version.revision, "what a tenant says in ACL files cannot be worked out; what it said before stays");
    }
    if context.acl_files.known(&broker, |known| known.settle(&tenant, &version, standing)) == Some(true) {
        context.queue.push(tenant, Duration::ZERO);
    }
    context.acl_files.wake(&broker);
}

/// What a suspended tenant says, which takes no work.
pub(super) fn suspended(files: &[File], tenant: &ObjectKey, bundle: &Bundle, version: Version) -> Standing {
    let bundle = Bundle { tenant: bundle.tenant.clone(), policies: Vec::new(), devices: Vec::new() };
    standing(files, tenant, bundle, version, &|| true).unwrap_or(Standing::Nothing)
}

pub(super) fn standing(
    files: &[File],
    tenant: &ObjectKey,
    bundle: Bundle,
    version: Version,
    go_on: &dyn Fn() -> bool,
) -> Option<Standing> {
    let index = match TenantIndex::new(bundle, version.revision) {
        Ok(index) => index.withholding(version.withheld.iter().map(String::as_str)),
        // No sidecar takes such a bundle either.
        Err(error) => {
            tracing::error!(%tenant, error = %crate::error_chain(&error), "a bundle cannot be read back");
            return Some(Standing::Nothing);
        }
    };
    let sections = Sections::within(&index, now(), Limits::default(), go_on)?;
    let (data, closed) = tenant_data(files, &sections);
    let problems: Vec<String> = [objects::too_large(&objects::tenant_map(tenant), &closed), objects::closed(&sections)]
        .into_iter()
        .flatten()
        .collect();
    let problem = (!problems.is_empty()).then(|| problems.join("; "));
    Some(Standing::Compiled(Arc::new(Compiled { version, sections, digest: objects::digest(&data), problem })))
}
