//! Everything the control plane's processes read: keys, tokens, kubeconfigs, the audit policy.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use serde_json::json;

use super::{ADMIN, ADMIN_TOKEN, NODE_TOKEN, SCHEDULER_TOKEN, SERVICE_ADDRESS};
use crate::certificates::{Authority, Certificate};

/// One event per request at its end, and for watches at their start, which is when they were allowed.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

#[derive(Debug)]
pub(super) struct Files {
    pub(super) url: String,
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) certificate_key: PathBuf,
    pub(super) service_account_key: PathBuf,
    pub(super) service_account_public_key: PathBuf,
    pub(super) tokens: PathBuf,
    pub(super) admin_kubeconfig: PathBuf,
    pub(super) controller_kubeconfig: PathBuf,
    pub(super) audit_policy: PathBuf,
    pub(super) audit_log: PathBuf,
    pub(super) etcd_data: PathBuf,
}

impl Files {
    pub(super) fn write(folder: &Path, port: u16) -> Self {
        let files = Self {
            url: format!("https://127.0.0.1:{port}"),
            authority: folder.join("authority.pem"),
            certificate: folder.join("certificate.pem"),
            certificate_key: folder.join("certificate-key.pem"),
            service_account_key: folder.join("service-account-key.pem"),
            service_account_public_key: folder.join("service-account-public-key.pem"),
            tokens: folder.join("tokens.csv"),
            admin_kubeconfig: folder.join("kubeconfig-admin"),
            controller_kubeconfig: folder.join("kubeconfig-controller-manager"),
            audit_policy: folder.join("audit-policy.yaml"),
            audit_log: folder.join("audit.log"),
            etcd_data: folder.join("etcd"),
        };
        files.write_certificates();
        files.write_service_account_keys();
        files.write_tokens();
        write(&files.audit_policy, AUDIT_POLICY);
        files
    }

    fn write_certificates(&self) {
        let authority = Authority::new();
        let Certificate { chain, key } = authority.certificate_also_for(&[SERVICE_ADDRESS]);
        write(&self.authority, &authority.pem());
        write(&self.certificate, &chain);
        write(&self.certificate_key, &key);
    }

    fn write_service_account_keys(&self) {
        let key = new_key();
        write(&self.service_account_key, &key.serialize_pem());
        write(&self.service_account_public_key, &key.public_key_pem());
    }

    fn write_tokens(&self) {
        let manager = "system:kube-controller-manager";
        let scheduler = "system:kube-scheduler";
        let node = "system:node:node";
        let tokens = format!(
            "{ADMIN_TOKEN},{ADMIN},{ADMIN},system:masters\n\
             manager-token,{manager},{manager},system:masters\n\
             {SCHEDULER_TOKEN},{scheduler},{scheduler},\n\
             {NODE_TOKEN},{node},{node},system:nodes\n"
        );
        write(&self.tokens, &tokens);
        write_kubeconfig(&self.admin_kubeconfig, &self.url, &self.authority, ADMIN_TOKEN);
        write_kubeconfig(&self.controller_kubeconfig, &self.url, &self.authority, "manager-token");
    }
}

/// JSON is YAML too. A server over plain HTTP has no use for the authority, and tolerates it.
pub(super) fn write_kubeconfig(path: &Path, server: &str, authority: &Path, token: &str) {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        "current-context": "test",
    });
    write(path, &kubeconfig.to_string());
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("generate a key")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
