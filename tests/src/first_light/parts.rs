//! Starting and ending the programs under test.

use std::time::Duration;

use super::{BUNDLES, FirstLight};
use crate::{Program, http, wait};

const LIMIT: Duration = Duration::from_secs(30);
const OPERATOR: &str = "mqtt-access-operator";
const SIDECAR: &str = "mqtt-access-sidecar";
/// More than users see, so that more could give a secret away.
const LOG: &str = "info,mqtt_access_operator=trace,mqtt_access_sidecar=trace,mqtt_access_core=trace,kube_client=debug,kube_runtime=debug";

impl FirstLight {
    /// Starts the operator, with the rights of its service account.
    pub fn start_operator(&mut self) {
        let kubeconfig = self.operator_kubeconfig.display().to_string();
        let env = [("KUBECONFIG", kubeconfig.as_str()), ("RUST_LOG", LOG)];
        self.operator = Some(Program::start(OPERATOR, &["run"], &env));
    }

    /// The operator that runs.
    #[must_use]
    pub fn operator(&self) -> &Program {
        self.operator.as_ref().expect("the operator was started")
    }

    /// SIGKILL for the operator.
    pub fn kill_operator(&mut self) {
        self.operator().kill();
        self.ended.extend(self.operator.take());
    }

    /// SIGTERM for the operator.
    pub async fn stop_operator(&mut self) {
        let status = self.operator().terminate(LIMIT).await;
        self.check.that("the operator ends well after SIGTERM", status.success());
        self.ended.extend(self.operator.take());
    }

    /// Starts the sidecar, on the same ports and with the same state folder each time, and waits until it answers.
    pub async fn start_sidecar(&mut self) {
        let state = self.state.path().display().to_string();
        let sidecar = self.launch_sidecar(self.http, self.admin, &["--state-dir", &state]);
        self.sidecar = Some(sidecar);
        wait::until("the sidecar to answer", LIMIT, async || http::get(self.admin, "/livez").await.ok()).await;
    }

    /// A sidecar beside the one that the broker asks.
    #[must_use]
    pub fn launch_sidecar(&self, http: std::net::SocketAddr, admin: std::net::SocketAddr, more: &[&str]) -> Program {
        let kubeconfig = self.sidecar_kubeconfig.display().to_string();
        let (http, admin) = (http.to_string(), admin.to_string());
        let fixed = ["run", "--source", "kubernetes", "--namespace", BUNDLES, "--cause-header"];
        let args: Vec<&str> =
            fixed.into_iter().chain(["--http", &http, "--admin", &admin]).chain(more.iter().copied()).collect();
        Program::start(SIDECAR, &args, &[("KUBECONFIG", &kubeconfig), ("RUST_LOG", LOG)])
    }

    /// SIGKILL for a program whose words are to be kept.
    pub fn retire(&mut self, program: Program) {
        program.kill();
        self.ended.push(program);
    }

    /// The sidecar that runs.
    #[must_use]
    pub fn sidecar(&self) -> &Program {
        self.sidecar.as_ref().expect("the sidecar was started")
    }

    /// SIGKILL for the sidecar.
    pub async fn kill_sidecar(&mut self) {
        self.metrics.push(self.scrape().await);
        self.sidecar().kill();
        self.ended.extend(self.sidecar.take());
    }
}
