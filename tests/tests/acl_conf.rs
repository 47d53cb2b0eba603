//! The text of `acl.conf`: what it is for a tenant with a bit of everything, and that Erlang itself reads it as it was meant.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use mqtt_access_core::acl_file::{Section, emqx};
use mqtt_access_core::bundle::{AccessKey, Bundle};
use mqtt_access_core::client::Map;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Qos, Rule, Selector, Subject, Topics};
use mqtt_access_tests::models::emqx::{AclConf, Asked, Client, pattern_matches};
use mqtt_access_tests::models::erlang::{Term, consult};
use mqtt_access_tests::reference::glob_matches;
use mqtt_access_tests::two_tenants::{NOW, acme};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/acl_files/acme.conf");
const BOTH: [Action; 2] = [Action::Publish, Action::Subscribe];

/// Text that means something to Erlang, EMQX or PCRE.
const NASTY: [&str; 16] = [
    "\"}]}. {allow, all}. %%",
    "\\",
    "\\x{41}\\\"",
    "a'b",
    "\u{7f}\u{0}\n\r",
    "\u{85}\u{a0}\u{e9}\u{2028}\u{ffff}",
    "\u{1f600}",
    "${clientid}",
    "$",
    "<<>>",
    "a|b)(?:c",
    "[.*]\\z",
    "\\E\\Q",
    "{2}^$",
    "~w~n",
    "eq x",
];

fn listed(topics: &[&str]) -> Topics {
    Topics::Listed(topics.iter().map(|topic| (*topic).to_owned()).collect())
}

fn rule(effect: Effect, actions: &[Action], topics: &[&str]) -> Rule {
    let actions = actions.iter().copied().collect();
    Rule { index: 0, effect, actions, topics: listed(topics), qos: None, retain: None }
}

fn policy(name: &str, subject: Subject, rules: Vec<Rule>) -> Policy {
    let rules = (0..).zip(rules).map(|(index, rule)| Rule { index, ..rule }).collect();
    Policy { name: name.to_owned(), subjects: vec![subject], rules }
}

fn everyone() -> Subject {
    Subject { everyone: true, ..Subject::default() }
}

fn map(name: &str, value: &str) -> Map {
    [(name.to_owned(), value.to_owned())].into()
}

fn ids(globs: &[&str]) -> Subject {
    Subject { client_ids: Some(globs.iter().map(|glob| (*glob).to_owned()).collect()), ..Subject::default() }
}

/// A bit of everything, with the things that EMQX cannot be told.
fn bundle() -> Bundle {
    use Action::{Publish, Subscribe};
    use Effect::{Allow, Deny};
    let trucks = Selector { match_labels: map("fleet", "trucks"), ..Selector::default() };
    let trucks = Subject { device_selector: Some(trucks), ..Subject::default() };
    let backend = Subject { access_keys: Some(vec!["backend".to_owned(), "other".to_owned()]), ..Subject::default() };
    let berlin = Subject { attributes: Some(map("site", "berlin")), ..Subject::default() };
    let qos: BTreeSet<Qos> = [1, 2].into_iter().map(|level| Qos::try_from(level).unwrap()).collect();
    let mut bundle = acme();
    bundle.policies = vec![
        policy(
            "own-topics",
            everyone(),
            vec![
                rule(Allow, &BOTH, &["acme/${client_attrs.device_id}/#", "acme/users/${username}", "acme/all/news"]),
                rule(Allow, &BOTH, &["acme/states/${clientid}/+", "acme/states/+", "acme/${client_attrs.cost-centre}"]),
                rule(Allow, &[Subscribe], &["eq acme/#", "acme/rooms/+/#", "acme/${$}{x}", "acme/${$}{y}/#"]),
            ],
        ),
        policy(
            "fleet",
            trucks,
            vec![
                rule(Allow, &[Subscribe], &["acme/fleet/#"]),
                rule(Deny, &BOTH, &["acme/fleet/secret/#", "eq acme/fleet/${clientid}"]),
            ],
        ),
        policy(
            "backend",
            backend,
            vec![Rule { qos: Some(qos), retain: Some(false), ..rule(Allow, &[Publish], &["acme/+/command"]) }],
        ),
        policy(
            "people",
            ids(&["GID_acme@@@ada-*", "GID_acme@@@bob"]),
            vec![rule(Deny, &[Publish], &["acme/${clientid}/name", "acme/last/${clientid}"])],
        ),
        policy("berlin", berlin, vec![rule(Deny, &BOTH, &["${client_attrs.site}/closed"])]),
    ];
    for (place, device) in bundle.devices.iter_mut().enumerate() {
        device.labels = map("fleet", "trucks");
        device.disabled = device.name == "slow";
        device.superuser = place == 0;
    }
    bundle.tenant.superusers_allowed = true;
    bundle
}

fn section(bundle: Bundle) -> Section {
    emqx::section(&TenantIndex::new(bundle, 1).unwrap(), NOW)
}

/// A tenant whose every name is `text`, as far as a bundle takes it.
fn nasty(text: &str) -> Section {
    let mut bundle = acme();
    text.clone_into(&mut bundle.tenant.name);
    let wanted = Subject { attributes: Some(map(text, text)), ..ids(&[text, &format!("{text}*{text}")]) };
    let level = text.replace(['/', '+', '#'], "_").replace("${", "${$}{").replace(char::is_control, "_");
    bundle.policies = vec![policy(
        text,
        wanted,
        vec![
            rule(Effect::Deny, &BOTH, &[&format!("acme/{level}"), &format!("acme/{level}/+")]),
            rule(Effect::Allow, &BOTH, &[&format!("acme/{level}"), &format!("acme/{level}/#")]),
        ],
    )];
    bundle.tenant.claims.client_id_prefixes = vec![text.to_owned()];
    bundle.tenant.access_keys.iter_mut().for_each(|key| text.clone_into(&mut key.id));
    section(bundle)
}

#[test]
fn the_file_of_a_tenant_with_a_bit_of_everything_is_the_committed_one() {
    let section = section(bundle());
    let told = section.narrowed.iter().map(|it| format!("%% {} {}: {}\n", it.policy, it.rule, it.message));
    let told: Vec<String> = told.collect();
    let text = format!("{}%%\n%% What was told:\n{}", emqx::file([&section]), told.concat());
    if std::env::var_os("UPDATE_ACL_CONF").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let committed = std::fs::read_to_string(GOLDEN).unwrap();
    assert_eq!(text, committed, "run this test with UPDATE_ACL_CONF=1 and look at the difference");
}

#[test]
fn the_sections_of_tenants_stand_one_after_the_other() {
    let (one, other) = (section(acme()), nasty("other"));
    assert_eq!(emqx::file([&one, &other]), format!("{}{}{{deny, all}}.\n", one.text, other.text));
    assert_eq!(emqx::file([]), "{deny, all}.\n");
}

#[test]
fn a_comment_cannot_be_left() {
    for text in NASTY {
        let section = nasty(text);
        for line in section.text.lines() {
            assert!(line.starts_with("%% ") || line.starts_with('{'), "{line}");
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        }
        // Lines that are no comment are rules: as many as were meant, each for this tenant alone.
        let terms = consult(&section.text).unwrap();
        assert_eq!(terms.len(), section.text.lines().filter(|line| !line.starts_with("%%")).count());
        let tenant = format!("shop.{text}");
        assert!(terms.iter().all(|term| gate(term) == Some(tenant.as_bytes())), "{terms:?}");
    }
}

/// The tenant that a rule asks for before anything else.
fn gate(rule: &Term) -> Option<&[u8]> {
    let Term::Tuple(parts) = rule else { return None };
    let Term::Tuple(who) = parts.get(1)? else { return None };
    let first = match who.as_slice() {
        [Term::Atom(and), Term::List(all)] if and == "and" => all.first()?,
        _ => parts.get(1)?,
    };
    match first {
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(kind), Term::Binary(name), Term::Binary(value)] if kind == "client_attr" => {
                (name == b"tenant_id").then_some(value)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Runs an expression in a folder, with Debian's Erlang, which RabbitMQ brings along.
fn erlang(folder: &Path, expression: &str) -> String {
    let mut erl = Command::new("erl");
    erl.current_dir(folder).args(["-noshell", "-noinput", "-eval", expression]);
    let output = erl.output().expect("run erl: install Debian's rabbitmq-server or erlang-base");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn erlang_reads_the_files_as_the_tests_do() {
    let folder = tempfile::tempdir().unwrap();
    let sections: Vec<Section> = [section(bundle())].into_iter().chain(NASTY.map(nasty)).collect();
    let text = emqx::file(&sections);
    std::fs::write(folder.path().join("acl.conf"), &text).unwrap();
    let read = "{ok, Terms} = file:consult(\"acl.conf\"), [io:format(\"~w.~n\", [Term]) || Term <- Terms], halt(0).";
    assert_eq!(consult(&erlang(folder.path(), read)).unwrap(), consult(&text).unwrap());
}

/// One pattern that PCRE refuses would cost all tenants of the broker their rules.
#[test]
fn however_much_a_tenant_denies_erlang_takes_every_pattern() {
    let site = |number: usize| format!("{number}-{}", "x".repeat(900));
    let denied: Vec<String> = (0..100).map(|number| format!("acme/{}/secret", site(number))).collect();
    let denied: Vec<&str> = denied.iter().map(String::as_str).collect();
    let rules = vec![rule(Effect::Deny, &BOTH, &denied), rule(Effect::Allow, &BOTH, &["acme/${client_attrs.site}/#"])];
    let mut bundle = acme();
    bundle.policies = vec![policy("much", everyone(), rules)];
    bundle.tenant.access_keys =
        (0..100).map(|number| AccessKey { id: site(number), ..bundle.tenant.access_keys[0].clone() }).collect();
    bundle.tenant.claims.client_id_prefixes = (0..100).map(site).collect();
    let text = emqx::file([&section(bundle)]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acl.conf"), &text).unwrap();
    let compile = "{ok, Terms} = file:consult(\"acl.conf\"), Patterns = fun Of({re, P}) -> [P]; \
        Of(T) when is_tuple(T) -> Of(tuple_to_list(T)); Of(L) when is_list(L) -> lists:append([Of(X) || X <- L]); \
        Of(_) -> [] end, All = lists:usort(Patterns(Terms)), [{ok, _} = re:compile(P) || P <- All], \
        io:format(\"~w.~n\", [length(All)]), halt(0).";
    let answer = consult(&erlang(folder.path(), compile)).unwrap();
    assert!(matches!(answer.as_slice(), [Term::Integer(number)] if *number > 10), "{answer:?}");
    let file = AclConf::compile(&text).unwrap();
    let own = site(0) + "a";
    let subscribes = |site: &str| {
        let attributes = [("tenant_id", "shop.acme"), ("auth_mode", "Password"), ("site", site)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let client = Client { client_id: &own, username: Some("a"), attributes: &attributes };
        let topic = format!("acme/{site}/#");
        let asked = Asked { publish: false, topic: &topic, qos: 0, retain: false };
        file.decide(client, asked).is_some_and(|(_, allowed)| allowed)
    };
    assert!(subscribes("free"));
    assert!((0..100).all(|number| !subscribes(&site(number))));
}

fn patterns(term: &Term, found: &mut BTreeSet<String>) {
    match term {
        Term::Tuple(parts) => match parts.as_slice() {
            [Term::Atom(re), Term::Binary(pattern)] if re == "re" => {
                found.insert(String::from_utf8(pattern.clone()).unwrap());
            }
            _ => parts.iter().for_each(|part| patterns(part, found)),
        },
        Term::List(parts) => parts.iter().for_each(|part| patterns(part, found)),
        _ => {}
    }
}

#[test]
fn erlang_evaluates_every_pattern_as_the_model_does() {
    let globs = ["*", "a*", "*a*", "*a*b*", "*a*a*a*a*a*a*a*b", "é*", "a.b*", "*\u{a9}", "a**b", "", "*<x>*"];
    let sections: Vec<Section> =
        [section(bundle())].into_iter().chain(NASTY.into_iter().chain(globs).map(nasty)).collect();
    let mut found = BTreeSet::new();
    consult(&emqx::file(&sections)).unwrap().iter().for_each(|term| patterns(term, &mut found));
    let long = "a".repeat(128);
    let subjects =
        ["", "a", "a\n", "aab", "a/b", "$a", "a$", "a${b", "+", "#", "a b", "\u{85}", "\u{e9}", "\u{c2}\u{85}", "é<x>"];
    let subjects: BTreeSet<&str> = NASTY.into_iter().chain(subjects).chain([long.as_str()]).collect();
    let quoted = |text: &str| emqx::Term::Text(text.to_owned()).to_string();
    let list = |texts: &mut dyn Iterator<Item = &str>| texts.map(quoted).collect::<Vec<_>>().join(", ");
    let (all, texts) = (list(&mut found.iter().map(String::as_str)), list(&mut subjects.iter().copied()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("patterns"), format!("[{all}].\n[{texts}].\n")).unwrap();
    // What EMQX does with them. A search that takes too long would be no match there, and is an error here.
    let evaluate = "{ok, [Patterns, Texts]} = file:consult(\"patterns\"), \
        [begin {ok, P} = re:compile(Pattern), io:format(\"~w.~n\", [[case re:run(Text, P, [report_errors]) of \
        {match, _} -> 1; nomatch -> 0 end || Text <- Texts]]) end || Pattern <- Patterns], halt(0).";
    let answers = consult(&erlang(folder.path(), evaluate)).unwrap();
    assert_eq!(answers.len(), found.len());
    assert!(found.len() > 20, "{found:?}");
    for (pattern, answer) in found.iter().zip(answers) {
        let expected = subjects.iter().map(|text| Term::Integer(pattern_matches(pattern, text).unwrap().into()));
        assert_eq!(answer, Term::List(expected.collect()), "{pattern} of {subjects:?}");
    }
}

/// As it is for devices: until its session ends, a client whose password is gone may do nothing.
#[test]
fn a_credential_with_a_prefix_and_without_a_secret_may_do_nothing() {
    let allows = |with_password: bool| {
        let mut bundle = acme();
        let login = bundle.devices.iter_mut().find(|device| device.name == "ada").unwrap().login.as_mut().unwrap();
        login.scram = None;
        login.password = login.password.take().filter(|_| with_password);
        let file = AclConf::compile(&emqx::file([&section(bundle)])).unwrap();
        let attributes = [("tenant_id", "shop.acme"), ("auth_mode", "Password")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let client = Client { client_id: "GID_acme@@@ada-1", username: Some("ada"), attributes: &attributes };
        file.decide(client, Asked { publish: true, topic: "acme/x", qos: 0, retain: false })
    };
    assert!(allows(true).is_some_and(|(_, allowed)| allowed));
    assert!(allows(false).is_some_and(|(_, allowed)| !allowed));
}

/// An ID that two keys have counts for the first, as it does at a login.
#[test]
fn the_rules_of_an_access_key_are_not_those_of_another_that_has_its_id() {
    let mut bundle = acme();
    let own = bundle.tenant.access_keys[0].clone();
    bundle.tenant.access_keys = vec![own.clone(), AccessKey { name: "second".to_owned(), secret: None, ..own }];
    let second = Subject { access_keys: Some(vec!["second".to_owned()]), ..Subject::default() };
    bundle.policies = vec![policy("second", second, vec![rule(Effect::Allow, &BOTH, &["acme/x"])])];
    assert!(!section(bundle).text.contains("{allow"));
}

#[test]
fn a_glob_is_a_pattern_that_matches_the_same_client_ids() {
    let texts = ["", "a", "b", "ab", "aab", "aba", "abab", "b@b", "é", "aé", "a*", "<a>"];
    for glob in ["a", "*", "a*", "*a", "*a*", "a*b", "a*a", "ab*ba", "*b*b*", "a**b", "*é", "*@*", "a\\*", "<*>", "a**"]
    {
        let mut bundle = acme();
        let allow = rule(Effect::Allow, &BOTH, &["acme/x"]);
        // A second glob, so that even one without a star is written as a pattern.
        bundle.policies = vec![policy("globs", ids(&[glob, "z*"]), vec![allow])];
        bundle.tenant.claims.client_id_prefixes.clear();
        let text = section(bundle).text;
        let line = text.lines().last().unwrap();
        let mut found = BTreeSet::new();
        consult(line).unwrap().iter().for_each(|term| patterns(term, &mut found));
        let answers: BTreeMap<&str, bool> = texts
            .iter()
            .map(|text| (*text, found.iter().any(|pattern| pattern_matches(pattern, text).unwrap())))
            .collect();
        let expected: BTreeMap<&str, bool> =
            texts.iter().map(|text| (*text, glob_matches(glob.as_bytes(), text.as_bytes()))).collect();
        assert_eq!(answers, expected, "{glob}: {found:?}");
    }
}
