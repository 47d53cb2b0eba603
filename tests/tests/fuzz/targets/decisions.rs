//! Policies, a client and requests made of any bytes: the index, the reference and the client's own list of rules agree.

use mqtt_access_core::client::{Client, Grant, Map, Mode};
use mqtt_access_core::policy::{Action, Effect, Operator, Policy, Qos, Requirement, Rule, Selector, Subject, Topics};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Cause, Notation, Reason, Request, Target};

use super::bytes::Bytes;
use crate::models::written;
use crate::reference::{World, is_filter};

const LEVELS: [&str; 8] = ["a", "b", "+", "", "$x", "xa", "a.b", "*"];
const VARIABLES: [&str; 10] = [
    "${clientid}",
    "x${clientid}",
    "${username}",
    "${client_attrs.site}",
    "${client_attrs.site}${clientid}",
    "$${client_attrs.site}",
    "${$}${client_attrs.device_id}b",
    "${client_attrs.group_id}",
    "${client_attrs.mqa_ticket}",
    "${client_attrs.none}",
];
const INVALID: [&str; 5] = ["a/#/b", "${x}", "a+", "${client_attrs.}", "${a"];
const VALUES: [&str; 14] = ["a", "b", "x", "b@@@a", "", "a/b", "+", "a#", "${", "\u{7}", "\u{85}", "$x", "a.b", "*"];
const ATTRIBUTES: [&str; 6] = ["site", "device_id", "client_id", "group_id", "tenant_id", "mqa_ticket"];
const GLOBS: [&str; 6] = ["*", "a", "a*", "*@@@*", "b*a", ""];
const KEYS: [&str; 2] = ["backend", "ops"];

pub(super) fn check(data: &[u8]) {
    let mut bytes = Bytes::of(data);
    let policies: Vec<Policy> =
        ["p", "q", "r"].into_iter().take(1 + bytes.below(3)).map(|name| policy(&mut bytes, name)).collect();
    let space = if bytes.one_in(4) { bytes.many(3, filter) } else { ["#", "$x/#", "a.b/#"].map(str::to_owned).into() };
    let own = Owned::read(&mut bytes);
    let client = own.client();
    let world = World { namespace: "acme", policies: &policies, space: &space };
    let compiled = world.compiled();
    let Ok(rules) = Rules::compile("acme", &compiled, space.iter().map(String::as_str)) else {
        panic!("what was compiled is not read: {compiled:?}");
    };
    let principal = rules.principal(client);
    let listed = rules.of_client(&principal);
    for _ in 0..6 {
        let topic = topic_asked(&mut bytes);
        let request = request(&mut bytes, &topic);
        let (fast, slow) = (rules.decide(&principal, &request), world.decide(&client, &request));
        assert_eq!(
            (fast.is_allow(), fast.cause()),
            (slow.allow, slow.cause),
            "{request:?} of {client:?} by {policies:?}"
        );
        // What its tokens grant narrows the list further.
        let by_token = matches!(fast.cause(), Cause::Reason(Reason::NotGrantedByToken | Reason::TokenTypeMismatch));
        if request.notation == Notation::Mqtt && !by_token {
            let found = written::judge(&listed, &request);
            assert_eq!(found, (fast.is_allow(), fast.cause()), "{request:?} of {client:?} by {policies:?}");
        }
    }
}

fn policy(bytes: &mut Bytes<'_>, name: &str) -> Policy {
    let subjects = (0..=bytes.below(2)).map(|_| subject(bytes)).collect();
    let rules = (0..=u32::try_from(bytes.below(4)).unwrap_or_default()).map(|index| rule(bytes, index)).collect();
    Policy { name: name.to_owned(), subjects, rules }
}

fn subject(bytes: &mut Bytes<'_>) -> Subject {
    if bytes.below(3) != 0 {
        return Subject { everyone: true, ..Subject::default() };
    }
    Subject {
        everyone: bytes.one_in(16),
        device_selector: bytes.some(3, selector),
        client_ids: bytes.some(3, |bytes| bytes.many(2, |bytes| bytes.pick(&GLOBS).to_owned())),
        attributes: bytes.some(3, |bytes| map(bytes, &ATTRIBUTES, &VALUES)),
        access_keys: bytes.some(3, |bytes| bytes.many(2, |bytes| bytes.pick(&KEYS).to_owned())),
    }
}

fn selector(bytes: &mut Bytes<'_>) -> Selector {
    let operators = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];
    let requirement = |bytes: &mut Bytes<'_>| Requirement {
        key: "kind".to_owned(),
        operator: bytes.pick(&operators),
        values: bytes.many(2, |bytes| bytes.pick(&["a", "b"]).to_owned()).into_iter().collect(),
    };
    Selector {
        match_labels: map(bytes, &["kind", "floor"], &["a", "b"]),
        match_expressions: bytes.many(1, requirement),
    }
}

fn map(bytes: &mut Bytes<'_>, names: &[&str], values: &[&str]) -> Map {
    bytes.many(2, |bytes| (bytes.pick(names).to_owned(), bytes.pick(values).to_owned())).into_iter().collect()
}

fn rule(bytes: &mut Bytes<'_>, index: u32) -> Rule {
    let actions = [&[Action::Publish, Action::Subscribe][..], &[Action::Publish], &[Action::Subscribe]];
    Rule {
        index,
        effect: bytes.pick(&[Effect::Allow, Effect::Allow, Effect::Deny]),
        actions: bytes.pick(&actions).iter().copied().collect(),
        topics: if bytes.one_in(64) { Topics::Everything } else { Topics::Listed(bytes.many(3, entry)) },
        qos: bytes.some(6, |bytes| bytes.many(2, qos).into_iter().flatten().collect()),
        retain: bytes.some(6, |bytes| bytes.one_in(2)),
    }
}

fn qos(bytes: &mut Bytes<'_>) -> Option<Qos> {
    Qos::try_from(u8::try_from(bytes.below(3)).unwrap_or_default()).ok()
}

fn entry(bytes: &mut Bytes<'_>) -> String {
    match bytes.below(16) {
        0 => "#".to_owned(),
        1 => bytes.pick(&INVALID).to_owned(),
        2 | 3 => format!("eq {}", filter(bytes)),
        _ => levels(bytes, true),
    }
}

fn filter(bytes: &mut Bytes<'_>) -> String {
    levels(bytes, false)
}

fn levels(bytes: &mut Bytes<'_>, variables: bool) -> String {
    let level = |bytes: &mut Bytes<'_>| match bytes.below(8) {
        0..3 if variables => bytes.pick(&VARIABLES),
        _ => bytes.pick(&LEVELS),
    };
    let mut levels: Vec<&str> = (0..=bytes.below(4)).map(|_| level(bytes)).collect();
    levels.extend(bytes.one_in(3).then_some("#"));
    if levels == [""] { "a".to_owned() } else { levels.join("/") }
}

fn topic_asked(bytes: &mut Bytes<'_>) -> String {
    let topic = levels(bytes, false);
    if is_filter(&topic) { topic } else { "a".to_owned() }
}

fn request<'t>(bytes: &mut Bytes<'_>, topic: &'t str) -> Request<'t> {
    let name = TopicName::parse(topic).ok().filter(|_| bytes.one_in(2));
    // RabbitMQ cannot ask about a `.` or `*`.
    let dotted = bytes.one_in(3) && !topic.contains(['.', '*']);
    let Ok(filter) = Filter::parse(topic) else { panic!("{topic} is no filter") };
    Request {
        target: name.map_or(Target::Subscribe(filter), Target::Publish),
        qos: if bytes.one_in(6) { None } else { qos(bytes) },
        retain: (!bytes.one_in(6)).then(|| bytes.one_in(2)),
        notation: if dotted { Notation::Dotted } else { Notation::Mqtt },
    }
}

/// What a [`Client`] borrows.
struct Owned {
    client_id: &'static str,
    client_id_proven: bool,
    username: Option<&'static str>,
    tenant_attributes: Map,
    own_attributes: Option<Map>,
    labels: Option<Map>,
    access_key: Option<&'static str>,
    superuser: bool,
    grants: Option<Vec<Grant>>,
}

impl Owned {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        let grant = |bytes: &mut Bytes<'_>| Grant {
            filter: if bytes.one_in(2) { "#".to_owned() } else { filter(bytes) },
            publish: bytes.one_in(2),
            subscribe: bytes.one_in(2),
        };
        Self {
            client_id: bytes.pick(&VALUES),
            client_id_proven: !bytes.one_in(4),
            username: bytes.some(2, |bytes| bytes.pick(&VALUES)),
            tenant_attributes: map(bytes, &ATTRIBUTES, &VALUES),
            own_attributes: bytes.some(2, |bytes| map(bytes, &ATTRIBUTES, &VALUES)),
            labels: bytes.some(2, |bytes| map(bytes, &["kind", "floor"], &["a", "b"])),
            access_key: bytes.some(3, |bytes| bytes.pick(&KEYS)),
            superuser: bytes.one_in(8),
            grants: bytes.some(6, |bytes| bytes.many(2, grant)),
        }
    }

    fn client(&self) -> Client<'_> {
        Client {
            client_id: self.client_id,
            client_id_proven: self.client_id_proven,
            username: self.username,
            mode: if self.access_key.is_some() { Mode::Signature } else { Mode::DeviceCredential },
            tenant_id: "acme.t",
            instance_id: "a",
            tenant_attributes: &self.tenant_attributes,
            own_attributes: self.own_attributes.as_ref(),
            labels: self.labels.as_ref(),
            access_key: self.access_key,
            superuser: self.superuser,
            grants: self.grants.as_deref(),
            withheld: None,
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let counted = |step: u8| (0..160_u8).map(|number| number.wrapping_mul(step).wrapping_add(number / 7)).collect();
    [1, 3, 7, 11, 29, 53, 101, 197].map(counted).into()
}
