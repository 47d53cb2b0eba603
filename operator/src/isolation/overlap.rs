//! The topic spaces of all tenants as a tree of levels, which finds overlapping filters without comparing all pairs.

use std::collections::BTreeMap;

use mqtt_access_core::bundle::Space;
use mqtt_access_core::topic::{Filter, Level};

use super::{Exception, Isolation, Reach, ViolationReason, Withdrawn, common_topic, violation};

/// All filters of all tenants, with their owners.
pub(super) struct Spaces<'r> {
    owned: Vec<(&'r Reach, &'r Space)>,
    nodes: Vec<Node<'r>>,
    /// Those that cannot be read: they may be anything.
    unreadable: Vec<usize>,
}

#[derive(Default)]
struct Node<'r> {
    /// `+` is one of them.
    children: BTreeMap<&'r str, usize>,
    end: Vec<usize>,
    hash: Vec<usize>,
}

type Owned<'o> = (&'o Reach, &'o Space);

/// Of two tenants the owner of what their filters have in common, and the one whose clients are refused all of it.
fn refused_one<'o>(one: Owned<'o>, other: Owned<'o>) -> Option<(Owned<'o>, Owned<'o>)> {
    let refused = |reach: &Reach| reach.is_refused_common(&one.1.filter, &other.1.filter);
    if refused(other.0) { Some((one, other)) } else { refused(one.0).then_some((other, one)) }
}

impl<'r> Spaces<'r> {
    pub(super) fn of(tenants: &[&'r Reach]) -> Self {
        let mut spaces = Self { owned: Vec::new(), nodes: vec![Node::default()], unreadable: Vec::new() };
        for tenant in tenants {
            for space in &tenant.claims.topic_space {
                let number = spaces.owned.len();
                spaces.owned.push((tenant, space));
                match Filter::parse(&space.filter) {
                    Ok(_) => _ = spaces.insert(&space.filter, number),
                    Err(_) => spaces.unreadable.push(number),
                }
            }
        }
        spaces
    }

    pub(super) fn len(&self) -> usize {
        self.owned.len()
    }

    fn insert(&mut self, filter: &'r str, number: usize) -> Option<()> {
        let mut at = 0;
        for level in filter.split('/') {
            if level == "#" {
                self.nodes.get_mut(at)?.hash.push(number);
                return Some(());
            }
            let fresh = self.nodes.len();
            let child = *self.nodes.get_mut(at)?.children.entry(level).or_insert(fresh);
            if child == fresh {
                self.nodes.push(Node::default());
            }
            at = child;
        }
        self.nodes.get_mut(at)?.end.push(number);
        Some(())
    }

    /// Filters that may overlap this one, in the order of tenants; what does not is told by comparing.
    fn near(&self, filter: &str) -> Vec<usize> {
        let mut found = self.unreadable.clone();
        if Filter::parse(filter).is_err() {
            return (0..self.owned.len()).collect();
        }
        let levels: Vec<Level<'_>> = filter.split('/').map(Level::of).collect();
        self.descend(0, &levels, &mut found);
        found.sort_unstable();
        found
    }

    fn descend(&self, at: usize, levels: &[Level<'_>], found: &mut Vec<usize>) {
        let Some(node) = self.nodes.get(at) else { return };
        found.extend(&node.hash);
        let Some((level, rest)) = levels.split_first() else { return found.extend(&node.end) };
        match level {
            Level::Literal(text) => {
                let children =
                    node.children.get(text).into_iter().chain(node.children.get("+").filter(|_| *text != "+"));
                children.for_each(|child| self.descend(*child, rest, found));
            }
            Level::Plus => node.children.values().for_each(|child| self.descend(*child, rest, found)),
            Level::Hash => {
                // The parent is a match, too.
                found.extend(&node.end);
                node.children.values().for_each(|child| self.below(*child, found));
            }
        }
    }

    fn below(&self, at: usize, found: &mut Vec<usize>) {
        let Some(node) = self.nodes.get(at) else { return };
        found.extend(node.end.iter().chain(&node.hash));
        node.children.values().for_each(|child| self.below(*child, found));
    }

    /// What two tenants both own.
    pub(super) fn overlaps(&self, isolation: &mut Isolation) {
        for (number, (tenant, space)) in self.owned.iter().enumerate() {
            for other in self.near(&space.filter).into_iter().filter(|other| *other > number) {
                let Some((holder, held)) = self.owned.get(other).filter(|(holder, _)| !std::ptr::eq(*holder, *tenant))
                else {
                    continue;
                };
                let Some(witness) = common_topic(&space.filter, &held.filter) else { continue };
                let ids = [&tenant.claims.instance_id, &holder.claims.instance_id];
                if space.shared_with.contains(ids[1]) && held.shared_with.contains(ids[0]) {
                    isolation.exceptions.push(Exception {
                        tenants: [tenant.tenant.clone(), holder.tenant.clone()],
                        shared_with: [ids[1].clone(), ids[0].clone()],
                        filters: [space.filter.clone(), held.filter.clone()],
                        witness,
                    });
                } else if let Some((owner, refused)) = refused_one((tenant, space), (holder, held)) {
                    isolation.withdrawn.push(Withdrawn {
                        owner: owner.0.tenant.clone(),
                        refused: refused.0.tenant.clone(),
                        filters: [owner.1.filter.clone(), refused.1.filter.clone()],
                        witness,
                    });
                } else {
                    let message = format!(
                        "`{}` and `{}` overlap, and not both name the other in `sharedWith`",
                        space.filter, held.filter
                    );
                    let reason = ViolationReason::TopicSpaceOverlap;
                    isolation.violations.push(violation(reason, &[*tenant, *holder], message, Some(witness)));
                }
            }
        }
    }

    /// The first tenant but this one that owns something of a filter, with a topic of it.
    pub(super) fn first_of_another(&self, tenant: &Reach, filter: &str) -> Option<(&'r Reach, String)> {
        self.near(filter).into_iter().find_map(|number| {
            let (holder, held) = self.owned.get(number).filter(|(holder, _)| !std::ptr::eq(*holder, tenant))?;
            Some((*holder, common_topic(filter, &held.filter)?))
        })
    }
}
