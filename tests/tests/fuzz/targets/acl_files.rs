//! `acl.conf`: whatever text comes into it, Erlang reads back that text, and no rule that nobody wrote.

use mqtt_access_core::acl_file::emqx;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Action, Effect, Policy, Rule, Subject, Topics};

use super::{seed, split, text};
use crate::erlang::{Term, consult};
use crate::two_tenants::{NOW, acme};

/// The first byte says whether the rest is a term, or the text in a tenant's objects.
pub(super) fn acl_conf(data: &[u8]) {
    let (how, rest) = split(data);
    if how % 2 == 0 { a_term(rest) } else { a_file(&text(rest)) }
}

fn a_term(data: &[u8]) {
    let (written, meant) = build(&mut data.iter().copied(), 0);
    assert_eq!(consult(&format!("{written}.\n")), Ok(vec![meant]), "{written}");
}

/// A term that the bytes make, for the writer and for the reader.
fn build(bytes: &mut dyn Iterator<Item = u8>, depth: u8) -> (emqx::Term, Term) {
    let (kind, size) = (bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default());
    let atoms = ["allow", "and", "or", "client_attr"];
    match kind % 5 {
        0 => {
            let name = atoms[usize::from(size) % atoms.len()];
            (emqx::Term::Atom(name), Term::Atom(name.to_owned()))
        }
        1 => (emqx::Term::Integer(size), Term::Integer(size.into())),
        2 if depth < 8 => several(bytes, size, depth, emqx::Term::Tuple, Term::Tuple),
        3 if depth < 8 => several(bytes, size, depth, emqx::Term::List, Term::List),
        _ => {
            let text = text(&bytes.take(size.into()).collect::<Vec<_>>());
            (emqx::Term::Text(text.clone()), Term::Binary(text.into_bytes()))
        }
    }
}

fn several(
    bytes: &mut dyn Iterator<Item = u8>,
    size: u8,
    depth: u8,
    written: fn(Vec<emqx::Term>) -> emqx::Term,
    meant: fn(Vec<Term>) -> Term,
) -> (emqx::Term, Term) {
    let (parts, read) = (0..size % 4).map(|_| build(bytes, depth + 1)).unzip();
    (written(parts), meant(read))
}

/// Each line of the text is a name, a value, a glob, a key ID, a prefix, or topics from there on.
fn a_file(text: &str) {
    let mut lines = text.split('\n').map(str::to_owned);
    let [name, policy, attribute, value, glob, key] = [(); 6].map(|()| lines.next().unwrap_or_default());
    let subject = Subject {
        client_ids: Some(vec![glob.clone()]),
        attributes: Some([(attribute.clone(), value.clone())].into()),
        ..Subject::default()
    };
    let topics: Vec<String> = lines.collect();
    let rule = |index, effect| {
        let actions = [Action::Publish, Action::Subscribe].into();
        Rule { index, effect, actions, topics: Topics::Listed(topics.clone()), qos: None, retain: None }
    };
    let rules = vec![rule(0, Effect::Deny), rule(1, Effect::Allow)];
    let mut bundle = acme();
    bundle.policies = vec![Policy { name: policy, subjects: vec![subject], rules }];
    bundle.tenant.claims.client_id_prefixes = vec![glob];
    bundle.tenant.claims.instance_id.clone_from(&key);
    bundle.tenant.access_keys.iter_mut().for_each(|it| it.id.clone_from(&key));
    bundle.tenant.client_attributes.insert(attribute, value);
    let gate = [b"shop.", name.as_bytes()].concat();
    bundle.tenant.name = name;
    // Topics that are none are refused before.
    let Ok(index) = TenantIndex::new(bundle, 1) else { return };
    let section = emqx::section(&index, NOW);
    let rules = consult(&section.text).expect("a section is read");
    assert_eq!(rules.len(), section.text.lines().filter(|line| !line.starts_with("%% ")).count());
    assert!(rules.iter().all(|rule| is_gated(rule, &gate)), "{}", section.text);
    let file = consult(&emqx::file([&section])).expect("a file is read");
    let end = Term::Tuple(["deny", "all"].map(|name| Term::Atom(name.to_owned())).into());
    assert_eq!(file.split_last(), Some((&end, &*rules)));
}

/// Whether a rule asks for the tenant before anything else.
fn is_gated(rule: &Term, tenant: &[u8]) -> bool {
    let Term::Tuple(rule) = rule else { return false };
    let [Term::Atom(effect), Term::Tuple(who), _, _] = rule.as_slice() else { return false };
    let gate = match who.as_slice() {
        [Term::Atom(and), Term::List(all)] if and == "and" => all.first(),
        _ => rule.get(1),
    };
    let asked = [Term::Atom("client_attr".to_owned()), Term::Binary(b"tenant_id".into()), Term::Binary(tenant.into())];
    ["allow", "deny"].contains(&effect.as_str()) && gate == Some(&Term::Tuple(asked.into()))
}

pub(super) fn acl_confs() -> Vec<Vec<u8>> {
    let file = |topics: &str| seed(1, format!("acme\npolicy\nsite\nberlin\nGID_acme@@@*\nAK.1\n{topics}"));
    vec![
        seed(0, [2, 3, 0, 1, 3, 2, 4, 5, b'a', b'"', b'\\', 0xc3, 0xa9, 4, 2, b'$', b'{', 1, 2]),
        seed(0, [4, 8, 0xef, 0xbf, 0xbf, b'\n', b'%', b'%', b'"', b'.']),
        file("acme/${clientid}/#\nacme/+\neq acme/${x}"),
        file("${client_attrs.site}/a\nacme/\"}]}. {allow, all}.\nacme/${$}{username}/+/#"),
    ]
}
