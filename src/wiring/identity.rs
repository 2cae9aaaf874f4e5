//! In which form each resource's server is told who the person is.

use super::complaint;
use crate::config::{AssertionAlgorithm, CaFile, Complaints, Exchange as ConfiguredExchange, IdentityForm};
use crate::config::{Audience, KeyFile, Resource as ConfiguredResource, SubjectToken, TokenKind, UpstreamUrl};
use portcullis_adapters::fetch::{Fetch, FetchConfig};
use portcullis_adapters::gate::{
    Asserted, AssertionKey, Embedded, Exchange, Form, Introduction, Subject, operator_key,
};
use portcullis_adapters::oidc::named_host;
use portcullis_domain::jose::algorithm::Algorithm;
use portcullis_domain::jose::operator_key::OperatorKey;
use portcullis_domain::limits::{ASSERTION_KEYS_MAX, ASSERTION_LIFE};
use portcullis_domain::oauth::downstream::{Downstream, TokenType};
use portcullis_domain::oidc::request::Credentials;
use std::sync::Arc;

/// The keys of these files.
pub(super) fn assertion_keys(files: &[KeyFile]) -> Result<Vec<Arc<OperatorKey>>, Complaints> {
    if files.len() > ASSERTION_KEYS_MAX {
        return Err(complaint("assertionKeyFiles", "names too many files", "keep at most 8"));
    }
    let read = |(place, file): (usize, &KeyFile)| {
        operator_key(file.pem.expose().as_bytes()).map(Arc::new).ok_or_else(|| {
            complaint(
                &format!("assertionKeyFiles[{place}]"),
                "names a file without a P-256 key or an RSA key of 2048 to 4096 bits as PKCS #8",
                "make one with openssl genpkey, or turn an older form into it with openssl pkcs8 -topk8 -nocrypt",
            )
        })
    };
    files.iter().enumerate().map(read).collect()
}

/// How one resource is told of, and to whom.
pub(super) fn introduction(
    place: usize,
    configured: &ConfiguredResource,
    keys: &[Arc<OperatorKey>],
    ca_files: &[CaFile],
) -> Result<Introduction, Complaints> {
    let form = form(place, configured, keys, ca_files)?;
    Ok(Introduction { form, forward_auth: configured.forward_auth })
}

/// The form of one resource.
fn form(
    place: usize,
    configured: &ConfiguredResource,
    keys: &[Arc<OperatorKey>],
    ca_files: &[CaFile],
) -> Result<Form, Complaints> {
    let at = |key: &str| format!("resources[{place}].{key}");
    let assertion = configured.assertion.as_ref();
    let algorithm = assertion.map_or(AssertionAlgorithm::EdDsa, |assertion| assertion.algorithm);
    let of = |algorithm| keys.iter().find(|key| key.algorithm() == algorithm).cloned().map(AssertionKey::Operator);
    let key = match algorithm {
        AssertionAlgorithm::EdDsa => Some(AssertionKey::Master),
        AssertionAlgorithm::Es256 => of(Algorithm::Es256),
        AssertionAlgorithm::Rs256 => of(Algorithm::Rs256),
    };
    let key = key.ok_or_else(|| {
        complaint(&at("assertion.algorithm"), "has no key", "name a file with such a key in assertionKeyFiles")
    })?;
    let audience = assertion.and_then(|assertion| assertion.audience.as_ref()).map(Audience::as_str);
    let asserted = |fallback: &str| Asserted {
        audience: audience.unwrap_or(fallback).to_owned(),
        key,
        life: assertion.map_or(ASSERTION_LIFE, |assertion| assertion.duration),
    };
    match (configured.identity, &configured.exchange) {
        (IdentityForm::Headers, _) => Ok(Form::Headers),
        (IdentityForm::SubjectOnly, _) => Ok(Form::SubjectOnly),
        (IdentityForm::IdToken, _) => Ok(Form::IdToken),
        (IdentityForm::Assertion, _) => {
            Ok(Form::Assertion(asserted(configured.upstreams.first().map_or("", |upstream| upstream.as_str()))))
        }
        (IdentityForm::Exchange, Some(exchange)) => {
            let asserted = asserted(exchange.client_id.as_str());
            self::exchange(exchange, asserted, ca_files).map(Box::new).map(Form::Exchange).ok_or_else(|| {
                complaint(&at("exchange.caFile"), "cannot be used", "name a file that holds PEM certificates")
            })
        }
        (IdentityForm::Exchange, None) => Err(complaint(&at("exchange"), "is missing", "add it")),
    }
}

fn exchange(configured: &ConfiguredExchange, asserted: Asserted, ca_files: &[CaFile]) -> Option<Exchange> {
    let ConfiguredExchange {
        token_endpoint,
        client_id,
        client_secret,
        expected_issuer,
        connector_id,
        audience,
        scopes,
        subject_token,
        subject_token_type,
        requested_token_type,
        ca_file,
    } = configured;
    let (subject, usual) = match subject_token {
        SubjectToken::Assertion => (Subject::Assertion(asserted), TokenKind::Jwt),
        SubjectToken::IdToken => (Subject::IdToken, TokenKind::IdToken),
    };
    let endpoint = token_endpoint.as_str();
    let issuer = expected_issuer.as_ref().map(|issuer| issuer.as_str()).or_else(|| endpoint.strip_suffix("/token"));
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let fetch = FetchConfig {
        extra_roots: ca_files.iter().chain(ca_file).map(|file| file.pem.clone().into_bytes()).collect(),
        // The operator has named this host, so it may be a private one.
        named_hosts: named_host(endpoint).into_iter().collect(),
        ..FetchConfig::default()
    };
    let downstream = Downstream {
        token_endpoint: endpoint.to_owned(),
        credentials: Credentials { client_id: client_id.as_str().to_owned(), client_secret: client_secret.clone() },
        expected_issuer: issuer.map(str::to_owned),
        connector_id: connector_id.as_ref().map(|id| id.as_str().to_owned()),
        audience: audience.as_ref().map(|audience| audience.as_str().to_owned()),
        scope: scopes.join(" "),
        subject: token_type(subject_token_type.unwrap_or(usual)),
        requested: token_type(*requested_token_type),
    };
    Some(Exchange { downstream, subject, fetch: Fetch::new(fetch).ok()? })
}

const fn token_type(kind: TokenKind) -> TokenType {
    match kind {
        TokenKind::AccessToken => TokenType::Access,
        TokenKind::IdToken => TokenType::Id,
        TokenKind::Jwt => TokenType::Jwt,
    }
}

/// The service that stands behind a resource in this process, if the configuration says so; it is taken out of those that are left.
pub(super) fn service(
    place: usize,
    configured: &ConfiguredResource,
    services: &mut Vec<(String, Embedded)>,
) -> Result<Option<Embedded>, Complaints> {
    if !configured.upstreams.iter().any(UpstreamUrl::is_embedded) {
        return Ok(None);
    }
    let path = configured.paths.first().map_or("", |path| path.as_str());
    let found = services.iter().position(|(own, _)| own == path).map(|at| services.swap_remove(at).1);
    let missing = "is embedded, and this program brings no service along for it";
    let instead = "write the URL of the MCP server; only a program of your own can embed one";
    found.map(Some).ok_or_else(|| complaint(&format!("resources[{place}].upstream"), missing, instead))
}
