use std::collections::BTreeSet;

use super::*;
use crate::bundle::{
    AclDelivery, Bundle, Claims, ClientIds, Device, LoginName, Revocations, SessionRules, Space, Spares, Tenant,
};
use crate::client::Mode;
use crate::credential::MacAlgorithm;
use crate::password::Verifier;
use crate::policy::{Action, Effect, Policy, Qos, Rule, Subject, Topics};

/// Rules, the topic lines they become, and what is lost.
type Case = (Vec<Rule>, &'static [&'static str], &'static [(u32, Loss)]);

pub(in crate::acl_file) const NOW: UnixSeconds = 1_800_000_000;

pub(in crate::acl_file) fn tenant() -> Tenant {
    let space = |filter: &str| Space { filter: filter.to_owned(), shared_with: Vec::new() };
    Tenant {
        namespace: "acme".to_owned(),
        name: "shop".to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims {
            instance_id: "mqtt-acme".to_owned(),
            client_id_prefixes: vec!["acme-".to_owned()],
            topic_space: ["acme/#", "$acme/#"].map(space).into(),
        },
        suspended: false,
        client_attributes: BTreeMap::new(),
        access_keys: Vec::new(),
        modes: vec![Mode::DeviceCredential, Mode::Password],
        signature_algorithms: vec![MacAlgorithm::HmacSha1, MacAlgorithm::HmacSha256],
        superusers_allowed: true,
        ticket_key: Secret::new(vec![7; 32]),
        scram: None,
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    }
}

pub(in crate::acl_file) fn device(client_id: &str) -> Device {
    Device {
        name: client_id.to_owned(),
        uid: None,
        client_id: ClientIds::from(client_id),
        key_id: format!("DC.{client_id}"),
        secret: Some(Secret::from("device secret")),
        login: None,
        labels: BTreeMap::new(),
        client_attributes: BTreeMap::new(),
        disabled: false,
        superuser: false,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    }
}

fn rule(effect: Effect, actions: &str, topics: &[&str]) -> Rule {
    let known = [('p', Action::Publish), ('s', Action::Subscribe)].into_iter();
    let actions = known.filter(|(letter, _)| actions.contains(*letter)).map(|(_, action)| action).collect();
    let topics = Topics::Listed(topics.iter().map(ToString::to_string).collect());
    Rule { index: 0, effect, actions, topics, qos: None, retain: None }
}

pub(in crate::acl_file) fn allow(actions: &str, topics: &[&str]) -> Rule {
    rule(Effect::Allow, actions, topics)
}

pub(in crate::acl_file) fn deny(actions: &str, topics: &[&str]) -> Rule {
    rule(Effect::Deny, actions, topics)
}

fn with_qos(rule: Rule, levels: &[u8]) -> Rule {
    let levels: BTreeSet<Qos> = levels.iter().map(|level| Qos::try_from(*level).unwrap()).collect();
    Rule { qos: Some(levels), ..rule }
}

pub(in crate::acl_file) fn index(tenant: Tenant, devices: Vec<Device>, mut rules: Vec<Rule>) -> TenantIndex {
    (0..).zip(&mut rules).for_each(|(index, rule)| rule.index = index);
    let everyone = Subject { everyone: true, ..Subject::default() };
    let policy = Policy { name: "p".to_owned(), subjects: vec![everyone], rules };
    TenantIndex::new(Bundle { tenant, policies: vec![policy], devices }, 1).unwrap()
}

/// The topic lines of one device, and the losses of each rule.
fn said(rules: Vec<Rule>) -> (Vec<String>, Vec<(u32, String)>) {
    let section = section(&index(tenant(), vec![device("acme-1")], rules), NOW);
    let lines = section.text.lines().filter_map(|line| line.strip_prefix("topic ")).map(str::to_owned);
    (lines.collect(), section.narrowed.into_iter().map(|it| (it.rule, it.message)).collect())
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

fn lost(losses: &[(u32, Loss)]) -> Vec<(u32, String)> {
    losses.iter().map(|(rule, loss)| (*rule, loss.message().to_owned())).collect()
}

#[test]
fn a_section_names_what_is_behind_each_line() {
    let rules =
        vec![allow("s", &["acme/${clientid}/#", "acme/news"]), allow("p", &["acme/up"]), deny("ps", &["acme/+/x"])];
    let section = section(&index(tenant(), vec![device("acme-1"), device("acme-2")], rules), NOW);
    let block = |id: &str| {
        format!(
            "# acme/shop: DeviceCredential {id}\nuser DeviceCredential|DC.{id}|mqtt-acme\n# acme/p rules[2]\n\
             topic deny acme/+/x\n# acme/p rules[0]\ntopic read acme/{id}/#\ntopic read acme/news\n\
             # acme/p rules[1]\ntopic write acme/up\n"
        )
    };
    let expected = Section {
        tenant: "acme/shop".to_owned(),
        text: block("acme-1") + &block("acme-2"),
        narrowed: vec![],
        closed: None,
    };
    assert_eq!(section, expected);
    assert_eq!(file([&section, &section]), section.text.repeat(2));
}

#[test]
fn a_deny_of_one_action_is_said_by_what_allows_lose_where_it_covers_them() {
    let exact: [(Vec<Rule>, &[&str]); 5] = [
        (vec![allow("ps", &["acme/a"]), deny("p", &["acme/#"])], &["read acme/a"]),
        (vec![allow("ps", &["acme/a"]), deny("s", &["acme/a"])], &["write acme/a"]),
        (vec![allow("s", &["acme/#"]), deny("s", &["acme/x"])], &["deny acme/x", "read acme/#"]),
        (vec![allow("s", &["acme/#"]), deny("p", &["acme/x"])], &["read acme/#"]),
        (vec![allow("ps", &["acme/a"]), deny("ps", &["acme/b"])], &["readwrite acme/a"]),
    ];
    for (rules, lines) in exact {
        let (said, lost) = said(rules);
        assert_eq!((said, lost), (owned(lines), vec![]));
    }
    let (lines, losses) = said(vec![allow("ps", &["acme/#"]), deny("p", &["acme/x"])]);
    assert_eq!(lines, ["deny acme/x", "readwrite acme/#"]);
    assert_eq!(losses, lost(&[(1, Loss::DenyOtherAction)]));
}

#[test]
fn what_asks_for_qos_or_retain_is_left_out_of_an_allow_and_grows_in_a_deny() {
    let retained = |rule: Rule| Rule { retain: Some(true), ..rule };
    let cases: [Case; 7] = [
        (vec![with_qos(allow("ps", &["acme/a"]), &[0, 1])], &[], &[(0, Loss::AllowQos)]),
        (vec![with_qos(allow("ps", &["acme/a"]), &[0, 1, 2])], &["readwrite acme/a"], &[]),
        (vec![with_qos(allow("ps", &["acme/a"]), &[])], &[], &[]),
        (vec![retained(allow("ps", &["acme/a"]))], &["read acme/a"], &[(0, Loss::AllowRetain)]),
        (vec![retained(allow("s", &["acme/a"]))], &["read acme/a"], &[]),
        (
            vec![allow("ps", &["acme/#"]), with_qos(deny("ps", &["acme/a"]), &[2])],
            &["deny acme/a", "readwrite acme/#"],
            &[(1, Loss::DenyConditions)],
        ),
        (vec![allow("s", &["acme/#"]), retained(deny("s", &["acme/a"]))], &["deny acme/a", "read acme/#"], &[]),
    ];
    for (rules, lines, losses) in cases {
        assert_eq!(said(rules), (owned(lines), lost(losses)));
    }
}

#[test]
fn an_exact_filter_with_wildcards_cannot_be_told_from_what_is_within_it() {
    let cases: [Case; 6] = [
        (vec![allow("ps", &["eq acme/a"])], &["readwrite acme/a"], &[]),
        (vec![allow("ps", &["eq acme/+"])], &[], &[(0, Loss::AllowExact)]),
        (vec![allow("p", &["eq acme/+"])], &[], &[]),
        (vec![allow("s", &["acme/#"]), deny("ps", &["eq acme/a"])], &["deny acme/a", "read acme/#"], &[]),
        // Nobody could subscribe to `#` here anyway.
        (vec![allow("s", &["acme/#"]), deny("ps", &["eq #"])], &["read acme/#"], &[]),
        // But to this one could, and would receive at once what may be received name by name only.
        (
            vec![allow("s", &["acme/#"]), deny("ps", &["eq acme/+/x"])],
            &["deny acme/+/x", "read acme/#"],
            &[(1, Loss::DenyExact)],
        ),
    ];
    for (rules, lines, losses) in cases {
        assert_eq!(said(rules), (owned(lines), lost(losses)));
    }
}

#[test]
fn a_deny_that_reaches_names_with_dollars_is_written_for_each_of_them() {
    let rules = vec![allow("ps", &["$acme/+/b", "$acme/c", "acme/#"]), deny("ps", &["${username}/+/b", "$acme/c"])];
    let (lines, losses) = said(rules);
    let expected = ["deny $acme/c", "readwrite $acme/+/b", "readwrite $acme/c", "readwrite acme/#"];
    assert_eq!((lines, losses), (expected.map(str::to_owned).into(), vec![]), "a username is usable");
    let (lines, losses) =
        said(vec![allow("ps", &["$acme/+/b", "$acme/c", "acme/#"]), deny("ps", &["${client_attrs.none}/+/b"])]);
    let expected = ["deny +/+/b", "deny $acme/+/b", "readwrite $acme/+/b", "readwrite $acme/c", "readwrite acme/#"];
    assert_eq!((lines, losses), (expected.map(str::to_owned).into(), vec![]));
    let everything = Rule { topics: Topics::Everything, ..deny("ps", &[]) };
    let (lines, _) = said(vec![allow("ps", &["$acme/+/b", "acme/#"]), everything]);
    assert_eq!(lines, ["deny #", "deny $acme/#", "readwrite $acme/+/b", "readwrite acme/#"]);
    // `topic deny $acme ` would be read as `$acme`.
    let (lines, _) = said(vec![allow("ps", &["$acme /#"]), deny("ps", &["${client_attrs.none}/+"])]);
    assert_eq!(lines, ["deny +/+", "deny $acme /+", "readwrite $acme /#"]);
    let (lines, _) = said(vec![allow("ps", &["$acme /#"]), deny("ps", &["${client_attrs.none}x"])]);
    assert!(lines.iter().any(|line| line == "deny $acme /#"), "{lines:?}");
}

#[test]
fn what_no_line_can_carry_is_told() {
    let deep = vec!["a"; 250].join("/");
    let (lines, losses) = said(vec![
        allow("ps", &["acme/a ", &format!("acme/{deep}"), "acme/b c", "acme/#"]),
        deny("ps", &["acme/x ", "acme/ y"]),
    ]);
    assert_eq!(lines, ["deny acme/+", "deny acme/ y", "readwrite acme/b c", "readwrite acme/#"]);
    assert_eq!(losses, lost(&[(0, Loss::Unwritable), (1, Loss::Unwritable)]));
    assert_eq!(said(vec![allow("p", &["$SYS/x", "$shared/x", "$CONTROL/x"])]).1, lost(&[(0, Loss::Reserved)]));
}

#[test]
fn a_superuser_gets_the_topic_space_without_what_is_denied() {
    let superuser = Device { superuser: true, ..device("acme-1") };
    let text = section(&index(tenant(), vec![superuser], vec![deny("ps", &["acme/x/#"])]), NOW).text;
    let expected =
        "# acme/p rules[0]\ntopic deny acme/x/#\n# Superuser\ntopic readwrite acme/#\ntopic readwrite $acme/#\n";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn a_rule_is_told_once_however_many_devices_it_has() {
    let devices = (0..50).map(|number| device(&format!("acme-{number}"))).collect();
    let rules =
        vec![with_qos(allow("ps", &["acme/${clientid}"]), &[1]), allow("ps", &["acme/${clientid}", "eq acme/+"])];
    let section = section(&index(tenant(), devices, rules), NOW);
    let told: Vec<(&str, u32)> = section.narrowed.iter().map(|it| (it.policy.as_str(), it.rule)).collect();
    assert_eq!(told, [("p", 0), ("p", 1)]);
}

#[test]
fn who_cannot_log_in_is_in_neither_file() {
    let expired = Device { expires_at: Some(NOW), ..device("acme-expired") };
    let disabled = Device { disabled: true, ..device("acme-disabled") };
    let without = Device { secret: None, ..device("acme-without") };
    let foreign = device("globex-1");
    let twin = Device { key_id: "DC.acme-disabled".to_owned(), ..device("acme-twin") };
    let odd = Device { key_id: "a b".to_owned(), ..device("acme-odd") };
    let colon = Device { key_id: "a:b".to_owned(), ..device("acme-colon") };
    let not_yet = Device { expires_at: Some(NOW + 1), ..device("acme-1") };
    let devices = vec![expired, disabled, without, foreign, twin, odd, colon, not_yet];
    let names = |tenant| {
        let index = index(tenant, devices.clone(), vec![allow("p", &["acme/a"])]);
        let section = section(&index, NOW);
        let passwords = String::from_utf8(passwords(&index, NOW).expose().to_vec()).unwrap();
        let users: Vec<String> =
            section.text.lines().filter_map(|line| line.strip_prefix("user ")).map(str::to_owned).collect();
        let known: Vec<&str> = passwords.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(users, known);
        users
    };
    assert_eq!(names(tenant()), ["DeviceCredential|DC.acme-1|mqtt-acme"]);
    assert!(names(Tenant { suspended: true, ..tenant() }).is_empty());
    assert!(names(Tenant { modes: vec![Mode::Signature], ..tenant() }).is_empty());
    assert!(names(Tenant { signature_algorithms: Vec::new(), ..tenant() }).is_empty());
    let text = section(&index(tenant(), devices.clone(), Vec::new()), NOW).text;
    assert_eq!(text.matches(users::LeftOut::Username.message()).count(), 2, "{text}");
}

fn login(name: &str, client_id: ClientIds, password: Option<Verifier>) -> Device {
    let login = Some(LoginName { name: name.to_owned(), scram: None, password, spares: Spares::default() });
    Device { client_id, login, key_id: String::new(), secret: None, ..device(name) }
}

#[test]
fn of_passwords_those_are_written_that_were_generated_for_this_and_whose_login_name_no_other_tenant_can_have() {
    let key = tenant().ticket_key;
    let pencil = Secret::from("pencil");
    let prefix = |prefix: &str| ClientIds::Prefix { prefix: prefix.to_owned() };
    let filed = |name: &str, ids| login(name, ids, Some(Verifier::filed(&key, name, &pencil)));
    let devices = vec![
        filed("acme-ada", prefix("acme-people-")),
        filed("bob", "acme-bob".into()),
        filed("acme-foreign", prefix("globex-")),
        login("acme-fast", "acme-fast".into(), Some(Verifier::fast(&key, &pencil))),
        login("acme-slow", "acme-slow".into(), Verifier::slow(&key, "acme-slow", &pencil)),
        login("acme-none", "acme-none".into(), None),
    ];
    let rules = || vec![allow("s", &["acme/${username}", "acme/${clientid}"]), deny("s", &["acme/x/${clientid}"])];
    let in_files = |claims| {
        let index = index(Tenant { claims, ..tenant() }, devices.clone(), rules());
        let lines = String::from_utf8(passwords(&index, NOW).expose().to_vec()).unwrap();
        (section(&index, NOW).text, lines)
    };
    let (text, lines) = in_files(tenant().claims);
    let block = "user acme-ada\n# acme/p rules[0]\ntopic read acme/acme-ada\n";
    let left_out =
        |device: &str, why: users::LeftOut| format!("# acme/shop: DeviceCredential {device}\n# {}\n", why.message());
    let expected = [
        format!("# acme/shop: DeviceCredential acme-ada\n{block}"),
        left_out("acme-fast", users::LeftOut::Password),
        left_out("acme-slow", users::LeftOut::Password),
        left_out("bob", users::LeftOut::LoginName),
    ];
    assert_eq!(text, expected.concat());
    assert_eq!(lines.lines().map(|line| line.split('$').next().unwrap()).collect::<Vec<_>>(), ["acme-ada:"]);
    // A tenant that has the broker to itself owns every login name.
    let (text, _) = in_files(Claims { client_id_prefixes: Vec::new(), ..tenant().claims });
    let users: Vec<&str> = text.lines().filter(|line| line.starts_with("user ")).collect();
    assert_eq!(users, ["user acme-ada", "user acme-foreign", "user bob"]);
}

#[test]
fn a_password_is_that_of_the_generated_secret_unless_only_the_other_mac_is_taken() {
    let lines = |algorithms: &[MacAlgorithm]| {
        let tenant = Tenant { signature_algorithms: algorithms.to_vec(), ..tenant() };
        passwords(&index(tenant, vec![device("acme-1")], Vec::new()), NOW)
    };
    // `mosquitto_passwd` of the salt and password below writes the same.
    let sha1 = lines(&[MacAlgorithm::HmacSha256, MacAlgorithm::HmacSha1]);
    assert_eq!(sha1, lines(&[MacAlgorithm::HmacSha1]));
    assert_ne!(sha1, lines(&[MacAlgorithm::HmacSha256]));
    let text = String::from_utf8(sha1.expose().to_vec()).unwrap();
    let fields: Vec<&str> = text.trim_end().split('$').collect();
    assert_eq!(fields[..3], ["DeviceCredential|DC.acme-1|mqtt-acme:", "7", "101"]);
    assert_eq!((fields[3].len(), fields[4].len(), fields.len()), (16, 88, 5), "{text}");
}
