//! The definitions (CRDs) of all kinds, as `mqtt-access-operator crds` prints them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
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
        finished(MqttTenant::crd(), &schema::tenant_rules()),
        finished(DeviceCredential::crd(), &schema::device_rules()),
        finished(AclPolicy::crd(), &[]),
    ]
}

/// Adds the rules over a whole object, which cannot stand at a field: `metadata` is not part of any type here.
fn finished(mut crd: CustomResourceDefinition, rules: &[(&str, &str)]) -> CustomResourceDefinition {
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        tidy(schema);
        for (rule, message) in rules {
            schema.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
                rule: (*rule).to_owned(),
                message: Some((*message).to_owned()),
                ..ValidationRule::default()
            });
        }
    }
    crd
}

/// Takes out what the derives put in and nobody wants: the line breaks of doc comments, a second name for "absent".
fn tidy(schema: &mut JSONSchemaProps) {
    schema.description = schema.description.take().map(|text| unwrapped(&text));
    schema.nullable = None;
    schema.title = None;
    schema.properties.iter_mut().flatten().for_each(|(_, property)| tidy(property));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(entries)) = &mut schema.additional_properties {
        tidy(entries);
    }
}

/// Paragraphs stay apart, lines do not: `kubectl explain` wraps them itself.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}
