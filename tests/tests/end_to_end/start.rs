//! From nothing to the first verdicts.

use std::time::{Duration, Instant};

use super::cast::Cast;
use super::emqx;
use super::rights::Marks;
use mqtt_access_tests::first_light::{FirstLight, Login};
use mqtt_access_tests::{http, wait};

const LIMIT: Duration = Duration::from_secs(30);

/// dev1, before it has a key.
fn nobody() -> Login {
    let username = "DeviceCredential|DC.none|mqtt-acme".to_owned();
    Login { client_id: "GID_acme@@@dev1".to_owned(), username, password: "vI009IZJZVGRwBwZvnbwjfuXxVM=".to_owned() }
}

pub(crate) async fn before_the_first_bundle_everything_is_denied(light: &mut FirstLight) {
    light.check.step("before the first bundle: not ready, and everything is denied");
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/metrics", 200)] {
        let reply = http::get(light.admin(), path).await.unwrap();
        light.check.equal(path, reply.status, status);
    }
    light.stays_out("nobody is known yet", &nobody(), "NotReady").await;
    let reply = emqx::login(light, &nobody()).await;
    light.check.equal("EMQX is told so", reply, emqx::denied("NotReady"));
}

pub(crate) async fn what_kubectl_applies_is_in_force(light: &mut FirstLight) -> (Cast, Marks) {
    light.check.step("kubectl apply: crds/, examples/cluster/, examples/");
    let start = light.plane.audit_mark().await;
    let granting = Instant::now();
    light.apply_files(&["crds", "examples/cluster"]).await;
    light.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).await;
    light.plane.restart_controller_manager();
    light.sidecar().wait_ready(light.admin(), LIMIT).await;
    light.check.figure("from `kubectl apply -f examples/cluster/` to a sidecar that is ready", granting.elapsed());
    light.stays_out("no tenant is known yet", &nobody(), "UnknownInstance").await;
    let granted = light.plane.audit_mark().await;
    light.start_operator();
    light.operator().wait_for_line("every cache is complete", LIMIT).await;
    let applying = Instant::now();
    light.apply_files(&["examples"]).await;
    light.check.figure("kubectl alone", applying.elapsed());
    first_login(light).await;
    light.check.figure("from the start of `kubectl apply -f examples/` to a device that is let in", applying.elapsed());
    light.wait_for_condition("Ready", &["-n", "acme", "mqtttenant/acme", "mdc/dev1", "mdc/dev2"]).await;
    light.wait_for_condition("Ready", &["-n", "globex", "mqtttenant/globex", "mdc/meter1"]).await;
    light.wait_for_condition("Compiled", &["-n", "acme", "macl", "--all"]).await;
    light.wait_for_condition("Compiled", &["-n", "globex", "macl", "--all"]).await;
    let tenants = light.metric("bundles").await;
    light.check.equal("bundles in service", tenants.as_str(), "2");
    (Cast::read(light).await, Marks { start, granted })
}

async fn first_login(light: &FirstLight) {
    let get = ["get", "secret", "-n", "globex", "meter1-mqtt", "--ignore-not-found", "-o", "name"];
    wait::until("a key for meter1", LIMIT, async || (!light.kubectl(&get).await.is_empty()).then_some(())).await;
    let login = light.key("globex", "meter1-mqtt").await.login();
    wait::until("meter1 to be let in", LIMIT, async || light.try_connect(&login).await.ok()).await;
}
