//! How much sections take: counted, for both languages.

use super::meter::Meter;
use super::mosquitto::tests::{NOW, allow, deny, device, index, tenant};
use super::*;
use crate::bundle::Device;
use crate::policy::Rule;

type Write = fn(&TenantIndex, i64, &Meter<'_>) -> Option<Section>;

const BOTH: [(Language, Write); 2] =
    [(Language::Emqx, emqx::section_within), (Language::Mosquitto, mosquitto::section_within)];

/// Topics of as many Allows and Denies, in rules of 16 topics.
type Shape = fn(usize) -> (String, String);

const SHAPES: [(&str, Shape); 6] = [
    ("each Deny cuts into one Allow", |n| (format!("acme/{n}/#"), format!("acme/{n}/secret"))),
    ("no Deny meets an Allow", |n| (format!("acme/{n}/#"), format!("acme/x/{n}"))),
    ("each Deny is an Allow", |n| (format!("acme/{n}"), format!("acme/{n}"))),
    ("each Deny meets every Allow", |n| (format!("acme/+/{n}/#"), format!("acme/{n}/+/x"))),
    ("Allows of one level more", |n| (format!("acme/{n}/+"), format!("acme/{n}/x/y"))),
    ("variables", |n| (format!("acme/${{clientid}}/{n}/#"), format!("acme/${{clientid}}/{n}/secret"))),
];

fn rules(shape: Shape, count: usize) -> Vec<Rule> {
    let (allows, denies): (Vec<String>, Vec<String>) = (0..count).map(shape).unzip();
    let chunk = |make: fn(&str, &[&str]) -> Rule, topics: &[String]| {
        let chunks = topics.chunks(16);
        chunks.map(|topics| make("ps", &topics.iter().map(String::as_str).collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    chunk(allow, &allows).into_iter().chain(chunk(deny, &denies)).collect()
}

fn devices(count: usize) -> Vec<Device> {
    (0..count).map(|number| device(&format!("acme-{number}"))).collect()
}

/// Steps and bytes.
fn cost(write: Write, index: &TenantIndex) -> (u64, usize) {
    let meter = Meter::new(Limits::default(), &|| true);
    let section = write(index, NOW, &meter).unwrap();
    assert_eq!(section.closed, None);
    (meter.steps(), section.text.len())
}

fn is_linear(once: u64, twice: u64) -> bool {
    // A little more, since numbers have more digits, and paths of tries are of their own.
    twice * 10 <= once * 21 + 1000
}

#[test]
fn twice_the_topics_take_twice_the_steps_and_bytes() {
    for (language, write) in BOTH {
        for (name, shape) in SHAPES {
            let [once, twice] = [400, 800].map(|count| cost(write, &index(tenant(), devices(3), rules(shape, count))));
            assert!(is_linear(once.0, twice.0), "{language:?}, {name}: {once:?} {twice:?} steps");
            let [once, twice] = [once.1, twice.1].map(|bytes| u64::try_from(bytes).unwrap());
            assert!(is_linear(once, twice), "{language:?}, {name}: {once} {twice} bytes");
        }
    }
}

#[test]
fn twice_the_devices_take_twice_the_steps_and_bytes() {
    for (language, write) in BOTH {
        for (name, shape) in SHAPES {
            let [once, twice] = [100, 200].map(|count| cost(write, &index(tenant(), devices(count), rules(shape, 32))));
            assert!(is_linear(once.0, twice.0), "{language:?}, {name}: {once:?} {twice:?} steps");
            let [once, twice] = [once.1, twice.1].map(|bytes| u64::try_from(bytes).unwrap());
            assert!(is_linear(once, twice), "{language:?}, {name}: {once} {twice} bytes");
        }
    }
}

/// EMQX knows conditions: whom a policy selects is not written out for each topic.
#[test]
fn in_acl_conf_devices_and_topics_add_up() {
    let labelled = |count| {
        let label = |device: Device| Device { labels: [("kind".to_owned(), "a".to_owned())].into(), ..device };
        devices(count).into_iter().map(label).collect::<Vec<_>>()
    };
    for (name, shape) in SHAPES {
        let bytes = |count: usize, topics: usize| {
            let index = selecting(&index(tenant(), labelled(count), rules(shape, topics)));
            cost(emqx::section_within, &index).1
        };
        let (few, many) = (bytes(500, 16), bytes(500, 1600));
        let topics = bytes(1, 1600);
        assert!(many < 2 * few + 2 * topics, "{name}: {few} bytes, {many} with more topics, which alone take {topics}");
    }
}

/// The same rules, for devices with a label.
fn selecting(index: &TenantIndex) -> TenantIndex {
    let mut policies = index.policies().to_vec();
    let selector =
        crate::policy::Selector { match_labels: [("kind".to_owned(), "a".to_owned())].into(), ..Default::default() };
    let subject = crate::policy::Subject { device_selector: Some(selector), ..Default::default() };
    policies.iter_mut().for_each(|policy| policy.subjects = vec![subject.clone()]);
    let devices = index.devices().filter_map(|persona| persona.device().cloned()).collect();
    let tenant = index.tenant().clone();
    TenantIndex::new(crate::bundle::Bundle { tenant, policies, devices }, 1).unwrap()
}

#[test]
fn past_a_bound_everything_is_denied_to_the_tenant_and_it_is_told_once() {
    let index = index(tenant(), devices(20), rules(SHAPES[0].1, 200));
    for (limits, why) in [
        (Limits { bytes: 2000, ..Limits::default() }, Closed::TooLong),
        (Limits { steps: 300, ..Limits::default() }, Closed::TooMuchWork),
    ] {
        for (language, write) in BOTH {
            let section = write(&index, NOW, &Meter::new(limits, &|| true)).unwrap();
            assert_eq!(section.closed, Some(why), "{language:?}");
            let allows = |line: &str| line.contains("allow,") || line.starts_with("topic") || line.starts_with("user");
            assert!(!section.text.lines().any(allows), "{}", section.text);
            let [told] = section.narrowed.as_slice() else { panic!("{:?}", section.narrowed) };
            assert_eq!((told.policy.as_str(), told.rule), ("p", 0));
            let expected = format!(
                "clients of the MqttTenant `acme/shop` may do nothing, here and by any other rule: {}",
                why.message()
            );
            assert_eq!(told.message, expected);
        }
        let sections = Sections::within(&index, NOW, limits, &|| true).unwrap();
        assert!([File::Emqx, File::MosquittoAcl].iter().all(|file| sections.closed_in(*file) == Some(why)));
    }
    let text = emqx::section_within(&index, NOW, &Meter::new(Limits { bytes: 0, steps: 0 }, &|| true)).unwrap().text;
    assert!(text.ends_with("{deny, {client_attr, <<\"tenant_id\">>, <<\"acme.shop\">>}, all, all}.\n"), "{text}");
}

#[test]
fn passwords_have_a_bound_of_their_own() {
    let index = index(tenant(), devices(20), Vec::new());
    let whole = Sections::of(&index, NOW);
    assert_eq!(whole.closed_in(File::MosquittoPasswords), None);
    assert!(whole.size_in(File::MosquittoPasswords) > 1000);
    let limits = Limits { bytes: whole.size_in(File::MosquittoPasswords) - 1, ..Limits::default() };
    let closed = Sections::within(&index, NOW, limits, &|| true).unwrap();
    assert_eq!(closed.closed_in(File::MosquittoPasswords), Some(Closed::TooLong));
    assert_eq!((closed.closed_in(File::MosquittoAcl), closed.size_in(File::MosquittoPasswords)), (None, 0));
}

#[test]
fn work_that_is_not_wanted_any_more_ends_without_a_result() {
    let index = index(tenant(), devices(100), rules(SHAPES[0].1, 200));
    assert!(Sections::within(&index, NOW, Limits::default(), &|| false).is_none());
}

#[test]
fn a_suspended_tenant_takes_no_work() {
    let suspended = Tenant { suspended: true, ..tenant() };
    let index = index(suspended, devices(100), rules(SHAPES[0].1, 200));
    let sections = Sections::within(&index, NOW, Limits { bytes: 0, steps: 0 }, &|| panic!("asked")).unwrap();
    let text = |file: File| String::from_utf8(file.of([&sections]).expose().to_vec()).unwrap();
    assert!(text(File::Emqx).contains("%% suspended\n{deny, {client_attr,"), "{}", text(File::Emqx));
    assert_eq!([text(File::MosquittoAcl), text(File::MosquittoPasswords)], ["", ""]);
    assert!(File::ALL.iter().all(|file| sections.closed_in(*file).is_none()));
}
