//! Where releases are played: an API server, and helm.

use mqtt_access_tests::ControlPlane;
use mqtt_access_tests::control_plane::AuditMark;
use mqtt_access_tests::kubectl::KubectlError;

use super::rendered::chart;
use mqtt_access_tests::pods::done;

/// Plurals of what the chart's CRDs define.
pub(crate) const CRDS: [&str; 3] = ["mqtttenants", "devicecredentials", "aclpolicies"];

/// An API server, and helm.
pub(crate) struct Stage {
    pub(crate) plane: ControlPlane,
    pub(crate) folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        done(&self.plane.kubectl_as(self.plane.admin_kubeconfig()), args).await
    }

    pub(crate) async fn exists(&self, args: &[&str]) -> bool {
        self.plane.kubectl(&[&["get"], args].concat()).await.is_ok()
    }

    /// helm with a release and the chart, in a namespace.
    pub(crate) async fn helm(
        &self,
        verb: &[&str],
        release: &str,
        namespace: &str,
        more: &[&str],
    ) -> Result<String, KubectlError> {
        let (chart, namespace) = (chart(), format!("--namespace={namespace}"));
        let chart = if ["install", "upgrade"].contains(&verb[0]) { vec![chart.to_str().unwrap()] } else { Vec::new() };
        self.plane.helm().run(&[verb, &[release], &chart, &[&namespace], more].concat()).await
    }

    pub(crate) async fn install(&self, release: &str, namespace: &str, more: &[&str]) -> Result<String, KubectlError> {
        self.helm(&["install", "--create-namespace"], release, namespace, more).await
    }

    pub(crate) async fn established(&self) {
        let crds = CRDS.map(|plural| format!("crd/{plural}.mqttaccess.io"));
        let args: Vec<&str> = ["wait", "--for=condition=Established", "--timeout=60s"]
            .into_iter()
            .chain(crds.iter().map(String::as_str))
            .collect();
        self.kubectl(&args).await;
    }
}

/// Of what the accounts of the releases asked for.
pub(crate) async fn nothing_was_forbidden(stage: &Stage, since: AuditMark) {
    let events = stage.plane.audit_since(since).await;
    let is_ours =
        |user: &str| ["mqtt:", "other:"].iter().any(|of| user.starts_with(&format!("system:serviceaccount:{of}")));
    let ours: Vec<_> = events.iter().filter(|event| is_ours(&event.user)).collect();
    let forbidden: Vec<_> = ours.iter().filter(|event| event.code == 403).collect();
    assert!(ours.len() > 20 && forbidden.is_empty(), "{} requests, forbidden: {forbidden:#?}", ours.len());
}
