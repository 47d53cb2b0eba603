//! The vendor's own Python client, pointed at the service: all eight actions, with both of its signatures.

use std::time::{SystemTime, UNIX_EPOCH};

use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_tests::operator_fixture::SOON;
use mqtt_access_tests::vendor_client::{VendorClient, VendorError};
use mqtt_access_tests::wait;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::scene::{INSTANCE, Key, Scene, client_id};

pub(crate) async fn the_vendors_client_needs_only_another_endpoint(scene: &Scene) {
    for algorithm in ["ACS3-HMAC-SHA256", "v2"] {
        tokens(scene, algorithm).await;
        devices(scene, algorithm).await;
        refusals(scene, algorithm);
        println!("vendor's client: all eight actions and their refusals with {algorithm}");
    }
}

struct Vendor(VendorClient);

impl Vendor {
    fn of(scene: &Scene, algorithm: &str, key: &Key) -> Self {
        Self(VendorClient::start(scene.first.address, &scene.authority(), algorithm, &key.id, &key.secret))
    }

    fn call(&mut self, action: &str, parameters: Value) -> Result<Value, VendorError> {
        let mut all = json!({"InstanceId": INSTANCE});
        if let (Some(all), Value::Object(own)) = (all.as_object_mut(), parameters) {
            all.extend(own);
        }
        block_in_place(|| self.0.call(action, &all))
    }

    fn ok(&mut self, action: &str, parameters: Value) -> Value {
        let body = self.call(action, parameters).unwrap_or_else(|error| panic!("{action}: {error:?}"));
        assert!(body.get("RequestId").and_then(Value::as_str).is_some_and(|id| id.len() == 36), "{action}: {body}");
        body
    }

    fn code(&mut self, action: &str, parameters: Value) -> (String, u64) {
        let error = self.call(action, parameters).expect_err(action);
        (error.code, error.status)
    }
}

fn in_millis(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() + seconds * 1000
}

fn order(resources: &str, actions: &str, seconds: u64) -> Value {
    json!({"Resources": resources, "Actions": actions, "ExpireTime": in_millis(seconds)})
}

async fn tokens(scene: &Scene, algorithm: &str) {
    let mut vendor = Vendor::of(scene, algorithm, &scene.backend);
    // The shortest lifetime that the vendor's documents name, by the client's own clock.
    vendor.ok("ApplyToken", order("shop/t/a", "R", 60));
    let body = vendor.ok("ApplyToken", order("shop/t/a/+,shop/t/b", "R,W", 3600));
    let token = body.get("Token").and_then(Value::as_str).unwrap().to_owned();
    scene.told.lock().unwrap().push(token.clone());
    let client = client_id("any");
    let ticket = scene.until_logged_in(&client, &format!("RW|{token}")).await;
    assert_eq!(scene.ask(&client, &ticket, "subscribe", "shop/t/a/+").await, "allow");
    assert_eq!(scene.ask(&client, &ticket, "publish", "shop/t/c").await, "deny NotGrantedByToken");
    assert_eq!(vendor.ok("QueryToken", json!({"Token": token})).get("TokenStatus"), Some(&json!(true)));
    vendor.ok("RevokeToken", json!({"Token": token}));
    assert_eq!(vendor.ok("QueryToken", json!({"Token": token})).get("TokenStatus"), Some(&json!(false)));
    wait::until("the sidecar to refuse a revoked token", SOON, async || {
        (scene.login(&client, &format!("RW|{token}")).await == Err("TokenRevoked".to_owned())).then_some(())
    })
    .await;
}

/// The key in an answer about a device.
fn credential(body: &Value) -> Key {
    let field = |name: &str| body.pointer(&format!("/DeviceCredential/{name}")).cloned().unwrap_or_default();
    assert!(field("CreateTime").as_i64().is_some_and(|time| time > 1_700_000_000_000), "{body}");
    assert!(field("UpdateTime").as_i64() >= field("CreateTime").as_i64(), "{body}");
    let text = |name: &str| field(name).as_str().unwrap().to_owned();
    assert_eq!(text("InstanceId"), INSTANCE);
    Key { id: text("DeviceAccessKeyId"), secret: text("DeviceAccessKeySecret") }
}

fn one(name: &str) -> Value {
    json!({"ClientId": client_id(name)})
}

async fn devices(scene: &Scene, algorithm: &str) {
    let mut vendor = Vendor::of(scene, algorithm, &scene.registrar);
    let logs_in = async |name: &str, key: &Key| {
        let proof = password(MacAlgorithm::HmacSha1, &key.secret.as_str().into(), &client_id(name));
        let username = format!("DeviceCredential|{}|{INSTANCE}", key.id);
        scene.login_as(&username, &client_id(name), &proof).await.map(|_| ())
    };
    let made = credential(&vendor.ok("RegisterDeviceCredential", one("d1")));
    let again = credential(&vendor.ok("RegisterDeviceCredential", one("d1")));
    let read = credential(&vendor.ok("GetDeviceCredential", one("d1")));
    assert_eq!((&made.id, &made.secret), (&again.id, &again.secret));
    assert_eq!((&made.id, &made.secret), (&read.id, &read.secret));
    wait::until("a registered device to be let in", SOON, async || logs_in("d1", &made).await.ok()).await;
    let fresh = credential(&vendor.ok("RefreshDeviceCredential", one("d1")));
    assert!(fresh.id == made.id && fresh.secret != made.secret);
    wait::until("the new key to be let in", SOON, async || logs_in("d1", &fresh).await.ok()).await;
    assert_eq!(logs_in("d1", &made).await, Err("WrongProof".to_owned()));
    let read = credential(&vendor.ok("GetDeviceCredential", one("d1")));
    assert_eq!(read.secret, fresh.secret);
    scene.told.lock().unwrap().extend([made.secret, fresh.secret.clone()]);
    pages(scene, algorithm, &mut vendor);
    for name in ["d1", "d2", "d3"] {
        vendor.ok("UnRegisterDeviceCredential", one(name));
    }
    assert_eq!(vendor.code("GetDeviceCredential", one("d1")), ("DeviceCredentialNotFound".to_owned(), 400));
    wait::until("a removed device to be refused", SOON, async || {
        (logs_in("d1", &fresh).await == Err("UnknownKey".to_owned())).then_some(())
    })
    .await;
}

/// Two more devices, and all of them by pages.
fn pages(scene: &Scene, algorithm: &str, vendor: &mut Vendor) {
    // At two replicas at once: one device, one key.
    let mut other = Vendor(VendorClient::start(
        scene.second.address,
        &scene.authority(),
        algorithm,
        &scene.registrar.id,
        &scene.registrar.secret,
    ));
    let register = |vendor: &mut Vendor| {
        vendor.0.call("RegisterDeviceCredential", &json!({"InstanceId": INSTANCE, "ClientId": client_id("d2")}))
    };
    let (ones, others) = block_in_place(|| {
        std::thread::scope(|scope| {
            let others = scope.spawn(|| register(&mut other));
            (register(vendor), others.join().unwrap())
        })
    });
    assert_eq!(credential(&ones.unwrap()).secret, credential(&others.unwrap()).secret);
    vendor.ok("RegisterDeviceCredential", one("d3"));
    let list = |page: Value| {
        let mut all = json!({"GroupId": "GID_shop_t", "PageSize": "2"});
        all.as_object_mut().unwrap().extend(page.as_object().cloned().unwrap());
        all
    };
    let first = vendor.ok("ListDeviceCredentialClientId", list(json!({"PageNo": "1"})));
    let at =
        |body: &Value, field: &str| body.pointer(&format!("/DeviceCredentialClientIdList/{field}")).cloned().unwrap();
    assert_eq!(at(&first, "ClientIdList"), json!([client_id("d1"), client_id("d2")]));
    assert_eq!(at(&first, "Total"), json!("3"));
    let next = vendor.ok("ListDeviceCredentialClientId", list(json!({"NextToken": at(&first, "NextToken")})));
    assert_eq!(at(&next, "ClientIdList"), json!([client_id("d3")]));
}

fn refusals(scene: &Scene, algorithm: &str) {
    let refused = |code: &str| (code.to_owned(), 400);
    let mut backend = Vendor::of(scene, algorithm, &scene.backend);
    assert_eq!(backend.code("ApplyToken", order("other/a", "R", 600)), refused("PermissionCheckFailed"));
    assert_eq!(backend.code("ApplyToken", order("$share/g/shop/t/a", "R", 600)), refused("ParameterCheckFailed"));
    assert_eq!(backend.code("ApplyToken", order("shop/t/a", "R", 30)), refused("ParameterCheckFailed"));
    assert_eq!(backend.code("ApplyToken", order("shop/t/a", "X", 600)), refused("ParameterCheckFailed"));
    assert_eq!(backend.code("RevokeToken", json!({"Token": "forged"})), refused("ParameterCheckFailed"));
    let device = json!({"ClientId": client_id("d1")});
    assert_eq!(backend.code("RegisterDeviceCredential", device.clone()), refused("InstancePermissionCheckFailed"));
    assert_eq!(backend.code("DeleteGroupId", json!({"GroupId": "GID_shop_t"})), ("ApiNotSupport".to_owned(), 404));
    let wrong = Key { id: scene.backend.id.clone(), secret: "wrong".to_owned() };
    let unknown = Key { id: "AK.none".to_owned(), secret: scene.backend.secret.clone() };
    for key in [wrong, unknown] {
        let mut nobody = Vendor::of(scene, algorithm, &key);
        assert_eq!(nobody.code("QueryToken", json!({"Token": "x"})), refused("SignatureDoesNotMatch"));
    }
    let mut registrar = Vendor::of(scene, algorithm, &scene.registrar);
    let foreign = json!({"ClientId": "GID_other@@@d"});
    assert_eq!(registrar.code("RegisterDeviceCredential", foreign), refused("ParameterCheckFailed"));
    let mut forged =
        (0..40).map(|_| backend.call("RevokeToken", json!({"Token": "forged"})).expect_err("a forged token"));
    let overflow = forged.find(|error| error.code == "RevokeTokenOverFlow");
    let overflow = overflow.map(|error| (error.kind, error.status));
    assert_eq!(overflow, Some(("ThrottlingException".to_owned(), 400)), "the client understands that it has to wait");
}
