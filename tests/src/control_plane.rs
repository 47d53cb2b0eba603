//! A real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, without nodes; for one, see [`crate::node`].
//!
//! RBAC is on, every request is in the audit log, and the garbage collector follows owner references. The collector looks
//! for new kinds every 30 s only: call [`ControlPlane::restart_controller_manager`] after applying CRDs whose objects own
//! others.

mod audit;
mod commands;
mod files;
mod site;

pub use audit::{AuditEvent, AuditMark};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

use crate::kubectl::{Kubectl, KubectlError};
use crate::program::Program;
use crate::{http, wait};
use files::Files;
use site::Site;

pub use site::{Capacity, NODE_TOKEN, SCHEDULER_TOKEN, SERVICE_ADDRESS};

const BOOT: Duration = Duration::from_mins(1);

/// The name that the administrator's requests have in the audit log.
pub const ADMIN: &str = "admin";

/// The administrator's bearer token.
pub const ADMIN_TOKEN: &str = "admin-token";

/// A running control plane; dropping it ends it and removes its data.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields drop in this order: who calls comes before who is called.
    controller_manager: Mutex<Program>,
    api_server: Mutex<Option<Program>>,
    etcd: Program,
    site: Site,
    files: Files,
    kubeconfigs: AtomicUsize,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts everything and waits until the API server is ready.
    pub async fn start() -> Self {
        Self::start_at(Site::loopback()).await
    }

    /// [`Self::start`] for so many objects.
    pub async fn start_for(capacity: Capacity) -> Self {
        Self::start_at(Site { capacity, ..Site::loopback() }).await
    }

    /// [`Self::start`] for nodes and pods: the API server listens where pods expect it, and every controller runs.
    ///
    /// `node` is an address of this host that pods can reach, and [`SERVICE_ADDRESS`] must be another.
    pub async fn start_for_nodes(node: Ipv4Addr) -> Self {
        Self::start_at(Site::with_nodes(node)).await
    }

    async fn start_at(site: Site) -> Self {
        let folder = TempDir::with_prefix("mqtt-access-control-plane-").expect("create a folder");
        let files = Files::write(folder.path(), site.api_server);
        let etcd = Program::launch("etcd", commands::etcd(&files, site));
        wait_for_etcd(&etcd, site).await;
        let api_server = Program::launch("kube-apiserver", commands::api_server(&files, site));
        wait_until_ready(&api_server, &files).await;
        let controller_manager = Program::launch("kube-controller-manager", commands::controller_manager(&files, site));
        Self {
            controller_manager: Mutex::new(controller_manager),
            api_server: Mutex::new(Some(api_server)),
            etcd,
            site,
            files,
            kubeconfigs: AtomicUsize::new(0),
            folder,
        }
    }

    /// The API server's address, such as `https://127.0.0.1:6443`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.files.url
    }

    /// The kubeconfig of a user in `system:masters`.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.files.admin_kubeconfig
    }

    /// The administrator's client. One for each runtime: its connections belong to the runtime that opened them.
    pub async fn client(&self) -> kube::Client {
        client_of(self.admin_kubeconfig()).await
    }

    /// `kubectl ARGS` as administrator.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String, KubectlError> {
        self.kubectl_as(self.admin_kubeconfig()).run(args).await
    }

    /// `kubectl apply -f -` as administrator.
    pub async fn apply(&self, manifests: &str) -> Result<String, KubectlError> {
        self.kubectl_as(self.admin_kubeconfig()).apply(manifests).await
    }

    /// kubectl as the user of `kubeconfig`.
    #[must_use]
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Kubectl {
        Kubectl::new(kubeconfig, self.folder.path())
    }

    /// helm as administrator.
    #[must_use]
    pub fn helm(&self) -> Kubectl {
        Kubectl::helm(self.admin_kubeconfig(), self.folder.path())
    }

    /// The kubeconfig of a service account, which it creates (its namespace too) when absent; without rights at first.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.service_account_token(namespace, name).await;
        let kubeconfig = self.kubeconfig(self.url(), &token);
        wait_until_known(&self.kubectl_as(&kubeconfig)).await;
        kubeconfig
    }

    /// A token of a service account, valid for a day, as [`Self::service_account_kubeconfig`] uses it.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> String {
        self.create_if_absent(&["create", "namespace", namespace]).await;
        self.create_if_absent(&["create", "serviceaccount", name, "-n", namespace]).await;
        let args = ["create", "token", name, "-n", namespace, "--duration=24h"];
        let token = self.kubectl(&args).await;
        token.unwrap_or_else(|error| panic!("{error}")).trim().to_owned()
    }

    /// Writes a kubeconfig for `token` at `server`, which may be a [`crate::StallingProxy`].
    #[must_use]
    pub fn kubeconfig(&self, server: &str, token: &str) -> PathBuf {
        let number = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("kubeconfig-{number}"));
        files::write_kubeconfig(&path, server, &self.files.authority, token);
        path
    }

    /// The process IDs of etcd and, while it runs, of the API server.
    #[must_use]
    pub fn process_ids(&self) -> (u32, Option<u32>) {
        (self.etcd.id(), self.api_server().as_ref().map(Program::id))
    }

    /// Where etcd answers, over plain HTTP.
    #[must_use]
    pub fn etcd(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.site.etcd_clients).into()
    }

    /// A folder that goes with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The certificate authority of [`Self::url`], PEM.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.files.authority
    }

    /// Kills the API server; etcd keeps what was stored.
    pub fn stop_api_server(&self) {
        drop(self.api_server().take());
    }

    /// Starts the API server again, with the same port and data, and waits until it is ready.
    pub async fn start_api_server(&self) {
        let started = Program::launch("kube-apiserver", commands::api_server(&self.files, self.site));
        wait_until_ready(&started, &self.files).await;
        *self.api_server() = Some(started);
        if self.controller_manager().ended().is_some() {
            self.restart_controller_manager();
        }
    }

    /// Starts the controller manager anew, which makes its garbage collector look for new kinds at once.
    pub fn restart_controller_manager(&self) {
        let mut running = self.controller_manager();
        running.kill();
        *running = Program::launch("kube-controller-manager", commands::controller_manager(&self.files, self.site));
    }

    /// The moment after every request that was answered before this call.
    pub async fn audit_mark(&self) -> AuditMark {
        audit::flush(&self.files.audit_log, self).await
    }

    /// Every request that the API server answered since `mark`, in the order of their ends; watches at their start.
    pub async fn audit_since(&self, mark: AuditMark) -> Vec<AuditEvent> {
        let now = audit::flush(&self.files.audit_log, self).await;
        audit::read(&self.files.audit_log, mark, now)
    }

    async fn create_if_absent(&self, args: &[&str]) {
        if let Err(error) = self.kubectl(args).await {
            assert!(error.stderr.contains("already exists"), "{error}");
        }
    }

    fn api_server(&self) -> MutexGuard<'_, Option<Program>> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn controller_manager(&self) -> MutexGuard<'_, Program> {
        self.controller_manager.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client of the user whom a kubeconfig names.
pub async fn client_of(kubeconfig: &Path) -> kube::Client {
    let read = Kubeconfig::read_from(kubeconfig).expect("read the kubeconfig");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(read, &options).await;
    kube::Client::try_from(config.expect("use the kubeconfig")).expect("make a client")
}

async fn wait_for_etcd(etcd: &Program, site: Site) {
    let address = ([127, 0, 0, 1], site.etcd_clients).into();
    wait::until("etcd to be healthy", BOOT, async || {
        assert!(etcd.ended().is_none(), "etcd ended");
        let reply = http::get(address, "/health").await.ok()?;
        (reply.status == 200).then_some(())
    })
    .await;
}

async fn wait_until_ready(api_server: &Program, files: &Files) {
    let client = client_of(&files.admin_kubeconfig).await;
    wait::until("the API server to be ready", BOOT, async || {
        assert!(api_server.ended().is_none(), "the API server ended");
        get(&client, "/readyz").await?;
        // Made by a controller of its own, a moment later.
        get(&client, "/api/v1/namespaces/default").await
    })
    .await;
}

async fn get(client: &kube::Client, path: &str) -> Option<String> {
    let request = axum::http::Request::get(path).body(Vec::new()).expect("a request");
    client.request_text(request).await.ok()
}

/// The API server sees a new service account in its own cache a moment later, and knows no such user until then.
async fn wait_until_known(kubectl: &Kubectl) {
    wait::until("the API server to know a token", BOOT, async || kubectl.run(&["auth", "whoami"]).await.ok()).await;
}
