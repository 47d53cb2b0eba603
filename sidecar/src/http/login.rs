//! A login, step by step: what is cheap is judged at once, what is slow has to wait for its turn elsewhere.
//!
//! No snapshot of the bundles is held while a login waits. What was revoked, disabled or replaced meanwhile is refused: the
//! last word is spoken by the snapshot of that moment.

use axum::body::Body;
use axum::http::Response;
use mqtt_access_core::index::{CheckedLogin, LoginStep, LoginVerdict, SlowLogin, TenantIndex};
use mqtt_access_core::verdict::Reason;

use super::Service;
use super::answer::finish;
use crate::dialect::{About, Attempt, Dialect, Judgement, View};
use crate::failures;
use crate::line::Line;
use crate::store::Snapshot;

impl Service {
    /// What questions are judged by now; `None` until there is something.
    pub(super) fn view<'a>(&'a self, snapshot: &'a Snapshot) -> Option<View<'a>> {
        let index = snapshot.index.as_ref()?;
        Some(View { index, logins: &self.logins, now: self.store.clock().now() })
    }
}

pub(super) async fn answer(service: &Service, dialect: Dialect, attempt: &Attempt<'_>, line: &Line) -> Response<Body> {
    let login = match begin(service, dialect, attempt) {
        Begun::Answered(response) => return response,
        Begun::Slow(login) => login,
    };
    let checked = compare(service, attempt, login, line).await;
    let snapshot = service.store.snapshot();
    let Some(view) = service.view(&snapshot) else {
        return not_ready(service, dialect);
    };
    let verdict = match checked {
        Ok(checked) => view.index.finish_login(&checked, view.now),
        Err(reason) => {
            let tenant = view.index.tenant_of_client(attempt.credentials.client_id);
            LoginVerdict { result: Err(reason), tenant, token_code: None }
        }
    };
    conclude(service, dialect, attempt, verdict, view)
}

enum Begun {
    Answered(Response<Body>),
    Slow(Box<SlowLogin>),
}

fn begin(service: &Service, dialect: Dialect, attempt: &Attempt<'_>) -> Begun {
    let snapshot = service.store.snapshot();
    let Some(view) = service.view(&snapshot) else {
        return Begun::Answered(not_ready(service, dialect));
    };
    match view.index.begin_login(&attempt.credentials, view.now) {
        LoginStep::Done(mut verdict) => {
            name_guess(service, attempt, &mut verdict, view);
            Begun::Answered(conclude(service, dialect, attempt, verdict, view))
        }
        LoginStep::Slow(login) => Begun::Slow(login),
    }
}

/// The outcome of the comparison, remembered or made. A guess too many is refused without it.
async fn compare(
    service: &Service,
    attempt: &Attempt<'_>,
    login: Box<SlowLogin>,
    line: &Line,
) -> Result<CheckedLogin, Reason> {
    let login = match service.hashes.recall(login) {
        Ok(checked) => return Ok(checked),
        Err(login) => login,
    };
    let now = || service.store.clock().now();
    let tenant = login.tenant().unwrap_or_default().to_owned();
    let admitted = service.failures.admit(attempt, &tenant, now()).ok_or(Reason::TooManyFailures)?;
    let checked = service.hashes.check(login, admitted, line).await;
    if matches!(checked, Err(Reason::TooManyLogins)) {
        service.failures.defer(attempt, &tenant, now());
    }
    checked
}

/// Counts a proof that was fast to judge and is wrong. It was judged all the same: only the log and the metrics tell.
fn name_guess(service: &Service, attempt: &Attempt<'_>, verdict: &mut LoginVerdict<'_>, view: View<'_>) {
    let tenant = verdict.tenant.map(TenantIndex::instance_id).unwrap_or_default();
    if let Err(reason) = verdict.result
        && failures::is_guess(reason)
        && service.failures.count(attempt, tenant, view.now)
    {
        verdict.result = Err(Reason::TooManyFailures);
    }
}

fn conclude(
    service: &Service,
    dialect: Dialect,
    attempt: &Attempt<'_>,
    verdict: LoginVerdict<'_>,
    view: View<'_>,
) -> Response<Body> {
    let tenant = verdict.tenant.map(TenantIndex::instance_id).unwrap_or_default();
    let mut number = None;
    if let Ok(login) = &verdict.result {
        service.failures.succeed(attempt, tenant, view.now);
        number = dialect.remember(attempt, login, view);
    }
    let judgement = Judgement::login(attempt.credentials.client_id, verdict);
    finish(service, dialect, &Judgement { login: number, ..judgement })
}

fn not_ready(service: &Service, dialect: Dialect) -> Response<Body> {
    finish(service, dialect, &Judgement::refuse(About::Login, Reason::NotReady))
}
