//! Forward authentication: a proxy of the operator's asks whether a request may pass, and who it is that asks.
//!
//! nginx calls it `auth_request`, Traefik `ForwardAuth`, Envoy `ext_authz`. The path behind [`PREFIX`] binds a question to one
//! resource, whatever else it says. Only proxies of `trustedProxyCIDRs` are answered: to everybody else there is nothing here, because
//! the answer says who the person is. Nothing that a client can write opens anything: the original path, where a proxy names it, must
//! belong to the same resource, and the original method decides nothing.

use super::admission::{admit, turn_away};
use super::answer::Answer;
use super::{Gate, read};
use crate::http::peer::client;
use crate::http::{Peer, RequestBody};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::resource::Resource;
use portcullis_ports::World;
use std::time::Instant;

/// What stands in front of a resource's path, below the base URL's.
pub(super) const PREFIX: &str = "/oauth/forward-auth";

/// Where proxies name the original target: nginx as it is commonly configured, Traefik.
const ORIGINAL_TARGET: [HeaderName; 2] =
    [HeaderName::from_static("x-original-uri"), HeaderName::from_static("x-forwarded-uri")];

/// Answers a proxy: 200 with the identity headers, 401 and 403 with the challenge, or why it cannot be said now.
pub(super) async fn answer<W: World>(
    gate: &Gate<W>,
    resource: &Resource,
    request: &Request<RequestBody>,
    peer: &Peer,
) -> Answer {
    let headers = request.headers();
    let Some(protected) = gate.protection.of(resource).filter(|protected| protected.forward_auth) else {
        return Answer::fault(Fault::NotFound);
    };
    let asker = client(peer.address(), headers, &gate.proxies);
    if !asker.is_proxied {
        return Answer::fault(Fault::NotFound);
    }
    let path = request.uri().path().rsplit_once(PREFIX).map_or("", |(_, path)| path);
    let judged = async {
        belongs(resource, headers)?;
        protected.origins.check(headers)?;
        let admitted = admit(gate, resource, protected, headers, asker.address).await?;
        protected.allowance.people.count(admitted.person, Instant::now()).map_err(Fault::rate_limited)?;
        Ok(admitted.who)
    };
    match judged.await {
        Err(fault) => turn_away(gate, fault, resource, path, asker.address),
        Ok(who) => {
            let mut answer = Answer::empty(StatusCode::OK);
            // All of them, those that have nothing to say too: a proxy that takes them over takes over no client's own.
            for (name, value) in who.fields() {
                let value = value.unwrap_or_else(|| HeaderValue::from_static(""));
                answer = answer.with_value(name.clone(), value);
            }
            answer
        }
    }
}

/// Whether the original target, wherever a proxy names it, belongs to the resource that is asked about.
fn belongs(resource: &Resource, headers: &HeaderMap) -> Result<(), Fault> {
    for name in &ORIGINAL_TARGET {
        if let Some(target) = read::only(headers, name)? {
            let path = target.split('?').next().unwrap_or_default();
            if !resource.has(path) {
                return Err(Fault::OtherPath);
            }
        }
    }
    Ok(())
}
