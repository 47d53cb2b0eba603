//! Who owns what on one broker: instance IDs, client-ID prefixes and parts of the topic space.
//!
//! What is already published goes first, then the older tenant. A tenant whose wishes collide keeps what it had
//! published. The same function decides in the operator, which publishes only what was granted, and in the sidecar,
//! which so refuses a second owner even if two operators raced.

use std::collections::{BTreeMap, HashMap};

use crate::bundle::{Claims, Space, UnixSeconds};
use crate::topic::{Filter, Level, overlap_witness};

/// A tenant with its wishes.
#[derive(Debug, Clone)]
pub struct Claimant<'a> {
    /// When it was created; the older goes first.
    pub created: UnixSeconds,
    /// Its namespace; settles a tie.
    pub namespace: &'a str,
    /// Its name; settles a tie.
    pub name: &'a str,
    /// What the index in force says, if there is one.
    pub published: Option<&'a Claims>,
    /// What its resource says now; `None` where it is gone or unreadable.
    pub wanted: Option<&'a Claims>,
}

/// What became of one claimant's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It owns what it wants.
    Granted,
    /// It still owns what it had published, and nothing more.
    Kept(Option<Collision>),
    /// It owns nothing.
    Refused(Collision),
}

/// Two tenants want the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// Place of the tenant that holds it in the list of claimants. For the log; the loser is not told.
    pub holder: usize,
    /// What both would own.
    pub witness: Witness,
}

/// Something that two tenants would both own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// An instance ID.
    InstanceId(String),
    /// A client ID, or the prefix of all that both would own.
    ClientId(String),
    /// A topic name.
    Topic(String),
}

/// Decides for every claimant of one broker; the answers are in the order of the claimants.
#[must_use]
pub fn resolve(claimants: &[Claimant<'_>]) -> Vec<Outcome> {
    let mut order: Vec<usize> = (0..claimants.len()).collect();
    order.sort_by_key(|place| claimants.get(*place).map(|c| (c.created, c.namespace, c.name)));
    let mut book = Book::default();
    let mut lost: BTreeMap<usize, Collision> = BTreeMap::new();
    for place in &order {
        if let Some(published) = claimants.get(*place).and_then(|claimant| claimant.published) {
            match book.collision(*place, published) {
                Some(collision) => _ = lost.insert(*place, collision),
                None => book.enter(*place, published),
            }
        }
    }
    let mut outcomes = vec![Outcome::Kept(None); claimants.len()];
    for place in order {
        let Some((claimant, outcome)) = claimants.get(place).zip(outcomes.get_mut(place)) else {
            continue;
        };
        *outcome = judge(&mut book, place, claimant, lost.remove(&place));
    }
    outcomes
}

fn judge<'a>(book: &mut Book<'a>, place: usize, claimant: &Claimant<'a>, lost: Option<Collision>) -> Outcome {
    let collision = match claimant.wanted {
        Some(wanted) => match book.collision(place, wanted) {
            None => {
                book.enter(place, wanted);
                return Outcome::Granted;
            }
            collision => collision,
        },
        None => None,
    };
    match (lost.or_else(|| collision.clone().filter(|_| claimant.published.is_none())), collision) {
        (Some(lost), _) => Outcome::Refused(lost),
        (None, collision) => Outcome::Kept(collision),
    }
}

/// What is owned so far, with the places of the owners.
#[derive(Default)]
struct Book<'a> {
    instances: HashMap<&'a str, usize>,
    prefixes: BTreeMap<&'a str, usize>,
    /// Filters by their literal first level, in an order that is always the same: so is the witness, then.
    rooted: BTreeMap<&'a str, Vec<Owned<'a>>>,
    /// Filters whose first level is a wildcard.
    rootless: Vec<Owned<'a>>,
}

#[derive(Clone, Copy)]
struct Owned<'a> {
    owner: usize,
    instance_id: &'a str,
    space: &'a Space,
}

/// No prefix at all is the prefix of every client ID.
fn prefixes(claims: &Claims) -> impl Iterator<Item = &str> {
    let all = claims.client_id_prefixes.is_empty().then_some("");
    claims.client_id_prefixes.iter().map(String::as_str).chain(all)
}

impl<'a> Book<'a> {
    fn enter(&mut self, owner: usize, claims: &'a Claims) {
        self.instances.insert(&claims.instance_id, owner);
        prefixes(claims).for_each(|prefix| _ = self.prefixes.insert(prefix, owner));
        for space in &claims.topic_space {
            let entry = Owned { owner, instance_id: &claims.instance_id, space };
            match first_level(&space.filter) {
                Some(level) => self.rooted.entry(level).or_default().push(entry),
                None => self.rootless.push(entry),
            }
        }
    }

    fn collision(&self, owner: usize, claims: &Claims) -> Option<Collision> {
        let id = &claims.instance_id;
        let instance = self.instances.get(id.as_str()).filter(|holder| **holder != owner);
        let instance = instance.map(|holder| Collision { holder: *holder, witness: Witness::InstanceId(id.clone()) });
        instance
            .or_else(|| prefixes(claims).find_map(|prefix| self.prefix_collision(owner, prefix)))
            .or_else(|| claims.topic_space.iter().find_map(|space| self.space_collision(owner, id, space)))
    }

    fn prefix_collision(&self, owner: usize, prefix: &str) -> Option<Collision> {
        let shorter = prefix.char_indices().map(|(at, _)| at).filter_map(|at| {
            let (key, holder) = self.prefixes.get_key_value(prefix.get(..at)?)?;
            Some((*key, *holder))
        });
        let longer = self.prefixes.range(prefix..).map(|(key, holder)| (*key, *holder));
        let longer = longer.take_while(|(key, _)| key.starts_with(prefix));
        let (key, holder) = shorter.chain(longer).find(|(_, holder)| *holder != owner)?;
        let witness = if key.len() > prefix.len() { key } else { prefix };
        Some(Collision { holder, witness: Witness::ClientId(witness.to_owned()) })
    }

    fn space_collision(&self, owner: usize, instance_id: &str, space: &Space) -> Option<Collision> {
        let rooted: Box<dyn Iterator<Item = &Owned<'a>>> = match first_level(&space.filter) {
            Some(level) => Box::new(self.rooted.get(level).into_iter().flatten()),
            None => Box::new(self.rooted.values().flatten()),
        };
        let shared = |owned: &Owned<'_>| {
            space.shared_with.iter().any(|id| id == owned.instance_id)
                && owned.space.shared_with.iter().any(|id| id == instance_id)
        };
        let mut others = self.rootless.iter().chain(rooted).filter(|owned| owned.owner != owner && !shared(owned));
        others.find_map(|owned| {
            let topic = common_topic(&space.filter, &owned.space.filter)?;
            Some(Collision { holder: owned.owner, witness: Witness::Topic(topic) })
        })
    }
}

fn first_level(filter: &str) -> Option<&str> {
    let first = filter.split('/').next()?;
    matches!(Level::of(first), Level::Literal(_)).then_some(first)
}

/// A topic in both filters. Filters that do not parse are taken to be the same topic: they must not be shared.
fn common_topic(a: &str, b: &str) -> Option<String> {
    match (Filter::parse(a), Filter::parse(b)) {
        (Ok(a), Ok(b)) => overlap_witness(a, b),
        _ => Some(a.to_owned()),
    }
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InstanceId(id) => write!(f, "instance ID `{id}`"),
            Self::ClientId(id) => write!(f, "client ID `{id}`"),
            Self::Topic(topic) => write!(f, "topic `{topic}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(instance_id: &str, prefixes: &[&str], space: &[(&str, &[&str])]) -> Claims {
        Claims {
            instance_id: instance_id.to_owned(),
            client_id_prefixes: prefixes.iter().map(ToString::to_string).collect(),
            topic_space: space
                .iter()
                .map(|(filter, shared)| Space {
                    filter: (*filter).to_owned(),
                    shared_with: shared.iter().map(ToString::to_string).collect(),
                })
                .collect(),
        }
    }

    fn tenant<'a>(created: i64, name: &'a str, published: Option<&'a Claims>, wanted: &'a Claims) -> Claimant<'a> {
        Claimant { created, namespace: "ns", name, published, wanted: Some(wanted) }
    }

    fn refused(holder: usize, witness: Witness) -> Outcome {
        Outcome::Refused(Collision { holder, witness })
    }

    #[test]
    fn at_a_cold_start_the_older_wins_and_the_loser_gets_a_witness() {
        let acme = claims("acme", &["a-"], &[("acme/#", &[])]);
        for (other, witness) in [
            (claims("acme", &["b-"], &[]), Witness::InstanceId("acme".to_owned())),
            (claims("b", &["a-b"], &[]), Witness::ClientId("a-b".to_owned())),
            (claims("b", &["a"], &[]), Witness::ClientId("a-".to_owned())),
            (claims("b", &[], &[]), Witness::ClientId("a-".to_owned())),
            (claims("b", &["b-"], &[("+/x", &[])]), Witness::Topic("acme/x".to_owned())),
        ] {
            let tenants = [tenant(2, "b", None, &other), tenant(1, "a", None, &acme)];
            assert_eq!(resolve(&tenants), [refused(1, witness), Outcome::Granted]);
        }
    }

    #[test]
    fn what_is_published_wins_over_the_older() {
        let (old, new) = (claims("x", &["a-"], &[]), claims("x", &["b-"], &[]));
        let tenants = [tenant(1, "a", None, &old), tenant(2, "b", Some(&new), &new)];
        assert_eq!(resolve(&tenants), [refused(1, Witness::InstanceId("x".to_owned())), Outcome::Granted]);
    }

    #[test]
    fn a_loser_keeps_what_it_had_published() {
        let (had, wants) = (claims("a", &["a-"], &[]), claims("a", &["a-", "b-"], &[]));
        let other = claims("b", &["b-"], &[]);
        let tenants = [tenant(1, "a", Some(&had), &wants), tenant(2, "b", Some(&other), &other)];
        let collision = Collision { holder: 1, witness: Witness::ClientId("b-".to_owned()) };
        assert_eq!(resolve(&tenants), [Outcome::Kept(Some(collision)), Outcome::Granted]);
    }

    #[test]
    fn what_is_still_published_is_not_free_yet() {
        let (had, wants) = (claims("a", &["a-"], &[("t/#", &[])]), claims("a", &["a-"], &[]));
        let other = claims("b", &["b-"], &[("t/1", &[])]);
        let tenants = [tenant(1, "a", Some(&had), &wants), tenant(2, "b", None, &other)];
        assert_eq!(resolve(&tenants), [Outcome::Granted, refused(0, Witness::Topic("t/1".to_owned()))]);
    }

    #[test]
    fn topics_are_shared_only_where_both_say_so() {
        let a = claims("a", &["a-"], &[("t/#", &["b"])]);
        let (mutual, silent) = (claims("b", &["b-"], &[("t/1", &["a"])]), claims("b", &["b-"], &[("t/1", &[])]));
        assert_eq!(
            resolve(&[tenant(1, "a", None, &a), tenant(2, "b", None, &mutual)]),
            [Outcome::Granted, Outcome::Granted]
        );
        let outcomes = resolve(&[tenant(1, "a", None, &a), tenant(2, "b", None, &silent)]);
        assert_eq!(outcomes[1], refused(0, Witness::Topic("t/1".to_owned())));
    }

    #[test]
    fn two_published_owners_of_one_thing_leave_it_to_the_older() {
        let (a, b) = (claims("x", &["a-"], &[]), claims("x", &["b-"], &[]));
        let tenants = [tenant(2, "a", Some(&a), &a), tenant(1, "b", Some(&b), &b)];
        assert_eq!(resolve(&tenants), [refused(1, Witness::InstanceId("x".to_owned())), Outcome::Granted]);
    }

    #[test]
    fn a_gone_tenant_holds_its_claims_until_it_is_swept() {
        let (a, b) = (claims("x", &["a-"], &[]), claims("x", &["b-"], &[]));
        let gone = Claimant { wanted: None, ..tenant(1, "a", Some(&a), &a) };
        let outcomes = resolve(&[gone, tenant(2, "b", None, &b)]);
        assert_eq!(outcomes, [Outcome::Kept(None), refused(0, Witness::InstanceId("x".to_owned()))]);
    }
}
