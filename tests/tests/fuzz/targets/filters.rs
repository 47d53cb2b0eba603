//! Topic names, filters and templates against the reference, and what is said of two filters against every name that matters.

use std::sync::LazyLock;

use mqtt_access_core::template::{MAX_TEMPLATE_BYTES, TemplateError, Topic};
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::topic::{Filter, TopicName, covers, overlap_witness, overlaps};

use super::bytes::Bytes;
use super::text;
use crate::reference::{self, Names, is_entry, is_filter, is_name};

/// Beyond that the reference, which goes from level to level by calling itself, would need a stack of its own.
const MAX_LEVELS: usize = 1_000;

/// A filter or template, and after a line feed a name: read alike, and matched alike.
pub(super) fn parse(data: &[u8]) {
    let text = text(data);
    reads(&text);
    let Some((filter, name)) = text.split_once('\n') else { return };
    reads(filter);
    reads(name);
    let (Ok(parsed), Ok(topic)) = (Filter::parse(filter), TopicName::parse(name)) else { return };
    if filter.split('/').count() < MAX_LEVELS {
        assert_eq!(parsed.matches(topic), Names::of(filter).contains(name));
    }
}

fn reads(text: &str) {
    assert_eq!(Filter::parse(text).map(Filter::as_str).ok(), is_filter(text).then_some(text));
    assert_eq!(TopicName::parse(text).map(TopicName::as_str).ok(), is_name(text).then_some(text));
    let topic = Topic::parse(text);
    match &topic {
        Err(TemplateError::TooLong) => assert!(text.len() > MAX_TEMPLATE_BYTES),
        read => assert_eq!(read.is_ok(), is_entry(text), "{read:?}"),
    }
    if let Some(widest) = topic.ok().and_then(|topic| topic.widest()) {
        assert!(is_filter(&widest), "{widest}");
    }
    for (prefixes, stripped) in [(Prefixes::Strip, false), (Prefixes::Stripped, true)] {
        let filter = subscribe_filter(text, prefixes).map(Filter::as_str).ok();
        assert_eq!(filter, reference::subscribe_filter(text, stripped).as_deref());
        let name = publish_name(text, prefixes).map(TopicName::as_str).ok();
        assert_eq!(name, reference::publish_name(text, stripped).as_deref());
    }
}

pub(super) fn texts() -> Vec<Vec<u8>> {
    let entries =
        ["a/${clientid}/#", "eq a/+/b", "${client_attrs.site}x/${$}/${username}", "$share/g/a/+", "$delayed/7/a"];
    let bad =
        ["a/${client_attrs.${clientid}}", "${client_attrs.}", "a/${clientid", "a#/b", "+a", "\u{85}", "$share//#"];
    let matched = ["+/b/#\na/b", "#\n$SYS/x", "a/+\na/", "/#\n/"];
    let deep = ["/".repeat(1024), "+/".repeat(400) + "#\n" + &"a/".repeat(400)];
    let plain = entries.into_iter().chain(bad).chain(matched).map(str::to_owned);
    plain.chain(deep).map(String::into_bytes).collect()
}

/// Words of the filters, and two that are in none.
const WORDS: [&str; 6] = ["a", "b", "", "$x", "c", "$c"];
const LEVELS: [&str; 5] = ["a", "b", "", "$x", "+"];
const DEPTH: usize = 3;

/// Every name of up to one level more than the longest filter.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut longest: Vec<String> = WORDS.map(str::to_owned).into();
    let mut names = longest.clone();
    for _ in 0..DEPTH {
        longest = longest.iter().flat_map(|name| WORDS.map(|word| format!("{name}/{word}"))).collect();
        names.extend(longest.iter().cloned());
    }
    names.retain(|name| !name.is_empty());
    names
});

/// Two filters: whether one covers the other, and whether they overlap.
pub(super) fn relation(data: &[u8]) {
    let mut bytes = Bytes::of(data);
    let (a, b) = (filter(&mut bytes), filter(&mut bytes));
    let (Ok(fast_a), Ok(fast_b)) = (Filter::parse(&a), Filter::parse(&b)) else { return };
    let (slow_a, slow_b) = (Names::of(&a), Names::of(&b));
    let both = || NAMES.iter().map(|name| (slow_a.contains(name), slow_b.contains(name)));
    assert_eq!(covers(fast_a, fast_b), both().all(|(in_a, in_b)| in_a || !in_b), "{a} covers {b}");
    let meet = both().any(|(in_a, in_b)| in_a && in_b);
    assert_eq!((overlaps(fast_a, fast_b), overlaps(fast_b, fast_a)), (meet, meet), "{a} overlaps {b}");
    let witness = overlap_witness(fast_a, fast_b);
    assert_eq!(witness.is_some(), meet, "{a} and {b}");
    if let Some(name) = witness {
        assert!(is_name(&name) && slow_a.contains(&name) && slow_b.contains(&name), "`{name}` of {a} and {b}");
    }
}

fn filter(bytes: &mut Bytes<'_>) -> String {
    let mut levels: Vec<&str> = (0..=bytes.below(DEPTH)).map(|_| bytes.pick(&LEVELS)).collect();
    if bytes.one_in(2) {
        levels.pop();
        levels.push("#");
    }
    levels.join("/")
}

pub(super) fn relations() -> Vec<Vec<u8>> {
    [[0_u8, 1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 4, 4, 4, 1, 2, 0, 4, 0, 0], [1, 2, 0, 0, 1, 4, 4, 4, 1, 1]]
        .map(Vec::from)
        .into()
}
