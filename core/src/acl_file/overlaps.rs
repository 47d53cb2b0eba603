//! Topic filters, among which those are found that overlap another one, without a look at all of them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::meter::Meter;
use crate::topic::{Filter, Level};

/// Filters by their levels; each has a number. Node 0 is the root.
#[derive(Debug)]
pub(super) struct Filters<'f> {
    nodes: Vec<Node<'f>>,
}

#[derive(Debug, Default)]
struct Node<'f> {
    /// In the order of their texts: what is found first is the same each time.
    literal: BTreeMap<&'f str, usize>,
    plus: Option<usize>,
    /// Filters that end here.
    end: Vec<usize>,
    /// Filters that end here with a further `#`.
    hash: Vec<usize>,
}

/// A filter that is asked about.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) filter: Filter<'a>,
    /// Whether leading wildcards reach names that start with `$`.
    pub(super) with_dollars: bool,
}

impl Default for Filters<'_> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<'f> Filters<'f> {
    pub(super) fn insert(&mut self, filter: Filter<'f>, number: usize) {
        let mut at = 0;
        for level in filter.levels() {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match level {
                Level::Hash => {
                    node.hash.push(number);
                    return;
                }
                Level::Plus => *node.plus.get_or_insert(fresh),
                Level::Literal(text) => *node.literal.entry(text).or_insert(fresh),
            };
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.end.push(number);
        }
    }

    /// Hands over the filters that overlap another one, until one of them is what was sought or the meter ends.
    pub(super) fn find(
        &self,
        asked: Asked<'_>,
        meter: &Meter<'_>,
        found: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let levels: Vec<Level<'_>> = asked.filter.levels().collect();
        Search { filters: self, with_dollars: asked.with_dollars, meter, found }.descend(0, &levels, true)
    }
}

struct Search<'s, 'f, 'g> {
    filters: &'s Filters<'f>,
    with_dollars: bool,
    meter: &'s Meter<'g>,
    found: &'s mut dyn FnMut(usize) -> ControlFlow<()>,
}

impl<'s, 'f> Search<'s, 'f, '_> {
    fn descend(&mut self, at: usize, levels: &[Level<'_>], first: bool) -> ControlFlow<()> {
        let node = self.node(at)?;
        let Some((level, after)) = levels.split_first() else {
            self.report(&node.hash)?;
            return self.report(&node.end);
        };
        if !(first && self.escapes(*level)) {
            self.report(&node.hash)?;
        }
        match *level {
            Level::Hash => self.below(node, first),
            Level::Plus => {
                for (text, child) in &node.literal {
                    if !(first && self.escapes(Level::Literal(text))) {
                        self.descend(*child, after, false)?;
                    }
                }
                node.plus.map_or(ControlFlow::Continue(()), |child| self.descend(child, after, false))
            }
            Level::Literal(text) => {
                if let Some(child) = node.literal.get(text) {
                    self.descend(*child, after, false)?;
                }
                let plus = node.plus.filter(|_| !(first && self.escapes(*level)));
                plus.map_or(ControlFlow::Continue(()), |child| self.descend(child, after, false))
            }
        }
    }

    /// Everything at and below a node overlaps `#`, aside from what ends in `#` here.
    fn below(&mut self, node: &'s Node<'f>, first: bool) -> ControlFlow<()> {
        self.report(&node.end)?;
        for (text, child) in &node.literal {
            if !(first && self.escapes(Level::Literal(text))) {
                self.everything(*child)?;
            }
        }
        node.plus.map_or(ControlFlow::Continue(()), |child| self.everything(child))
    }

    fn everything(&mut self, at: usize) -> ControlFlow<()> {
        let node = self.node(at)?;
        self.report(&node.hash)?;
        self.below(node, false)
    }

    /// A step of the search.
    fn node(&self, at: usize) -> ControlFlow<(), &'s Node<'f>> {
        match self.filters.nodes.get(at).filter(|_| self.meter.step(1)) {
            Some(node) => ControlFlow::Continue(node),
            None => ControlFlow::Break(()),
        }
    }

    fn report(&mut self, numbers: &[usize]) -> ControlFlow<()> {
        for number in numbers {
            if !self.meter.step(1) {
                return ControlFlow::Break(());
            }
            (self.found)(*number)?;
        }
        ControlFlow::Continue(())
    }

    fn escapes(&self, level: Level<'_>) -> bool {
        !self.with_dollars && level.is_dollar()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::meter::Limits;
    use super::*;
    use crate::topic::{overlaps, overlaps_with_dollars};

    /// Every filter of up to three levels over what levels can be.
    fn all() -> Vec<String> {
        let levels = ["a", "b", "", "+", "$x", "#"];
        let mut filters: Vec<String> = levels.map(str::to_owned).into();
        for _ in 0..2 {
            let longer = filters.iter().flat_map(|before| levels.map(|level| format!("{before}/{level}")));
            let longer: Vec<String> = longer.collect();
            filters.extend(longer);
        }
        filters.retain(|text| Filter::parse(text).is_ok());
        filters.sort();
        filters.dedup();
        filters
    }

    #[test]
    fn just_those_that_overlap_are_found() {
        let texts = all();
        let parsed: Vec<Filter<'_>> = texts.iter().map(|text| Filter::parse(text).unwrap()).collect();
        let mut filters = Filters::default();
        parsed.iter().enumerate().for_each(|(number, filter)| filters.insert(*filter, number));
        for (with_dollars, relation) in [(false, overlaps as fn(_, _) -> _), (true, overlaps_with_dollars)] {
            for filter in &parsed {
                let meter = Meter::new(Limits::default(), &|| true);
                let mut found = Vec::new();
                let _ = filters.find(Asked { filter: *filter, with_dollars }, &meter, &mut |number| {
                    found.push(number);
                    ControlFlow::Continue(())
                });
                let distinct: BTreeSet<usize> = found.iter().copied().collect();
                let expected = parsed.iter().enumerate().filter(|(_, other)| relation(*filter, **other));
                assert_eq!(distinct, expected.map(|(number, _)| number).collect(), "{filter:?} {with_dollars}");
                assert_eq!(distinct.len(), found.len(), "each once: {filter:?}");
            }
        }
    }

    #[test]
    fn a_search_costs_its_own_levels_and_what_it_finds() {
        let texts: Vec<String> = (0..10_000).map(|number| format!("acme/{number}/#")).collect();
        let mut filters = Filters::default();
        texts.iter().enumerate().for_each(|(number, text)| filters.insert(Filter::parse(text).unwrap(), number));
        let steps = |text: &str| {
            let meter = Meter::new(Limits::default(), &|| true);
            let asked = Asked { filter: Filter::parse(text).unwrap(), with_dollars: false };
            let _ = filters.find(asked, &meter, &mut |_| ControlFlow::Break(()));
            meter.steps()
        };
        assert!(steps("acme/77/x") <= 6 && steps("acme/none/x") <= 3 && steps("#") <= 6);
    }
}
