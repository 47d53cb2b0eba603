//! An answer for a terminal.

use std::fmt::{self, Display, Formatter};

use mqtt_access_core::explain::{ShownClient, ShownExplanation, ShownRule};

use super::{Answer, Asked, Published, Question};

/// The longest topic that is printed whole.
const MAX_SHOWN: usize = 256;

/// An answer with its question, to be printed.
pub struct Shown<'a>(pub &'a Question, pub &'a Answer);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(question, Answer { verdict: _, broker, tenant, bundle, notes, clients }) = self;
        for client in clients {
            let explanation = &client.explanation;
            writeln!(f, "{:?}: {} {}", explanation.verdict, client.client_id, Wanted(&question.asked))?;
            writeln!(f, "  client: {}, tenant {tenant}, broker {broker}", Identity(client))?;
            rules(f, explanation)?;
        }
        match bundle {
            Some(Published { revision, digest }) => writeln!(f, "  bundle: revision {revision}, digest {digest}")?,
            None if question.paths.is_empty() => writeln!(f, "  bundle: none is published")?,
            None => writeln!(f, "  bundle: compiled here from the manifests; a sidecar tells of the one it serves")?,
        }
        notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

fn rules(f: &mut Formatter<'_>, explanation: &ShownExplanation) -> fmt::Result {
    let ShownExplanation { cause, not_admitted, matched, matched_omitted, near, near_omitted, .. } = explanation;
    let decided = matched.first().filter(|rule| rule.rule == *cause);
    match (not_admitted, decided) {
        (Some(reason), _) => writeln!(f, "  because: {reason}: the client cannot log in, whatever the rules say")?,
        (None, Some(rule)) => writeln!(f, "  because: {}", Line(rule))?,
        (None, None) => writeln!(f, "  because: {cause}{}", explained(cause))?,
    }
    let others = matched.iter().skip(usize::from(decided.is_some() && not_admitted.is_none()));
    others.into_iter().try_for_each(|rule| writeln!(f, "  also matches: {}", Line(rule)))?;
    more(f, *matched_omitted, "match")?;
    for rule in near {
        writeln!(f, "  nearly: {}", Line(rule))?;
        writeln!(f, "    {}", rule.message.as_deref().unwrap_or_default())?;
    }
    more(f, *near_omitted, "nearly match")
}

fn more(f: &mut Formatter<'_>, omitted: usize, what: &str) -> fmt::Result {
    if omitted == 0 { Ok(()) } else { writeln!(f, "  and {omitted} more that {what}") }
}

fn explained(cause: &str) -> &'static str {
    match cause {
        "NotGranted" => ": no Allow matches",
        _ => "",
    }
}

struct Wanted<'a>(&'a Asked);

impl Display for Wanted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Asked::Publish { topic, qos, retain } => {
                let retain = if *retain { ", retained" } else { "" };
                write!(f, "publishes to {} (QoS {}{retain})", shorten(topic), u8::from(*qos))
            }
            Asked::Subscribe { filter, qos } => {
                write!(f, "subscribes to {} (QoS {})", shorten(filter), u8::from(*qos))
            }
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}... ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text.to_owned(),
    }
}

struct Identity<'a>(&'a ShownClient);

impl Display for Identity<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ShownClient { device, access_key, mode, .. } = self.0;
        match (device, access_key) {
            (Some(device), _) => write!(f, "DeviceCredential {device}, mode {mode}"),
            (None, Some(key)) if *mode == "Token" => {
                write!(f, "access key {key}, mode Token, before its tokens' grants")
            }
            (None, Some(key)) => write!(f, "access key {key}, mode {mode}"),
            (None, None) => write!(f, "mode {mode}"),
        }
    }
}

struct Line<'a>(&'a ShownRule);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ShownRule { rule, effect, topic, place, .. } = self.0;
        write!(f, "{effect:?} {rule}")?;
        match topic {
            Some(topic) => write!(f, " `{topic}`")?,
            None => f.write_str(" on every topic, because the rule cannot be read")?,
        }
        place.iter().try_for_each(|place| write!(f, " ({place})"))
    }
}
