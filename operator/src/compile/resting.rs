//! Client IDs that rest: after a credential is gone, whoever comes with its client ID would get the session that a broker
//! keeps for it, with all that was subscribed in it. So nobody does until the broker has forgotten that session.
//!
//! What is gone is told from what is published, and whose a client ID is by the UID of its credential: one that was made anew
//! under the old name is another one. A pure function of the objects, the published bundle and the time. Every end lies
//! later than it has to by as much as clocks may differ: the sidecars judge it by theirs.

use std::collections::{HashMap, HashSet};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use mqtt_access_core::bundle::{ClientIds, Device, Forgotten, Rest, Resting, ShortHash, UnixSeconds};
use mqtt_access_crds::DeviceReady;

use super::device::Devices;
use super::{Before, DeviceReport, Gathered, created};

/// By how much the clocks of the operator, the API server and a sidecar may differ, in seconds.
const CLOCKS: UnixSeconds = 15 * 60;
/// The most client IDs that rest in one tenant.
const MAX_RESTING: usize = 10_000;
/// The longest that a broker can be told to keep a session: a credential that is so much older had its client ID before.
const LONGEST: UnixSeconds = 1000 * 3600;

/// Finds the client IDs of a tenant that rest, and tells the credentials that have to wait for that.
pub(super) fn rest(gathered: &Gathered, records: &mut [Device], devices: &mut Devices, now: UnixSeconds) -> Resting {
    let (Some(before), true) = (&gathered.before, gathered.session_expiry > 0) else { return Resting::default() };
    let resting = Rests { gathered, before, now }.resting(records);
    let waiting = Rests { gathered, before, now }.waiting(records, &resting);
    let instance_id = &gathered.claims.instance_id;
    for device in records {
        device.rests_until = waiting.get(&device.name).copied();
        let client_id = device.client_id.one().and_then(|client_id| resting.until(instance_id, client_id));
        let until = client_id.into_iter().chain(device.rests_until).max().filter(|until| now < *until);
        if let Some((until, report)) = until.zip(devices.reports.get_mut(&device.name)) {
            tell(report, until);
            devices.next_change = devices.next_change.into_iter().chain([until]).min();
        }
    }
    resting
}

struct Rests<'g> {
    gathered: &'g Gathered,
    before: &'g Before,
    now: UnixSeconds,
}

impl Rests<'_> {
    fn resting(&self, devices: &[Device]) -> Resting {
        let Self { gathered, before, now } = self;
        let hash = |client_id: &str| ShortHash::of_client(&gathered.claims.instance_id, client_id);
        let owners: HashMap<&str, &str> =
            devices.iter().filter_map(|device| Some((device.client_id.one()?, device.uid.as_deref()?))).collect();
        let mut resting = self.unfinished();
        let until = now.saturating_add(gathered.session_expiry).saturating_add(CLOCKS);
        for (client_id, uid) in before.single_client_ids() {
            if owners.get(client_id) != Some(&uid) {
                resting.clients.insert(hash(client_id), Rest { owner: ShortHash::of_uid(uid), until });
            }
        }
        if !resting.clients.is_empty() {
            for (client_id, uid) in owners {
                let client = hash(client_id);
                let own = |rest: &Rest| rest.owner == ShortHash::of_uid(uid);
                if resting.clients.get(&client).is_some_and(own) {
                    resting.clients.remove(&client);
                }
            }
        }
        for client_id in &gathered.tenant.spec.released_client_ids {
            resting.clients.remove(&hash(client_id));
        }
        bounded(resting)
    }

    /// What is published and not over by any clock.
    fn unfinished(&self) -> Resting {
        let lasts = |until: UnixSeconds| self.now < until.saturating_add(CLOCKS);
        let mut resting = self.before.resting().clone();
        resting.clients.retain(|_, rest| lasts(rest.until));
        resting.forgotten = resting.forgotten.filter(|forgotten| lasts(forgotten.until));
        resting
    }

    /// Credentials by name that have to wait although their client ID is not known to rest: those that came when some were
    /// forgotten already, and until when.
    fn waiting(&self, devices: &[Device], resting: &Resting) -> HashMap<String, UnixSeconds> {
        let released: HashSet<&str> =
            self.gathered.tenant.spec.released_client_ids.iter().map(String::as_str).collect();
        let young = resting.forgotten.map(|Forgotten { since, until }| {
            let young = |at: UnixSeconds| at.saturating_add(CLOCKS) >= since;
            let sources = self.gathered.devices.iter().map(|(source, _)| source);
            let names = sources.filter(|source| young(created(source.as_ref()))).map(|source| source.name_any());
            (names.collect::<HashSet<String>>(), until)
        });
        let ends = devices.iter().filter_map(|device| {
            let text = match &device.client_id {
                ClientIds::One(text) | ClientIds::Prefix { prefix: text } => text.as_str(),
            };
            let uid = device.uid.as_deref()?;
            let had = self.before.credential_had(Some(uid), &device.client_id);
            let until = match &young {
                Some((names, until)) if !had && names.contains(&device.name) => Some(*until),
                _ => self.before.waits_until(uid).filter(|until| self.now < until.saturating_add(CLOCKS)),
            };
            Some((device.name.clone(), until.filter(|_| !released.contains(text))?))
        });
        ends.collect()
    }
}

/// As many as there is room for. Those that end first are forgotten: whoever is younger waits for the last of them instead.
fn bounded(mut resting: Resting) -> Resting {
    let surplus = resting.clients.len().saturating_sub(MAX_RESTING);
    let mut by_end: Vec<(UnixSeconds, ShortHash)> =
        resting.clients.iter().map(|(client, rest)| (rest.until, *client)).collect();
    by_end.sort_unstable();
    for (until, client) in by_end.into_iter().take(surplus) {
        resting.clients.remove(&client);
        let since = until.saturating_sub(LONGEST + CLOCKS);
        let known = resting.forgotten.unwrap_or(Forgotten { since, until });
        resting.forgotten = Some(Forgotten { since: known.since.min(since), until: known.until.max(until) });
    }
    resting
}

/// Only what could log in otherwise is told: the rest has its own trouble.
fn tell(report: &mut DeviceReport, until: UnixSeconds) {
    if !matches!(report.reason, DeviceReady::Ready | DeviceReady::SuperuserNotAllowed) {
        return;
    }
    let shown = Timestamp::from_second(until).map(|until| until.to_string()).unwrap_or_default();
    report.reason = DeviceReady::ClientIdResting;
    report.message = format!(
        "a DeviceCredential that is gone had its client ID, or may have had, and the broker may still keep the session of that \
         client: logins are refused until {shown}, unless the platform team frees it (`spec.releasedClientIds` of the \
         MqttTenant)"
    );
}

#[cfg(test)]
mod tests;
