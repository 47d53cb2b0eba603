//! The API server goes away, and comes back.

use std::time::{Duration, Instant};

use super::cast::Cast;
use super::emqx;
use mqtt_access_tests::first_light::Act::{Publish, Subscribe};
use mqtt_access_tests::first_light::{FirstLight, Session};
use mqtt_access_tests::{http, ports, wait};

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn the_sidecar_answers_without_the_api_server(light: &mut FirstLight, cast: &Cast) {
    light.check.step("the API server is gone: the sidecar answers, also after it was killed");
    let dev1 = cast.dev1.login();
    let mut open = light.connect(&dev1).await;
    light.goes_through(&mut open, Publish, "acme/dev1/a").await;
    let revision = light.revision().await;
    light.plane.stop_api_server();
    light.goes_through(&mut open, Publish, "acme/dev1/b").await;
    verdicts_are_as_ever(light, cast).await;

    light.kill_sidecar().await;
    let start = Instant::now();
    light.start_sidecar().await;
    light.sidecar().wait_ready(light.admin(), LIMIT).await;
    light.check.figure("from the start of a sidecar to readiness, without the API server", start.elapsed());
    light.check.equal("the revision in service", light.revision().await, revision);
    // Its login was before the restart, and the topic is one that RabbitMQ has to ask about.
    light.goes_through(&mut open, Publish, "acme/dev1/c").await;
    light.goes_through(&mut open, Subscribe, "acme/dev1/#").await;
    light.is_cut_off(open, Publish, "acme/dev2/c", "NotGranted").await;
    verdicts_are_as_ever(light, cast).await;
    one_without_state_denies(light, cast).await;
    light.check.that("the operator waits", light.operator().ended().is_none());
}

async fn verdicts_are_as_ever(light: &mut FirstLight, cast: &Cast) {
    let (meter1, backend) = (cast.meter1.login(), cast.backend_login());
    light.may(&meter1, Publish, "globex/GID_globex@@@meter1/up").await;
    light.may(&backend, Subscribe, "acme/#").await;
    light.may_not(&meter1, Publish, "acme/dev1/a", "NotGranted").await;
    light.may_not(&backend, Subscribe, "globex/#", "NotGranted").await;
    light.stays_out("a wrong password", &meter1.with_password("AAAA"), "WrongProof").await;
    light.stays_out("a deleted device", &cast.dev2.login(), "UnknownKey").await;
}

/// A fresh sidecar knows nothing, and says so.
async fn one_without_state_denies(light: &mut FirstLight, cast: &Cast) {
    let (http, admin) = (ports::free_address(), ports::free_address());
    let other = light.launch_sidecar(http, admin, &[]);
    wait::until("another sidecar to answer", LIMIT, async || http::get(admin, "/livez").await.ok()).await;
    let ready = http::get(admin, "/readyz").await.unwrap();
    light.check.equal("readiness of a sidecar without state", ready.status, 503);
    let told = emqx::login_at(http, &cast.dev1.login()).await;
    light.check.equal("what it answers", told, emqx::denied("NotReady"));
    light.retire(other);
}

pub(crate) async fn edits_arrive_again(light: &mut FirstLight, cast: &Cast) {
    light.check.step("the API server is back, and an edit arrives");
    let mut open: Session = light.connect(&cast.dev1.login()).await;
    light.goes_through(&mut open, Publish, "acme/dev1/a").await;
    light.plane.start_api_server().await;
    let time = light.edit_with("tests/data/end_to_end/freeze.yaml").await;
    light.check.figure("from the start of the first `kubectl apply` to a sidecar that knows", time);
    light.is_cut_off(open, Publish, "acme/dev1/b", "acme/freeze rules[0]").await;
    let time = light.edit(&["delete", "macl", "-n", "acme", "freeze"]).await;
    light.check.figure("and the second", time);
    light.may(&cast.dev1.login(), Publish, "acme/dev1/b").await;
}
