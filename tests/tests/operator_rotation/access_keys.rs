//! Access keys: their clients sign, or come with tokens, and both overlap.

use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act, Claims};
use mqtt_access_tests::operator_fixture::{Device, SOON, Stored, TENANTS};
use mqtt_access_tests::wait;
use serde_json::{Value, json};

use super::scene::{NAMESPACE, Scene, id, now, with_key};

const SECRET: &str = "t-backend-access-key";

/// A client with a token that this Secret signs, with the token key in `entry`.
fn token(secret: &Stored, entry: &str) -> Device {
    let (key_id, instance) = (secret.text("accessKeyId"), secret.text("instanceId"));
    let claims = Claims {
        iss: key_id.clone(),
        aud: instance.clone(),
        iat: now(),
        exp: now() + 600,
        nbf: None,
        jti: entry.to_owned(),
        act: Act::RW,
        res: vec!["rot/t/#".to_owned()],
        sub: None,
    };
    let signed = claims.sign(&Secret::from(secret.text(entry).as_str())).unwrap();
    Device { client_id: id("app"), username: format!("Token|{key_id}|{instance}"), password: format!("RW|{signed}") }
}

async fn rotation(scene: &Scene, rotation: Value) {
    let keys = json!([{"name": "backend", "uses": ["Connect", "IssueTokens"], "rotation": rotation}]);
    scene.patch(TENANTS, NAMESPACE, "t", &json!({"spec": {"accessKeys": keys}})).await;
}

pub(crate) async fn an_access_key_overlaps_with_signatures_and_tokens(scene: &Scene) {
    rotation(scene, json!({"overlap": "1h"})).await;
    let before = wait::until("an access key", SOON, async || scene.secret(NAMESPACE, SECRET).await).await;
    let key = before.text("accessKeySecret");
    let username = before.text("username");
    let signer = Device { client_id: id("app"), username, password: String::new() };
    scene.wait_login(&with_key(&signer, &key), "Allow").await;
    let old_token = token(&before, "tokenKey");
    scene.wait_login(&old_token, "Allow").await;
    rotation(scene, json!({"overlap": "1h", "trigger": "now"})).await;
    let rotated = async || scene.secret(NAMESPACE, SECRET).await.filter(|now| now.text("accessKeySecret") != key);
    let after = wait::until("the access key to be rotated", SOON, rotated).await;
    assert_eq!(after.text("previousAccessKeySecret"), key);
    assert_eq!(after.text("previousTokenKey"), before.text("tokenKey"));
    assert_eq!(after.text("accessKeyId"), before.text("accessKeyId"));
    let (old, new) = (with_key(&signer, &key), with_key(&signer, &after.text("accessKeySecret")));
    let fresh = [token(&after, "tokenKey"), token(&after, "previousTokenKey")];
    for device in [&old, &new, &old_token, &fresh[0], &fresh[1]] {
        scene.wait_login(device, "Allow").await;
    }
    let told = wait::until("the status", SOON, async || {
        let tenant = scene.get(TENANTS, NAMESPACE, "t").await?;
        let told = tenant.pointer("/status/accessKeys/0/rotation")?.clone();
        (told["trigger"] == "now").then_some(told)
    })
    .await;
    assert_eq!(told["previousValidUntil"], after.text("previousValidUntil"));
    scene.wait_event("t", "Rotated", "the access key `backend` was replaced").await;
    rotation(scene, json!({"overlap": "0s", "trigger": "now"})).await;
    scene.wait_login(&old, "WrongProof").await;
    for (device, expected) in [
        (&new, "Allow"),
        (&fresh[0], "Allow"),
        (&old_token, "TokenSignatureInvalid"),
        (&fresh[1], "TokenSignatureInvalid"),
    ] {
        assert_eq!(scene.login(device).await, expected);
    }
}
