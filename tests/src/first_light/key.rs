//! Keys as users take them out of their generated Secrets, and the logins made with them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use mqtt_access_core::client::Mode;
use mqtt_access_core::credential::{MacAlgorithm, ModeUsername, password};
use mqtt_access_core::secret::Secret;

use super::FirstLight;

/// What a client presents to the broker.
#[derive(Debug, Clone)]
pub struct Login {
    /// The MQTT client ID.
    pub client_id: String,
    /// The MQTT username.
    pub username: String,
    /// The MQTT password.
    pub password: String,
}

/// A key out of a generated Secret.
#[derive(Debug, Clone)]
pub struct Key {
    username: String,
    secret: Secret,
    ready_made: Option<Login>,
}

impl FirstLight {
    /// Reads a generated Secret with kubectl.
    pub async fn key(&self, namespace: &str, secret: &str) -> Key {
        Key::read(&self.secret_data(namespace, secret).await)
    }

    /// The data of a Secret.
    pub async fn secret_data(&self, namespace: &str, secret: &str) -> BTreeMap<String, ByteString> {
        let json = self.kubectl(&["get", "secret", "-n", namespace, secret, "-o", "json"]).await;
        let secret: KubeSecret = serde_json::from_str(&json).expect("kubectl prints a Secret");
        secret.data.unwrap_or_default()
    }
}

impl Key {
    /// Takes a key out of a Secret's data.
    #[must_use]
    pub fn read(data: &BTreeMap<String, ByteString>) -> Self {
        let text = |name: &str| data.get(name).map(|value| String::from_utf8_lossy(&value.0).into_owned());
        let username = text("username").expect("a generated Secret holds a username");
        let secret = text("accessKeySecret").expect("a generated Secret holds a key");
        let ready_made = text("clientId").zip(text("password")).map(|(client_id, password)| Login {
            client_id,
            username: username.clone(),
            password,
        });
        Self { username, secret: Secret::from(secret.as_str()), ready_made }
    }

    /// The login that stands ready in a device's Secret.
    #[must_use]
    pub fn login(&self) -> Login {
        self.ready_made.clone().expect("a device's Secret holds a ready-made login")
    }

    /// Signs any client ID.
    #[must_use]
    pub fn sign(&self, client_id: &str) -> Login {
        let password = password(MacAlgorithm::HmacSha1, &self.secret, client_id);
        Login { client_id: client_id.to_owned(), username: self.username.clone(), password }
    }

    /// The same key under another instance ID.
    #[must_use]
    pub fn at(&self, instance_id: &str) -> Self {
        let named = ModeUsername::parse(&self.username).expect("a generated username has a mode");
        self.named(named.mode, named.key_id, instance_id)
    }

    /// The same secret under any username.
    #[must_use]
    pub fn named(&self, mode: Mode, key_id: &str, instance_id: &str) -> Self {
        let username = ModeUsername { mode, key_id, instance_id }.to_string();
        Self { username, secret: self.secret.clone(), ready_made: None }
    }

    /// The AccessKeyId or DeviceAccessKeyId.
    #[must_use]
    pub fn id(&self) -> &str {
        ModeUsername::parse(&self.username).expect("a generated username has a mode").key_id
    }

    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl Login {
    /// A login with another password.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self }
    }
}
