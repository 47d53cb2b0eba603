//! Index Secrets that somebody wrote by hand, while no operator is there to heal them.

use std::time::Duration;

use super::cast::Cast;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::PostParams;
use mqtt_access_tests::first_light::Act::Publish;
use mqtt_access_tests::first_light::{BUNDLES, FirstLight};
use mqtt_access_tests::wait;

const LIMIT: Duration = Duration::from_secs(30);
const INDEX: &str = "acme.acme";

pub(crate) async fn the_last_good_bundle_stays_in_force(light: &mut FirstLight, cast: &Cast) {
    light.check.step("an index Secret that is no good: the last good bundle stays in force");
    light.stop_operator().await;
    let secrets: Api<KubeSecret> = Api::namespaced(light.plane.client().await, BUNDLES);
    let good = secrets.get(INDEX).await.unwrap().data.unwrap()["index"].0.clone();
    let unknown = [b"mqtt-access-index 9 ".as_slice(), &good["mqtt-access-index 5 ".len()..]].concat();
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    let revision = light.revision().await;
    for (what, index, reason) in [
        ("truncated", good[..good.len() / 2].to_vec(), "WrongDigest"),
        ("of an unknown version", unknown, "UnknownVersion"),
        ("altered", altered, "WrongDigest"),
        ("of something else", b"hello".to_vec(), "Header"),
        ("empty", Vec::new(), "Header"),
    ] {
        write(&secrets, index).await_refusal(light, what, reason).await;
        let dev1 = cast.dev1.login();
        light.may(&dev1, Publish, "acme/dev1/a").await;
        light.may_not(&dev1, Publish, "acme/dev2/a", "NotGranted").await;
        light.check.equal(&format!("{what}: the revision in service"), light.revision().await, revision);
    }
    light.start_operator();
    wait::until("the operator to publish a good index again", LIMIT, async || {
        (light.revision().await > revision).then_some(())
    })
    .await;
    light.comes_in(&cast.dev1.login()).await;
    light.stop_operator().await;
}

fn write(secrets: &Api<KubeSecret>, index: Vec<u8>) -> Write<'_> {
    Write { secrets, index }
}

struct Write<'a> {
    secrets: &'a Api<KubeSecret>,
    index: Vec<u8>,
}

impl Write<'_> {
    /// Writes it, and expects that the sidecar refuses it, in its metrics and in its log.
    async fn await_refusal(self, light: &mut FirstLight, what: &str, reason: &str) {
        let Self { secrets, index } = self;
        let counter = format!("reload_failures_total{{reason=\"{reason}\"}}");
        let (before, mark) = (light.metric(&counter).await, light.mark());
        let mut secret = secrets.get(INDEX).await.unwrap();
        secret.data.get_or_insert_default().insert("index".to_owned(), ByteString(index));
        secrets.replace(INDEX, &PostParams::default(), &secret).await.unwrap();
        wait::until(&format!("an index that is {what} to be counted as `{reason}`"), LIMIT, async || {
            (light.metric(&counter).await != before).then_some(())
        })
        .await;
        let said = light.log_since(mark).iter().any(|line| {
            let fields = &line["fields"];
            fields["message"] == "bundle refused" && fields["reason"] == reason && fields["tenant"] == INDEX
        });
        light.check.that(&format!("{what}: the log says `bundle refused`, {reason}"), said);
    }
}

pub(crate) async fn a_deleted_index_ends_access(light: &mut FirstLight, cast: &Cast) {
    light.check.step("an index that is deleted ends access");
    let dev1 = cast.dev1.login();
    let mut open = light.connect(&dev1).await;
    light.goes_through(&mut open, Publish, "acme/dev1/a").await;
    light.kubectl(&["delete", "secret", "-n", BUNDLES, INDEX]).await;
    wait::until("the sidecar to forget acme", LIMIT, async || (light.metric("bundles").await == "1").then_some(()))
        .await;
    // Logins stand under the tenant that owns the client ID, and now nobody does.
    light.is_cut_off(open, Publish, "acme/dev1/b", "TicketMissing").await;
    light.stays_out("a device without a bundle", &dev1, "UnknownInstance").await;
    light.may(&cast.meter1.login(), Publish, "globex/GID_globex@@@meter1/up").await;
    light.start_operator();
    wait::until("the operator to publish acme again", LIMIT, async || {
        (light.metric("bundles").await == "2").then_some(())
    })
    .await;
    light.may(&dev1, Publish, "acme/dev1/b").await;
}
