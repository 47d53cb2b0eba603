//! Why one topic does not match although it is near: with every variable read as `+` it would.

use super::{ValueFault, Why};
use crate::client::{Client, TICKET_ATTRIBUTE};
use crate::policy::Effect;
use crate::template::render::{Position, is_dotted, unusable};
use crate::template::{ClientTopic, Part, TemplateLevel, Topic, Variable, widest};
use crate::topic::{Filter, covers, covers_with_dollars, intersection, overlaps, overlaps_with_dollars};
use crate::verdict::{Notation, Request, Target};

/// The longest piece of a request, or filter made from one, that is repeated.
const MAX_SHOWN: usize = 256;

/// Why a topic that does not apply comes near; `None` where it does not come near.
pub(super) fn why(
    text: &str,
    topic: &Topic,
    effect: Effect,
    client: &Client<'_>,
    request: &Request<'_>,
) -> Option<Why> {
    let levels = match topic {
        Topic::Exact(filter) => {
            let parsed = Filter::parse(filter).ok()?;
            return touches(parsed, request).then(|| Why::Exactly { filter: filter.to_string() });
        }
        Topic::Template(levels) => levels,
    };
    let widest = widest(levels);
    let widest = Filter::parse(&widest).ok()?;
    let asked = asked(request);
    let near = match request.target {
        Target::Publish(_) => covers_with_dollars(widest, asked),
        Target::Subscribe(_) => overlaps_with_dollars(widest, asked),
    };
    if !near {
        return None;
    }
    let dotted = request.notation == Notation::Dotted;
    if effect == Effect::Allow
        && let Some(why) = unusable_variable(levels, client, dotted)
    {
        return Some(why);
    }
    match topic.for_client(effect, |variable| client.variable(variable))? {
        ClientTopic::Filter(own) => for_client(text, levels, &own, effect, request),
        _ => None,
    }
}

/// Whether a filter covers what is asked for.
pub(super) fn covers_request(filter: Filter<'_>, request: &Request<'_>) -> bool {
    covers(filter, asked(request))
}

fn asked<'a>(request: &Request<'a>) -> Filter<'a> {
    match request.target {
        Target::Publish(name) => name.into(),
        Target::Subscribe(filter) => filter,
    }
}

/// Whether a filter, taken as one, has to do with a request.
fn touches(filter: Filter<'_>, request: &Request<'_>) -> bool {
    match request.target {
        Target::Publish(name) => filter.matches(name),
        Target::Subscribe(asked) => overlaps(filter, asked),
    }
}

/// With the client's own values in it.
fn for_client(text: &str, levels: &[TemplateLevel], own: &str, effect: Effect, request: &Request<'_>) -> Option<Why> {
    let (filter, asked) = (Filter::parse(own).ok()?, asked(request));
    let subscribes = matches!(request.target, Target::Subscribe(_));
    if effect == Effect::Allow && subscribes && overlaps(filter, asked) {
        let narrow_to = intersection(filter, asked).filter(|narrow| narrow.len() <= MAX_SHOWN);
        return Some(Why::AsksForMore { granted: own.to_owned(), narrow_to });
    }
    let reaches = if subscribes { overlaps_with_dollars } else { covers_with_dollars };
    if reaches(filter, asked) {
        return Some(Why::Dollar);
    }
    // A level of a topic that was rendered is one level, and so is that of the text it was written in.
    let places = levels.iter().zip(text.split('/')).zip(own.split('/')).zip(asked.as_str().split('/'));
    for (((level, written), value), asked) in places {
        let wild = matches!(asked, "+" | "#");
        if matches!(level, TemplateLevel::Variable(_)) && value != asked && !wild {
            let (level, value, asked) = (written.to_owned(), value.to_owned(), shorten(asked));
            return Some(Why::OtherValue { level, value, asked });
        }
        if asked == "#" {
            break;
        }
    }
    None
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN / 4) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The first variable of a topic whose value cannot be used.
fn unusable_variable(levels: &[TemplateLevel], client: &Client<'_>, dotted: bool) -> Option<Why> {
    levels.iter().enumerate().find_map(|(place, level)| {
        let TemplateLevel::Variable(parts) = level else { return None };
        parts.iter().enumerate().find_map(|(piece, part)| {
            let Part::Variable(variable) = part else { return None };
            let position = Position { first: place == 0 && piece == 0, dotted };
            unusable(std::slice::from_ref(part), position, |variable| client.variable(variable))?;
            let fault = fault(variable, client, position);
            Some(Why::Unusable { variable: variable.to_string(), fault })
        })
    })
}

fn fault(variable: &Variable, client: &Client<'_>, position: Position) -> ValueFault {
    match (client.variable(variable), variable) {
        (None, Variable::ClientId) => ValueFault::Unproven,
        (None, Variable::Username) => ValueFault::Unverified,
        (None, Variable::Attribute(name)) if &**name == TICKET_ATTRIBUTE => ValueFault::Reserved,
        (None, Variable::Attribute(name)) if client.is_unproven(name) => ValueFault::Unproven,
        (None, Variable::Attribute(_)) => ValueFault::Absent,
        (Some(""), _) => ValueFault::Empty,
        (Some(value), _) if value.contains('/') => ValueFault::Slash,
        (Some(value), _) if position.dotted && is_dotted(value) => ValueFault::Dotted,
        (Some(value), _) if position.first && value.starts_with('$') && !value.starts_with("${") => {
            ValueFault::LeadingDollar
        }
        (Some(_), _) => ValueFault::Character,
    }
}
