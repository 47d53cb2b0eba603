//! Asks Kubernetes who a bearer token is (`TokenReview`), and whether RBAC permits that one what it wants
//! (`SubjectAccessReview`).

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use mqtt_access_core::secret::Secret;

use crate::cluster::controller::Context;
use crate::service::directory::{Access, ClusterError, Review};

pub(super) async fn review(context: &Context, bearer: &Secret, access: Access<'_>) -> Result<Review, ClusterError> {
    let Some(user) = user_of(context, bearer).await? else { return Ok(Review::Unknown) };
    let name = user.username.clone().unwrap_or_default();
    Ok(if may(context, user, access).await? { Review::Permitted(name) } else { Review::Forbidden })
}

/// Only a token that is meant for the API server: one for another audience was given away to somebody else.
async fn user_of(context: &Context, bearer: &Secret) -> Result<Option<UserInfo>, ClusterError> {
    let token = String::from_utf8_lossy(bearer.expose()).into_owned();
    let spec = TokenReviewSpec { audiences: None, token };
    let review = TokenReview { spec, ..TokenReview::default() };
    let api: Api<TokenReview> = Api::all(context.unfenced.clone());
    let status = api.create(&PostParams::default(), &review).await.map_err(ClusterError::Api)?.status;
    let known = status.filter(|status| status.authenticated == Some(true)).and_then(|status| status.user);
    Ok(known.filter(|user| user.username.as_ref().is_some_and(|name| !name.is_empty())))
}

async fn may(context: &Context, user: UserInfo, Access { tenant, verb }: Access<'_>) -> Result<bool, ClusterError> {
    let UserInfo { extra, groups, uid, username } = user;
    let resource = ResourceAttributes {
        group: Some(mqtt_access_crds::GROUP.to_owned()),
        version: Some(mqtt_access_crds::VERSION.to_owned()),
        resource: Some("mqtttenants".to_owned()),
        subresource: Some("tokens".to_owned()),
        namespace: Some(tenant.namespace.clone()),
        name: Some(tenant.name.clone()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        extra,
        groups,
        uid,
        user: username,
        resource_attributes: Some(resource),
        non_resource_attributes: None,
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(context.unfenced.clone());
    let status = api.create(&PostParams::default(), &review).await.map_err(ClusterError::Api)?.status;
    Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}
