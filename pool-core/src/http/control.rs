//! What an operator does to a pool over HTTP, with a token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::Status;
use super::guard::own_host;
use super::reply::Reply;
use super::settings::{self, Wrong};
use super::source::{Source, Whom};
use super::watched::Watched;
use crate::config::MAX_BUDGET;
use crate::counters::Throttle;
use crate::reconfigured::Reconfigured;
use crate::trace::report;

/// The longest body that is read, in bytes.
pub(super) const MOST: usize = 16 * 1024;

/// The right to control the pools of a [`Status`]: for whoever sends the token, as `Authorization: Bearer TOKEN`.
///
/// Only the token's SHA-256 is kept, and compared in a time that does not depend on what was sent.
pub struct Controls {
    token: [u8; 32],
    /// Of those that are refused, the ones that are logged: one a second, so that whoever tries tokens does not fill the log.
    refusals: Throttle,
    began: Instant,
}

/// Why a token will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlsError {
    /// It is so short that it could be guessed.
    #[error("the token has {bytes} bytes; allowed: {least} and more", least = Controls::LEAST)]
    TooShort {
        /// How many bytes it has.
        bytes: usize,
    },
    /// It has a character that cannot be sent in a header as it is.
    #[error("the token has a character other than the visible ones of ASCII")]
    NotSendable,
}

impl Controls {
    /// The shortest token, in bytes.
    pub const LEAST: usize = 16;

    /// With this token. It should be random: `openssl rand -hex 32` writes one.
    ///
    /// # Errors
    ///
    /// [`ControlsError::TooShort`] below [`LEAST`](Controls::LEAST) bytes, none at all included; [`ControlsError::NotSendable`] if it has anything but visible ASCII, a line feed at the end of a file among it.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_core::http::{Controls, ControlsError};
    ///
    /// assert!(Controls::new("8d3f5c0b7a9e4f21").is_ok());
    /// assert_eq!(Controls::new("").unwrap_err(), ControlsError::TooShort { bytes: 0 });
    /// ```
    pub fn new(token: &str) -> Result<Self, ControlsError> {
        if token.len() < Self::LEAST {
            return Err(ControlsError::TooShort { bytes: token.len() });
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ControlsError::NotSendable);
        }
        Ok(Self {
            token: hash(token.as_bytes()),
            refusals: Throttle::new(Duration::from_secs(1), 1),
            began: Instant::now(),
        })
    }

    /// Whether a request has the token. What can be measured from outside is how long the sent one is, which its sender knows.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (sent.next(), sent.next()) else {
            return false;
        };
        let bearer = value.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        bearer.is_some_and(|(_, token)| bool::from(hash(token).ct_eq(&self.token)))
    }

    fn log_refusal(&self, action: Action, why: &str) {
        if let Some(suppressed) = self.refusals.ask(self.began.elapsed()) {
            report(|| tracing::warn!(action = action.name(), suppressed, "a control of the pool was refused: {why}"));
        }
    }
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls").finish_non_exhaustive()
    }
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Pause,
    Resume,
    Retire,
    Reconfigure,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retire => "retire",
            Self::Reconfigure => "reconfigure",
        }
    }
}

/// Does what a request asks for, if it may.
pub(super) async fn answer(status: &Status, action: Action, request: Request) -> Response {
    // Owned across the await: the request. One that is dropped has done nothing: all that is done is done after the last await, at once.
    let answer = match refuse(status, action, &request) {
        Some(reply) => Err(reply),
        None => perform(status, action, request).await,
    };
    answer.unwrap_or_else(|refusal| refusal).into()
}

/// Who may not ask is told so before a byte of the body is read.
fn refuse(status: &Status, action: Action, request: &Request) -> Option<Reply> {
    let controls = status.controls.as_ref()?;
    if !is_of_own_origin(request) {
        controls.log_refusal(action, "it came from a page of another origin");
        return Some(error(StatusCode::FORBIDDEN, "a page of another origin may not control the pool"));
    }
    if !controls.admits(request.headers()) {
        controls.log_refusal(action, "the token was wrong or missing");
        let reply = error(StatusCode::UNAUTHORIZED, "this needs the token, as Authorization: Bearer TOKEN");
        return Some(reply.with(header::WWW_AUTHENTICATE, "Bearer realm=\"pool\""));
    }
    None
}

/// Browsers say where a request comes from; programs need not.
fn is_of_own_origin(request: &Request) -> bool {
    let headers = request.headers();
    let site = headers.get("sec-fetch-site").is_none_or(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    let mut origins = headers.get_all(header::ORIGIN).iter();
    site && origins.all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        origin.zip(own_host(request)).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
    })
}

async fn perform(status: &Status, action: Action, request: Request) -> Result<Reply, Reply> {
    let source = target(status, request.uri())?;
    let is_json = is_json(request.headers());
    // Owned across the await: the request, which is let go with it.
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| unread(rejection.status()))?;
    let fields = read(&body, is_json)?;
    if source.is_closed() {
        return Err(error(StatusCode::CONFLICT, "the pool is closed"));
    }
    match action {
        Action::Pause => switch(&**source, action, &fields, |source| source.pause()),
        Action::Resume => switch(&**source, action, &fields, |source| source.resume()),
        Action::Retire => retire(&**source, &fields),
        Action::Reconfigure => reconfigure(&**source, &fields),
    }
}

/// The pool that is meant.
fn target(status: &Status, uri: &Uri) -> Result<Arc<Watched>, Reply> {
    let mut found = status.asked_for(uri)?;
    match found.pop() {
        Some(source) if found.is_empty() => Ok(source),
        _ => {
            let names: Vec<_> = status.sources.iter().map(|source| source.name()).collect();
            let found = json!({ "error": "say which pool, as ?pool=NAME", "pools": names });
            Err(Reply::json(StatusCode::BAD_REQUEST, &found))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn unread(status: StatusCode) -> Reply {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => error(status, &format!("the body may have {MOST} bytes")),
        status => error(status, "the body could not be read"),
    }
}

fn read(body: &[u8], is_json: bool) -> Result<Map<String, Value>, Reply> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    if !is_json {
        return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a body has to be of Content-Type: application/json"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(error(StatusCode::BAD_REQUEST, "the body has to be a JSON object")),
        // What it says has the line and the column, and nothing of what was sent.
        Err(cause) => Err(error(StatusCode::BAD_REQUEST, &format!("the body is no JSON: {cause}"))),
    }
}

fn error(status: StatusCode, text: &str) -> Reply {
    Reply::json(status, &json!({ "error": text }))
}

/// The fields that will not do, all of them.
fn wrong(fields: &[Wrong]) -> Reply {
    let all: Vec<Value> = fields.iter().map(Wrong::json).collect();
    let value = json!({ "error": "these fields are not allowed as they are; nothing has changed", "fields": all });
    Reply::json(StatusCode::UNPROCESSABLE_ENTITY, &value)
}

/// Nothing but fields of these names.
fn only(fields: &Map<String, Value>, known: &[&str]) -> Vec<Wrong> {
    let allowed = if known.is_empty() { "no field".to_owned() } else { known.join(", ") };
    let others = fields.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    others.map(|(name, value)| Wrong::new(name, value, allowed.clone())).collect()
}

fn done(source: &dyn Source, action: Action, more: Value) -> Reply {
    let mut answer = json!({ "pool": source.name(), "done": action.name() });
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
        answer.extend(more);
    }
    Reply::json(StatusCode::OK, &answer)
}

fn switch(
    source: &dyn Source,
    action: Action,
    fields: &Map<String, Value>,
    turn: fn(&dyn Source),
) -> Result<Reply, Reply> {
    let others = only(fields, &[]);
    if !others.is_empty() {
        return Err(wrong(&others));
    }
    turn(source);
    report(|| tracing::info!(pool = source.name(), action = action.name(), "the pool was controlled over HTTP"));
    Ok(done(source, action, Value::Null))
}

fn retire(source: &dyn Source, fields: &Map<String, Value>) -> Result<Reply, Reply> {
    let whom = whom(fields)?;
    if let Whom::Host(host) = &whom {
        knows(source, host)?;
    }
    let connections = source.state().size;
    source.retire(&whom);
    report(|| {
        tracing::info!(
            pool = source.name(),
            action = Action::Retire.name(),
            ?whom,
            "the pool was controlled over HTTP"
        );
    });
    Ok(done(source, Action::Retire, json!({ "of_connections": connections, "fields": fields })))
}

fn whom(fields: &Map<String, Value>) -> Result<Whom, Reply> {
    let others = only(fields, &["over_seconds", "host"]);
    if !others.is_empty() {
        return Err(wrong(&others));
    }
    let refuse = |name: &str, value: &Value, allowed: &str| wrong(&[Wrong::new(name, value, allowed)]);
    match (fields.get("over_seconds"), fields.get("host")) {
        (None, None) => Ok(Whom::All),
        (Some(over), None) => settings::time(over)
            .filter(|over| !over.is_zero() && *over <= MAX_BUDGET)
            .map(Whom::Over)
            .ok_or_else(|| refuse("over_seconds", over, "a number of seconds, above 0 and up to 315360000")),
        (None, Some(host)) => host
            .as_str()
            .filter(|host| !host.is_empty())
            .map(|host| Whom::Host(host.to_owned()))
            .ok_or_else(|| refuse("host", host, "the name of a host, or one of its addresses, as /pool shows it")),
        (Some(over), Some(_)) => {
            Err(refuse("over_seconds", over, "without host: those to one host are retired at once"))
        }
    }
}

/// Refuses a host that no connection can go to, as far as the driver names its servers.
fn knows(source: &dyn Source, host: &str) -> Result<(), Reply> {
    let servers = source.servers();
    let mut known: Vec<&str> = servers.iter().map(|server| server.host.as_str()).collect();
    // Of a name that leads to many only some are told.
    let mut others = servers.is_empty();
    for list in servers.iter().filter_map(|server| server.address.as_deref()) {
        known.extend(list.split(", "));
        others |= list.contains(" more");
    }
    if others || known.contains(&host) {
        return Ok(());
    }
    Err(wrong(&[Wrong::new("host", &host.into(), format!("one of {}", known.join(", ")))]))
}

fn reconfigure(source: &dyn Source, fields: &Map<String, Value>) -> Result<Reply, Reply> {
    if fields.is_empty() {
        return Err(error(StatusCode::UNPROCESSABLE_ENTITY, "the body names no setting"));
    }
    let Reconfigured { now, new_connections } = change(source, fields)?;
    let sent = Value::Object(fields.clone());
    report(|| {
        tracing::info!(
            pool = source.name(),
            action = Action::Reconfigure.name(),
            settings = %sent,
            "the pool was controlled over HTTP"
        );
    });
    let named = |names: Vec<&str>| names.into_iter().map(settings::named).collect::<Vec<_>>();
    let more = json!({ "now": named(now), "new_connections": named(new_connections) });
    Ok(done(source, Action::Reconfigure, more))
}

/// Changes these settings and no others: if somebody else has changed any meanwhile, such as an adapter the size, it is made of those.
fn change(source: &dyn Source, fields: &Map<String, Value>) -> Result<Reconfigured, Reply> {
    loop {
        let seen = source.config();
        let mut config = (*seen).clone();
        settings::apply(fields, &mut config).map_err(|others| wrong(&others))?;
        let changed = source.reconfigure(&seen, config).map_err(|error| wrong(&settings::refused(&error)))?;
        if let Some(changed) = changed {
            return Ok(changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};

    use super::super::watched::tests::Units;
    use super::*;
    use crate::config::Config;
    use crate::observe::ObserveConfig;
    use crate::pool::Pool;

    /// As an adapter does with the size.
    #[tokio::test]
    async fn what_somebody_else_changes_in_the_same_moment_stays() {
        let pool = Pool::builder(Units).build().unwrap();
        let observer = pool.observe(ObserveConfig::default()).unwrap();
        let engine = &pool.engine;
        let (enough, goes_on) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let goes_on = goes_on;
                for seconds in (1..=2).cycle().take_while(|_| goes_on.try_recv() == Err(TryRecvError::Empty)) {
                    let fields = json!({ "acquire_timeout_seconds": seconds });
                    assert!(change(&observer, fields.as_object().unwrap()).is_ok());
                }
            });
            let (mut adapted, mut undone) = (0, 0);
            for max_size in (20..40).cycle() {
                let seen = engine.config.load_full();
                let is_adapted = engine.adapt(&seen, Config { max_size, ..Config::clone(&seen) });
                std::thread::yield_now();
                adapted += usize::from(is_adapted);
                undone += usize::from(is_adapted && engine.config.load().max_size != max_size);
                if adapted == 5000 {
                    break;
                }
            }
            drop(enough);
            assert_eq!(undone, 0);
        });
    }
}
