//! What is in force of policies that do not fit into the budget of their tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt_access_core::policy::{Effect, Policy};
use mqtt_access_crds::PolicyAccepted;

use super::{Draft, deny_everything};
use crate::compile::PolicyReport;
use crate::compile::budget::{BeyondPolicy, Book, Budget, Closed, Fit, everyone};
use crate::finding::{Finding, FindingReason, Place};

/// What is in force: policies that fit, and in place of the others what they may have denied. The order is that of the names.
pub(in crate::compile) fn settle(drafts: Vec<Draft>, beyond: &[BeyondPolicy], book: &mut Book) -> Settled {
    let (mut closed, mut settled) = (Closed::default(), Settled::default());
    for mut draft in drafts {
        let kept = match draft.fit {
            Fit::Whole => true,
            Fit::DenyOnly(budget) => {
                draft.keep_denials(budget);
                true
            }
            Fit::Not(budget) => draft.close(budget, &mut closed),
        };
        settled.reports.insert(draft.policy.name.clone(), draft.report);
        settled.policies.extend(Some(draft.policy).filter(|_| kept));
    }
    let mut beyond: Vec<&BeyondPolicy> = beyond.iter().collect();
    beyond.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    // They may be a hundred thousand, and are told one of two things.
    let [denied, allowed] = [DENIED_TO_ALL, ALLOWS_NOTHING].map(|effect| message(Budget::Policies, effect));
    for BeyondPolicy { name, created: _, generation, denies } in beyond {
        book.take(Budget::Policies, 1);
        let message = if *denies { &denied } else { &allowed };
        if *denies && closed.close_tenant() {
            settled.policies.push(Policy { name: name.clone(), subjects: everyone(), rules: vec![deny_everything(0)] });
        }
        let report = over_budget(Arc::clone(message), *generation);
        settled.reports.insert(name.clone(), report);
    }
    settled.policies.sort_by(|a, b| a.name.cmp(&b.name));
    settled.tenant_closed = closed.is_full();
    settled
}

/// The policies of a bundle.
#[derive(Default)]
pub(in crate::compile) struct Settled {
    pub(in crate::compile) policies: Vec<Policy>,
    pub(in crate::compile) reports: BTreeMap<String, PolicyReport>,
    /// Whether everything is denied to every client.
    pub(in crate::compile) tenant_closed: bool,
}

impl Draft {
    /// Its Allow rules do not fit, its Deny rules do.
    fn keep_denials(&mut self, budget: Budget) {
        let message = format!(
            "the tenant's `limits.{}` has no room for it, so it allows nothing; remove topics, or have the platform team raise \
             the limit",
            budget.as_str()
        );
        let allows = self.policy.rules.iter().filter(|rule| rule.effect == Effect::Allow);
        let found = allows.map(|rule| Finding::new(Place::Rule(rule.index), FindingReason::OverBudget, &message));
        self.report.findings.extend(found);
        self.policy.rules.retain(|rule| rule.effect == Effect::Deny);
    }

    /// It does not fit. Tells whether the bundle has something of it.
    fn close(&mut self, budget: Budget, closed: &mut Closed) -> bool {
        let generation = self.report.generation;
        let (effect, kept) = match self.denies {
            None => (ALLOWS_NOTHING, false),
            Some(index) => {
                self.policy.rules = vec![deny_everything(index)];
                if closed.takes(&self.policy) {
                    (DENIED_TO_SUBJECTS, true)
                } else {
                    self.policy.subjects = everyone();
                    (DENIED_TO_ALL, closed.close_tenant())
                }
            }
        };
        self.report = over_budget(message(budget, effect), generation);
        kept
    }
}

const ALLOWS_NOTHING: &str = "it allows nothing";
const DENIED_TO_SUBJECTS: &str = "everything is denied to its subjects";
const DENIED_TO_ALL: &str =
    "everything is denied to every client of the tenant, because it has a Deny and too many such policies do not fit";

fn message(budget: Budget, effect: &str) -> Arc<str> {
    let message = format!(
        "{effect}: the tenant's `limits.{}` has no room for it, because it is among the newest; shorten or remove \
         policies, or have the platform team raise the limit",
        budget.as_str()
    );
    message.into()
}

fn over_budget(message: Arc<str>, generation: Option<i64>) -> PolicyReport {
    PolicyReport { accepted: PolicyAccepted::OverBudget, message, findings: Vec::new(), matched: None, generation }
}
