//! What accounts may do, as single rights, against what they did.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_access_tests::control_plane::AuditEvent;
use mqtt_access_tests::operator_fixture::{Cluster, SOON};
use mqtt_access_tests::wait;
use serde_json::Value;

use super::release::{RELEASE, Release, Scope};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// One thing that an account may do. Without a namespace in all of the cluster, without a name to every object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    account: String,
    /// As the audit log names it: `RoleBinding "name/namespace"`.
    binding: String,
    namespace: Option<String>,
    group: String,
    resource: String,
    verb: String,
    name: Option<String>,
}

impl Grant {
    fn covers(&self, event: &AuditEvent) -> bool {
        let asked = match event.subresource.as_str() {
            "" => event.resource.clone(),
            subresource => format!("{}/{subresource}", event.resource),
        };
        (&self.account, &self.group, &self.resource, &self.verb) == (&event.user, &event.group, &asked, &event.verb)
            && event.granted_by.starts_with(&format!("RBAC: allowed by {} ", self.binding))
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == event.namespace)
            && self.name.as_ref().is_none_or(|name| *name == event.name)
    }

    /// Why it is too much; `None` where it is not.
    fn excess(&self, events: &[&AuditEvent]) -> Option<String> {
        let namespaces: BTreeSet<_> =
            events.iter().filter(|event| self.covers(event)).map(|event| event.namespace.as_str()).collect();
        match namespaces.first() {
            None => Some("unused".to_owned()),
            // A Role in that namespace would do.
            Some(only) if self.namespace.is_none() && namespaces.len() == 1 && !only.is_empty() => {
                Some(format!("used in the namespace {only} only"))
            }
            Some(_) => None,
        }
    }

    fn told(&self) -> String {
        let Self { binding, namespace, group, resource, verb, name, .. } = self;
        let (scope, name) = (namespace.as_deref().unwrap_or("*"), name.as_deref().unwrap_or("*"));
        format!("{scope:<32} {verb:<7} {resource}.{group} {name} ({binding})")
    }
}

/// Every right that the accounts of a release ever had.
#[derive(Default)]
pub(crate) struct Ledger(BTreeSet<Grant>);

impl Ledger {
    /// What is granted now.
    pub(crate) async fn note(&mut self, release: &Release<'_>) {
        let cluster = release.cluster;
        let mut bindings = items(cluster, "clusterrolebindings").await;
        bindings.extend(items(cluster, "rolebindings").await);
        let mut roles = BTreeMap::new();
        for kind in ["clusterroles", "roles"] {
            let found = items(cluster, kind).await;
            let keyed = found.into_iter().map(|role| ((place(&role), text(&role, "/metadata/name")), role));
            roles.extend(keyed);
        }
        let accounts = accounts(&bindings);
        assert!(accounts.len() >= 4, "an operator and three sidecars: {accounts:?}");
        for binding in &bindings {
            let subjects: Vec<_> = subjects(binding).filter(|subject| accounts.contains(subject)).collect();
            if !subjects.is_empty() {
                let of = (binding["roleRef"]["kind"] == "Role").then(|| place(binding)).flatten();
                let role = roles.get(&(of, text(binding, "/roleRef/name"))).unwrap_or_else(|| panic!("{binding}"));
                self.0.extend(subjects.iter().flat_map(|account| grants(account, binding, role)));
            }
        }
    }

    /// What is granted while the pod of `helm test` waits for a node.
    pub(crate) async fn note_during_the_test(&mut self, release: &Release<'_>) {
        let before = self.0.len();
        wait::until("the rights of the test", SOON, async || release.test_is_there().await.then_some(())).await;
        self.note(release).await;
        assert!(self.0.len() > before, "the test has rights of its own");
    }

    /// Fails where a request was denied, or a right is too much.
    pub(crate) fn judge(&self, scope: Scope, namespace: &str, events: &[AuditEvent]) {
        let accounts: BTreeSet<&str> = self.0.iter().map(|grant| grant.account.as_str()).collect();
        let of_release = format!("system:serviceaccount:{namespace}:");
        let is_ours =
            |event: &&AuditEvent| accounts.contains(event.user.as_str()) || event.user.starts_with(&of_release);
        let ours: Vec<_> = events.iter().filter(is_ours).collect();
        let mut excess = Vec::new();
        for account in &accounts {
            let asked: Vec<_> = ours.iter().copied().filter(|event| event.user == *account).collect();
            let granted: Vec<_> = self.0.iter().filter(|grant| grant.account == *account).collect();
            let too_much: Vec<_> =
                granted.iter().filter_map(|grant| Some((grant.told(), grant.excess(&asked)?))).collect();
            println!(
                "{scope:?}: {account}: {} rights, {} used, {} requests, {} denied",
                granted.len(),
                granted.len() - too_much.len(),
                asked.len(),
                asked.iter().filter(|event| is_denied(event)).count()
            );
            excess.extend(too_much.into_iter().map(|(grant, why)| format!("{account}: {grant}: {why}")));
        }
        let denied: Vec<_> = ours.iter().filter(|event| is_denied(event)).collect();
        assert!(denied.is_empty(), "denied: {denied:#?}");
        assert!(excess.is_empty(), "rights that are too much:\n{}", excess.join("\n"));
    }
}

fn is_denied(event: &AuditEvent) -> bool {
    event.forbidden || [401, 403].contains(&event.code)
}

async fn items(cluster: &Cluster, kind: &str) -> Vec<Value> {
    let mut list = cluster.read(&format!("{RBAC}/{kind}")).await.unwrap();
    list["items"].as_array_mut().unwrap().drain(..).collect()
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn place(object: &Value) -> Option<String> {
    Some(text(object, "/metadata/namespace")).filter(|namespace| !namespace.is_empty())
}

/// The users behind the accounts that a binding is for.
fn subjects(binding: &Value) -> impl Iterator<Item = String> {
    let subjects = binding["subjects"].as_array().into_iter().flatten();
    let accounts = subjects.filter(|subject| subject["kind"] == "ServiceAccount");
    accounts.map(|subject| format!("system:serviceaccount:{}:{}", text(subject, "/namespace"), text(subject, "/name")))
}

/// All whom the chart gives anything.
fn accounts(bindings: &[Value]) -> BTreeSet<String> {
    let label = "/metadata/labels/app.kubernetes.io~1instance";
    let of_chart: Vec<_> = bindings.iter().filter(|binding| text(binding, label) == RELEASE).collect();
    for subject in of_chart.iter().flat_map(|binding| binding["subjects"].as_array().unwrap()) {
        assert_eq!(subject["kind"], "ServiceAccount", "the chart gives rights to no group: {subject}");
    }
    of_chart.into_iter().flat_map(subjects).collect()
}

fn grants(account: &str, binding: &Value, role: &Value) -> Vec<Grant> {
    let (name, namespace) = (text(binding, "/metadata/name"), place(binding));
    let binding = match &namespace {
        Some(namespace) => format!("RoleBinding \"{name}/{namespace}\""),
        None => format!("ClusterRoleBinding \"{name}\""),
    };
    let mut grants = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        assert!(rule.get("nonResourceURLs").is_none() && !rule.to_string().contains("\"*\""), "too wide: {rule}");
        let texts = |field: &str| -> Vec<String> {
            let list = rule[field].as_array().into_iter().flatten();
            list.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let names = texts("resourceNames").into_iter().map(Some);
        let names: Vec<_> = if rule.get("resourceNames").is_some() { names.collect() } else { vec![None] };
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                for verb in texts("verbs") {
                    grants.extend(names.iter().map(|name| Grant {
                        account: account.to_owned(),
                        binding: binding.clone(),
                        namespace: namespace.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
    }
    grants
}

#[test]
fn a_right_is_used_by_what_its_own_binding_allowed() {
    let grant = |namespace: Option<&str>, name: Option<&str>| Grant {
        account: "a".to_owned(),
        binding: "RoleBinding \"b/n\"".to_owned(),
        namespace: namespace.map(str::to_owned),
        group: String::new(),
        resource: "secrets".to_owned(),
        verb: "get".to_owned(),
        name: name.map(str::to_owned),
    };
    let event = |namespace: &str, name: &str, binding: &str| AuditEvent {
        user: "a".to_owned(),
        verb: "get".to_owned(),
        group: String::new(),
        resource: "secrets".to_owned(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        code: 404,
        uri: String::new(),
        forbidden: false,
        granted_by: format!("RBAC: allowed by RoleBinding \"{binding}\" of Role \"r\" to ServiceAccount \"a\""),
    };
    let excess = |grant: &Grant, events: &[AuditEvent]| grant.excess(&events.iter().collect::<Vec<_>>());
    let used = event("n", "s", "b/n");
    let unused = Some("unused".to_owned());
    assert_eq!(excess(&grant(Some("n"), None), std::slice::from_ref(&used)), None);
    assert_eq!(excess(&grant(Some("n"), Some("s")), std::slice::from_ref(&used)), None);
    assert_eq!(excess(&grant(Some("n"), None), &[]), unused);
    assert_eq!(excess(&grant(Some("n"), Some("other")), std::slice::from_ref(&used)), unused);
    assert_eq!(excess(&grant(Some("m"), None), std::slice::from_ref(&used)), unused);
    assert_eq!(excess(&grant(Some("n"), None), &[event("n", "s", "another/n")]), unused, "it was not needed");
    for other in [
        AuditEvent { subresource: "status".to_owned(), ..used.clone() },
        AuditEvent { verb: "list".to_owned(), ..used.clone() },
        AuditEvent { group: "g".to_owned(), ..used.clone() },
        AuditEvent { user: "b".to_owned(), ..used.clone() },
    ] {
        assert_eq!(excess(&grant(Some("n"), None), &[other]), unused);
    }
    let everywhere = grant(None, None);
    assert_eq!(excess(&everywhere, std::slice::from_ref(&used)), Some("used in the namespace n only".to_owned()));
    assert_eq!(excess(&everywhere, &[used, event("m", "s", "b/n")]), None);
    assert_eq!(excess(&everywhere, &[event("", "", "b/n")]), None);
}
