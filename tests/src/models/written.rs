//! A broker that evaluates the rules written out for one client, each as it stands: any Deny refuses, then any Allow grants.
//!
//! It says what the index says, so that whoever writes that list for a broker may rely on it. What tokens grant is not in it.

use mqtt_access_core::policy::Effect;
use mqtt_access_core::rules::ClientRule;
use mqtt_access_core::verdict::{Cause, Reason, Request};

/// Whether the rules of one client allow a request, and the first of those that decide.
#[must_use]
pub fn judge<'i>(rules: &[ClientRule<'i>], request: &Request<'_>) -> (bool, Cause<'i>) {
    let concerned = |effect| {
        let of_effect = rules.iter().filter(move |rule| rule.effect == effect);
        of_effect.filter(move |rule| rule.conditions.hold(request, effect))
    };
    if let Some(rule) = concerned(Effect::Deny).find(|rule| rule.topic.refuses(request)) {
        return (false, rule.cause);
    }
    let granted = concerned(Effect::Allow).find(|rule| rule.topic.grants(request));
    granted.map_or((false, Cause::Reason(Reason::NotGranted)), |rule| (true, rule.cause))
}
