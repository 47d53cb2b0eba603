//! A tenant whose devices are rotated, and looks at what became of them.

use std::ops::Deref;

use mqtt_access_core::bundle::{Bundle, Spares};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::secret::Secret;
use mqtt_access_tests::operator_fixture::{
    Cluster, DEVICES, Device, Manifest, SOON, Stored, allow, client_id, device, edited, namespace, tenant,
};
use mqtt_access_tests::{Program, wait};
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "rot";

/// The cluster, with a tenant `t` in [`NAMESPACE`].
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
}

impl Deref for Scene {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// A device with this rotation.
pub(crate) fn rotating(name: &str, rotation: &Value) -> Manifest {
    edited(device(NAMESPACE, "t", name), &json!({"spec": {"rotation": rotation}}))
}

/// What a client with this key presents.
pub(crate) fn with_key(of: &Device, key: &str) -> Device {
    let password = password(MacAlgorithm::HmacSha1, &Secret::from(key), &of.client_id);
    Device { password, ..of.clone() }
}

/// What a client with this password presents.
pub(crate) fn with_password(of: &Device, password: &str) -> Device {
    Device { password: password.to_owned(), ..of.clone() }
}

pub(crate) fn seconds(time: &str) -> i64 {
    time.parse::<k8s_openapi::jiff::Timestamp>().unwrap().as_second()
}

pub(crate) fn now() -> i64 {
    k8s_openapi::jiff::Timestamp::now().as_second()
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::start().await;
        let everything = allow(NAMESPACE, "t", "all", &["rot/t/#"]);
        cluster.apply([namespace(NAMESPACE), tenant(NAMESPACE, "t"), everything]).await;
        Self { cluster }
    }

    pub(crate) async fn operator(&self, args: &[&str]) -> Program {
        self.operator_with(args).await
    }

    /// Applies a device, and waits for its Secret.
    pub(crate) async fn begin(&self, device: Manifest) -> Stored {
        let name = device.pointer("/metadata/name").and_then(Value::as_str).unwrap().to_owned();
        self.apply([device]).await;
        self.wait_device(NAMESPACE, &name, "Ready").await;
        self.secret_of(&name).await
    }

    pub(crate) async fn secret_of(&self, device: &str) -> Stored {
        self.secret(NAMESPACE, &format!("{device}-mqtt")).await.unwrap()
    }

    pub(crate) async fn write(&self, device: &str, entries: Value) {
        self.patch_secret(NAMESPACE, &format!("{device}-mqtt"), &json!({"stringData": entries})).await;
    }

    pub(crate) async fn rotate(&self, device: &str, rotation: Value) {
        self.patch(DEVICES, NAMESPACE, device, &json!({"spec": {"rotation": rotation}})).await;
    }

    /// Waits until the Secret of a device is as it should be, and gives it.
    pub(crate) async fn wait_secret(&self, what: &str, device: &str, fits: impl Fn(&Stored) -> bool) -> Stored {
        let look = async || self.secret(NAMESPACE, &format!("{device}-mqtt")).await.filter(|secret| fits(secret));
        wait::until(&format!("{device}: {what}"), SOON, look).await
    }

    /// Waits until the key before, or the password, is another than `before`'s.
    pub(crate) async fn wait_rotated(&self, device: &str, before: &Stored) -> Stored {
        let secret = |stored: &Stored| [stored.text("accessKeySecret"), stored.text("password")];
        self.wait_secret("to be rotated", device, |now| secret(now) != secret(before)).await
    }

    /// Waits until a look at the rotation in a device's status finds something.
    pub(crate) async fn wait_status(&self, what: &str, device: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("{device}: the status to tell {what}"), SOON, async || {
            let object = self.get(DEVICES, NAMESPACE, device).await?;
            object.pointer("/status/rotation").filter(|rotation| fits(rotation)).cloned()
        })
        .await
    }

    /// Waits until logins come to this.
    pub(crate) async fn wait_login(&self, device: &Device, expected: &str) {
        let what = format!("`{}` to come to {expected}", device.client_id);
        self.wait_bundles(&what, |bundles| (bundles.login(device) == expected).then_some(())).await;
    }

    pub(crate) async fn login(&self, device: &Device) -> String {
        self.bundles().await.login(device)
    }

    /// What is published beside the key of a device.
    pub(crate) async fn spares(&self, device: &str) -> Option<Spares<Secret>> {
        let bundles = self.bundles().await;
        let bundle: &Bundle = &bundles.tenant(NAMESPACE, "t")?.bundle;
        bundle.devices.iter().find(|found| found.name == device).map(|found| found.spares.clone())
    }

    /// Waits for an event of an object whose note says this.
    pub(crate) async fn wait_event(&self, of: &str, reason: &str, says: &str) {
        wait::until(&format!("{of}: an event `{reason}` that says `{says}`"), SOON, async || {
            self.events(of, reason).await.into_iter().find(|note| note.contains(says)).map(|_| ())
        })
        .await;
    }

    /// The notes of an object's events.
    pub(crate) async fn events(&self, of: &str, reason: &str) -> Vec<String> {
        let events = self.read(&format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")).await.unwrap();
        let events = events["items"].as_array().unwrap();
        let own = events.iter().filter(|event| event["regarding"]["name"] == of && event["reason"] == reason);
        own.filter_map(|event| Some(event["note"].as_str()?.to_owned())).collect()
    }
}

/// The client ID of a device of [`NAMESPACE`].
pub(crate) fn id(name: &str) -> String {
    client_id(NAMESPACE, "t", name)
}
