//! The definitions (CRDs) of all kinds, as `mqtt-access-operator crds` prints them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, ValidationRule};
use kube::CustomResourceExt;

use crate::{AclPolicy, DeviceCredential, MqttTenant, schema};

/// The API group of every kind.
pub const GROUP: &str = "mqttaccess.io";

/// The API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// The category: `kubectl get mqtt` lists all three kinds.
pub const CATEGORY: &str = "mqtt";

/// The definitions of all kinds, in the order of their dependence.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        with_rules(MqttTenant::crd(), schema::tenant_rules()),
        with_rules(DeviceCredential::crd(), schema::device_rules()),
        AclPolicy::crd(),
    ]
}

/// Rules over a whole object: `metadata` is not part of any type here, so they cannot stand at a field.
fn with_rules<const N: usize>(
    mut crd: CustomResourceDefinition,
    rules: [(&str, &str); N],
) -> CustomResourceDefinition {
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        schema.x_kubernetes_validations.get_or_insert_default().extend(rules.map(|(rule, message)| ValidationRule {
            rule: rule.to_owned(),
            message: Some(message.to_owned()),
            ..ValidationRule::default()
        }));
    }
    crd
}
