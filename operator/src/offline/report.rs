//! The report of `compile`: what was compiled and what was found, for people and as JSON for pipelines.
//!
//! It says the same for the same manifests, so it holds no time. Fields are added to it, never renamed or removed, without a new
//! `formatVersion`.

use mqtt_access_core::acl_file::Sections;
use mqtt_access_core::index::TenantIndex;
use mqtt_access_crds::{ConditionReason as _, TenantReady};
use serde::Serialize;

use crate::analysis::{self, Analysis};
use crate::compile::Reports;
use crate::config::Broker;
use crate::finding::Told;
use crate::isolation::Isolation;

/// The version of the JSON.
const FORMAT_VERSION: u32 = 1;

/// What `compile` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    format_version: u32,
    /// How many findings there are, and violations of isolation.
    pub summary: Counts,
    /// One for each broker of the configuration, in its order.
    pub brokers: Vec<BrokerReport>,
    /// About objects that belong to no tenant of any broker.
    pub findings: Vec<Told>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Findings of all severities.
    pub findings: usize,
    /// Violations of isolation.
    pub violations: usize,
}

/// What was found about one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerReport {
    /// Its name in the configuration.
    pub broker: String,
    /// That its tenants are isolated from each other.
    pub isolation: Isolation,
    /// Its tenants.
    pub tenants: Vec<TenantReport>,
}

/// What was found about one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it has a bundle.
    pub published: bool,
    /// How many devices are in it.
    pub devices: usize,
    /// How many policies are in it.
    pub policies: usize,
    /// What is not in force as written, and what looks wrong.
    pub findings: Vec<Told>,
    /// What ACL files say less than the rules, where nobody chose those files: no findings.
    pub notes: Vec<Told>,
    /// Whether every Allow was compared with all others; `false` where the tenant is too large for that, and some findings
    /// `ShadowedByDeny`, `InsideAnotherAllow` and `ReachesEveryDevice` are missing.
    pub analysis_complete: bool,
}

impl TenantReport {
    /// A tenant that owns nothing.
    pub(super) fn refused(namespace: &str, name: &str, why: String) -> Self {
        let told = Told::whole("MqttTenant", namespace, name, TenantReady::ClaimConflict.as_str(), why);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { namespace, name, findings: vec![told], analysis_complete: true, ..Self::default() }
    }

    /// A tenant with a bundle, analysed.
    pub(super) fn of(index: &TenantIndex, sections: &Sections, mut reports: Reports, broker: &Broker) -> Self {
        let (namespace, name) = (&index.tenant().namespace, &index.tenant().name);
        let analysis = analysis::analyse(index.policies(), index, broker, sections.narrowed());
        reports.add(&analysis);
        let Analysis { findings: _, notes, devices: _, complete } = analysis;
        let notes = notes.iter().flat_map(|(policy, notes)| notes.iter().map(move |note| (policy, note)));
        Self {
            published: true,
            devices: index.device_count(),
            policies: index.policies().len(),
            findings: reports.problems(namespace, name).collect(),
            notes: notes.map(|(policy, note)| Told::of_policy(namespace, policy, note)).collect(),
            analysis_complete: complete,
            namespace: namespace.clone(),
            name: name.clone(),
        }
    }
}

impl Report {
    pub(super) fn new(brokers: Vec<BrokerReport>, findings: Vec<Told>) -> Self {
        let mut report = Self { format_version: FORMAT_VERSION, summary: Counts::default(), brokers, findings };
        let violations = report.brokers.iter().map(|broker| broker.isolation.violations.len()).sum();
        report.summary = Counts { findings: report.findings().count(), violations };
        report
    }

    /// All findings.
    pub fn findings(&self) -> impl Iterator<Item = &Told> {
        let of_tenants = self.brokers.iter().flat_map(|broker| &broker.tenants).flat_map(|tenant| &tenant.findings);
        self.findings.iter().chain(of_tenants)
    }

    /// What a person has to read: violations first, and at the end of whom not everything was found.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let violations = self.brokers.iter().flat_map(|broker| {
            let violations = broker.isolation.violations.iter();
            violations.map(|violation| format!("broker {}: tenants are not isolated: {violation}", broker.broker))
        });
        let tenants = self.brokers.iter().flat_map(|broker| &broker.tenants);
        let incomplete = tenants.filter(|tenant| !tenant.analysis_complete).map(|TenantReport { namespace, name, .. }| {
            format!("MqttTenant {namespace}/{name}: the policies are too many to compare them all; some findings are missing")
        });
        violations.chain(self.findings().map(ToString::to_string)).chain(incomplete)
    }

    /// Whether there is nothing to complain about.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Counts { findings, violations } = self.summary;
        findings == 0 && violations == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::{Violation, ViolationReason};

    fn report(isolation: Isolation, tenants: Vec<TenantReport>) -> Report {
        Report::new(vec![BrokerReport { broker: "b".to_owned(), isolation, tenants }], Vec::new())
    }

    #[test]
    fn a_violation_of_isolation_is_told_first_and_is_not_clean() {
        let violation = Violation {
            reason: ViolationReason::TopicSpaceOverlap,
            tenants: vec!["ns/a".to_owned(), "ns/b".to_owned()],
            message: "m".to_owned(),
            witness: Some("t/x".to_owned()),
        };
        let isolation = Isolation { violations: vec![violation], ..Isolation::default() };
        let report = report(isolation, vec![TenantReport::refused("ns", "c", "why".to_owned())]);
        assert_eq!(report.summary, Counts { findings: 1, violations: 1 });
        assert!(!report.is_clean());
        let lines: Vec<String> = report.lines().collect();
        let first = "broker b: tenants are not isolated: ns/a, ns/b: m (TopicSpaceOverlap, for example `t/x`)";
        assert_eq!(lines, [first, "MqttTenant ns/c: why (ClaimConflict)"]);
    }

    #[test]
    fn an_analysis_that_was_cut_short_is_told_and_is_no_finding() {
        let tenant = |analysis_complete| TenantReport {
            namespace: "ns".to_owned(),
            name: "t".to_owned(),
            analysis_complete,
            ..TenantReport::default()
        };
        let cut = report(Isolation::default(), vec![tenant(false)]);
        assert!(cut.is_clean() && cut.lines().any(|line| line.contains("some findings are missing")));
        assert_eq!(report(Isolation::default(), vec![tenant(true)]).lines().count(), 0);
    }
}
