//! The rights of `examples/cluster/rbac.yaml`: enough, and none to spare.

use std::collections::BTreeSet;

use mqtt_access_tests::control_plane::{AuditEvent, AuditMark};
use mqtt_access_tests::first_light::{BUNDLES, FirstLight};

const OPERATOR: &str = "system:serviceaccount:mqtt-access:operator";
const SIDECAR: &str = "system:serviceaccount:mqtt-access:sidecar";

/// Before anything was applied, and after the rights were.
pub(crate) struct Marks {
    pub(crate) start: AuditMark,
    pub(crate) granted: AuditMark,
}

pub(crate) async fn nothing_was_forbidden(light: &mut FirstLight, Marks { start, granted }: Marks) {
    light.check.step("the operator and the sidecar ask for what they may, and need all of that");
    let is_ours = |event: &AuditEvent| [OPERATOR, SIDECAR].contains(&event.user.as_str());
    let since_granted = light.plane.audit_since(granted).await;
    let forbidden: Vec<_> = since_granted.iter().filter(|event| is_ours(event) && event.code == 403).collect();
    light.check.that(&format!("forbidden requests: {forbidden:?}"), forbidden.is_empty());
    let events = light.plane.audit_since(start).await;
    let ours = events.iter().filter(|event| is_ours(event) && event.code != 403);
    let used = |user: &str| -> BTreeSet<(&str, String)> {
        let of_user = ours.clone().filter(|event| event.user == user);
        of_user.map(|event| (event.verb.as_str(), resource(&event.resource, &event.subresource))).collect()
    };
    let secrets = |verbs: &[&'static str]| -> BTreeSet<(&str, String)> {
        verbs.iter().map(|verb| (*verb, "secrets".to_owned())).collect()
    };
    light.check.equal("what the sidecar asked for", used(SIDECAR), secrets(&["get", "list", "watch"]));
    let mut expected = secrets(&["get", "list", "watch", "create", "update"]);
    for kind in ["mqtttenants", "devicecredentials", "aclpolicies"] {
        expected.extend([("list", kind.to_owned()), ("watch", kind.to_owned()), ("patch", format!("{kind}/status"))]);
    }
    expected.extend(["list", "watch", "create", "update"].map(|verb| (verb, "configmaps".to_owned())));
    // The tests of a policy failed while their client could not log in.
    expected.insert(("create", "events".to_owned()));
    let mut asked = used(OPERATOR);
    // Old shards go after ten minutes, bundles and ACL files with their tenants: no need of that in a short run.
    for resource in ["secrets", "configmaps"] {
        asked.remove(&("delete", resource.to_owned()));
    }
    light.check.equal("what the operator asked for", asked, expected);
    let maps = ours.clone().filter(|event| event.resource == "configmaps" && event.namespace != BUNDLES).count();
    light.check.equal("the operator's requests for ConfigMaps outside the bundles", maps, 0);
    let elsewhere = ours.filter(|event| event.user == SIDECAR && event.namespace != BUNDLES).count();
    light.check.equal("the sidecar's requests outside the bundles", elsewhere, 0);
}

fn resource(resource: &str, subresource: &str) -> String {
    if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") }
}
