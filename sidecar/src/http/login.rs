//! A login, step by step: what is cheap is judged at once, what is slow has to wait for its turn elsewhere.
//!
//! No snapshot of the bundles is held while a login waits. What was revoked, disabled or replaced meanwhile is refused: the
//! last word is spoken by the snapshot of that moment.

use axum::body::Body;
use axum::http::Response;
use mqtt_access_core::index::{LoginStep, LoginVerdict, SlowLogin, TenantIndex};
use mqtt_access_core::verdict::Reason;

use super::Service;
use super::answer::finish;
use crate::dialect::{About, Attempt, Dialect, Judgement, View};
use crate::failures;
use crate::line::Line;
use crate::slow_hashes::Priority;
use crate::store::Snapshot;

impl Service {
    /// What questions are judged by now; `None` until there is something.
    pub(super) fn view<'a>(&'a self, snapshot: &'a Snapshot) -> Option<View<'a>> {
        let index = snapshot.index.as_ref()?;
        Some(View { index, logins: &self.logins, now: self.store.clock().now() })
    }
}

pub(super) async fn answer(service: &Service, dialect: Dialect, attempt: &Attempt<'_>, line: &Line) -> Response<Body> {
    let (login, priority) = match begin(service, dialect, attempt) {
        Begun::Answered(response) => return response,
        Begun::Slow(login, priority) => (login, priority),
    };
    let checked = service.hashes.check(login, priority, line).await;
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
    Slow(Box<SlowLogin>, Priority),
}

fn begin(service: &Service, dialect: Dialect, attempt: &Attempt<'_>) -> Begun {
    let snapshot = service.store.snapshot();
    let Some(view) = service.view(&snapshot) else {
        return Begun::Answered(not_ready(service, dialect));
    };
    match view.index.begin_login(&attempt.credentials, view.now) {
        LoginStep::Done(verdict) => Begun::Answered(conclude(service, dialect, attempt, verdict, view)),
        LoginStep::Slow(login) => {
            let guessing = service.failures.too_many(attempt, login.tenant().unwrap_or_default(), view.now);
            Begun::Slow(login, if guessing { Priority::Low } else { Priority::Normal })
        }
    }
}

fn conclude(
    service: &Service,
    dialect: Dialect,
    attempt: &Attempt<'_>,
    mut verdict: LoginVerdict<'_>,
    view: View<'_>,
) -> Response<Body> {
    let tenant = verdict.tenant.map(TenantIndex::instance_id).unwrap_or_default();
    let mut number = None;
    match &verdict.result {
        Ok(login) => number = dialect.remember(attempt, login, view),
        Err(reason) if failures::is_guess(*reason) && service.failures.count(attempt, tenant, view.now) => {
            verdict.result = Err(Reason::TooManyFailures);
        }
        Err(_) => {}
    }
    let judgement = Judgement::login(attempt.credentials.client_id, verdict);
    finish(service, dialect, &Judgement { login: number, ..judgement })
}

fn not_ready(service: &Service, dialect: Dialect) -> Response<Body> {
    finish(service, dialect, &Judgement::refuse(About::Login, Reason::NotReady))
}
