//! Many devices at once, and an operator that dies among them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mqtt_access_core::bundle::{Bundle, Digest, decode, decode_index};
use mqtt_access_core::credential::device_key_id;
use mqtt_access_core::secret::Secret;
use mqtt_access_tests::first_light::Act::{Publish, Subscribe};
use mqtt_access_tests::first_light::{BUNDLES, FirstLight};
use mqtt_access_tests::wait;

const DEVICES: usize = 200;
const LIMIT: Duration = Duration::from_mins(1);

fn is_of_fleet(secret: &str) -> bool {
    secret.starts_with("fleet-")
}

fn manifests() -> String {
    (0..DEVICES).fold(String::new(), |mut text, number| {
        let metadata = format!("{{namespace: acme, name: fleet-{number:03}, labels: {{kind: fleet}}}}");
        let spec = format!("{{tenantRef: {{name: acme}}, clientId: GID_acme@@@fleet-{number:03}}}");
        let kind = "apiVersion: mqttaccess.io/v1alpha1\nkind: DeviceCredential";
        writeln!(text, "---\n{kind}\nmetadata: {metadata}\nspec: {spec}").unwrap();
        text
    })
}

pub(crate) async fn an_operator_killed_among_200_new_devices_makes_each_key_once(light: &mut FirstLight) {
    light.check.step("the operator is killed among 200 new devices, and started again");
    let start = Instant::now();
    let manifests = manifests();
    let before: usize = light.metric("devices").await.parse().unwrap();
    let plane = &light.plane;
    let secrets = &light.secrets;
    let made = async || secrets.of("acme", is_of_fleet).len();
    let enough = wait::until("some keys to be made", LIMIT, async || {
        let made = made().await;
        (made >= DEVICES / 5).then_some(made)
    });
    // Killed while kubectl goes on creating.
    let killing = async {
        let made = enough.await;
        light.operator().kill();
        made
    };
    let applying = async {
        let applied = plane.apply(&manifests).await;
        (applied, start.elapsed())
    };
    let ((applied, applied_after), made_before) = tokio::join!(applying, killing);
    applied.unwrap_or_else(|error| panic!("{error}"));
    light.kill_operator();
    light.check.figure("keys made before the operator was killed", made_before);
    light.check.that("it was killed before the end", made_before < DEVICES);
    light.check.figure("kubectl alone", applied_after);
    light.start_operator();
    let all = (DEVICES + before).to_string();
    wait::until("the sidecar to know every device", LIMIT, async || {
        (light.metric("devices").await == all).then_some(())
    })
    .await;
    light.check.figure("from the first device to all of them in the sidecar", start.elapsed());
    // `kubectl wait` asks for one object after the other, five a second.
    let ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
    let get = ["get", "mdc", "-n", "acme", "-l", "kind=fleet", "-o", ready];
    wait::until("every device to be told that it is ready", LIMIT, async || {
        (light.kubectl(&get).await.matches("True").count() == DEVICES).then_some(())
    })
    .await;
    light.check.figure("and to all their conditions", start.elapsed());
    each_has_one_stable_key(light).await;
    a_sample_connects(light).await;
}

async fn each_has_one_stable_key(light: &mut FirstLight) {
    let seen = light.secrets.of("acme", is_of_fleet);
    light.check.equal("devices with a Secret", seen.len(), DEVICES);
    let api: Api<KubeSecret> = Api::namespaced(light.plane.client().await, "acme");
    let generated = ListParams::default().labels("mqttaccess.io/generated=device");
    let now = api.list(&generated).await.unwrap().items.into_iter().filter(|secret| is_of_fleet(&secret.name_any()));
    let now: BTreeMap<String, KubeSecret> = now.map(|secret| (secret.name_any(), secret)).collect();
    let bundle = published(light).await;
    let held: HashMap<&str, _> =
        bundle.devices.iter().map(|device| (device.client_id.one().unwrap_or_default(), device)).collect();
    light.check.equal("devices in the bundle, each once", held.len(), bundle.devices.len());
    for (name, versions) in &seen {
        let device = name.strip_suffix("-mqtt").unwrap();
        let client_id = format!("GID_acme@@@{device}");
        let key: &BTreeSet<Vec<u8>> = &versions.data["accessKeySecret"];
        light.check.equal(&format!("keys that {name} ever held"), key.len(), 1);
        light.check.equal(&format!("Secrets that were ever named {name}"), versions.uids.len(), 1);
        let key = key.first().unwrap();
        let stored = now.get(name).and_then(|secret| secret.data.as_ref()?.get("accessKeySecret"));
        light.check.that(&format!("{name} holds that key"), stored.is_some_and(|stored| stored.0 == *key));
        let compiled = held.get(client_id.as_str());
        let right = compiled.is_some_and(|compiled| {
            compiled.secret == Some(Secret::new(key.clone()))
                && compiled.key_id == device_key_id("mqtt-acme", &client_id)
                && compiled.labels.get("kind").is_some_and(|kind| kind == "fleet")
                && !compiled.disabled
        });
        light.check.that(&format!("the bundle holds {client_id} with that key"), right);
    }
}

/// acme's bundle, decoded from its Secrets.
async fn published(light: &FirstLight) -> Bundle {
    let api: Api<KubeSecret> = Api::namespaced(light.plane.client().await, BUNDLES);
    let bytes = async |name: &str, key: &str| api.get(name).await.unwrap().data.unwrap().remove(key).unwrap().0;
    let index = decode_index(&bytes("acme.acme", "index").await).unwrap();
    let mut shards: HashMap<Digest, Vec<u8>> = HashMap::new();
    for digest in &index.shards {
        shards.insert(digest.clone(), bytes(&format!("acme.acme.{digest}"), "shard").await);
    }
    decode(&index, |digest| shards.get(digest).map(|bytes| Cow::Borrowed(bytes.as_slice()))).unwrap()
}

async fn a_sample_connects(light: &mut FirstLight) {
    for number in (0..DEVICES).step_by(29) {
        let device = format!("fleet-{number:03}");
        let login = light.key("acme", &format!("{device}-mqtt")).await.login();
        let mut session = light.connect(&login).await;
        light.goes_through(&mut session, Subscribe, &format!("acme/{device}/#")).await;
        light.goes_through(&mut session, Publish, &format!("acme/{device}/up")).await;
        light.is_cut_off(session, Publish, "acme/dev1/up", "NotGranted").await;
    }
}
