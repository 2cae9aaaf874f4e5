//! From a checked configuration to a gate: the only place that names concrete adapters.

mod clients;
mod identity;
mod keys;
mod reach;
mod relying_party;
mod resources;
mod store;
mod taking_over;
mod trusted;
mod watching;

pub(crate) use taking_over::take_over;
pub use taking_over::{NotTakenOver, TakenOver};

use crate::config::{
    AdminListen, CertificateFile, Cidr as ConfiguredCidr, Complaint, Complaints, Config, Domain, PerAddress, PerClient,
    RateLimits, Tls as ConfiguredTls,
};
use crate::telemetry::lines_lost;
use clients::operators_clients;
use portcullis_adapters::documents::ClientDocuments;
use portcullis_adapters::exposition::{Exposition, Source};
use portcullis_adapters::gate::{Behind, Embedded, Gate, Operator, Protection, Streams};
use portcullis_adapters::http::peer::{Cidr, TrustedProxies};
use portcullis_adapters::http::{Settings, Upstream};
use portcullis_adapters::oidc::{Issuers, Oidc, named_host};
use portcullis_adapters::system::{
    AddressLimiter, CountedJournal, ProcessTurnstiles, Rates, RuntimeTasks, SystemClock, SystemEntropy,
};
use portcullis_adapters::tls::{self, Acceptor, OwnCertificate, Renewal};
use portcullis_adapters::watch::{Watch, Webhook};
use portcullis_domain::bucket::Rate;
use portcullis_domain::hash;
use portcullis_domain::key::ClientHash;
use portcullis_domain::oauth::client_document::DocumentPolicy;
use portcullis_domain::oauth::grant::Lifetimes;
use portcullis_domain::oauth::policy::{Policy, RegistrationPolicy};
use portcullis_domain::oauth::redirect::RedirectPolicy;
use portcullis_domain::oauth::resource::{Resource, Resources};
use portcullis_domain::operation::Epoch;
use portcullis_domain::seal::CurrentRing;
use portcullis_domain::wire::uri::Uri;
use portcullis_ports::gateway::Gateway;
use portcullis_ports::{Clock, Entropy, World};
use reach::{for_client_keys, identity_provider, own_places, strangers};
use relying_party::{Named, named};
use resources::{allowance, resource};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Sessions;
use watching::Watching;

/// The parts that this program is made of.
pub(crate) struct Parts {
    store: Sessions,
    clock: SystemClock,
    entropy: SystemEntropy,
    journal: CountedJournal,
    tasks: RuntimeTasks,
    turnstiles: ProcessTurnstiles,
    provider: Oidc,
    documents: ClientDocuments,
    issuers: Issuers,
    limiter: AddressLimiter,
}

impl World for Parts {
    type Store = Sessions;
    type Clock = SystemClock;
    type Entropy = SystemEntropy;
    type Journal = CountedJournal;
    type Tasks = RuntimeTasks;
    type Turnstiles = ProcessTurnstiles;
    type Provider = Oidc;
    type Documents = ClientDocuments;
    type Issuers = Issuers;
    type Limiter = AddressLimiter;

    fn store(&self) -> &Sessions {
        &self.store
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn entropy(&self) -> &SystemEntropy {
        &self.entropy
    }

    fn journal(&self) -> &CountedJournal {
        &self.journal
    }

    fn tasks(&self) -> &RuntimeTasks {
        &self.tasks
    }

    fn turnstiles(&self) -> &ProcessTurnstiles {
        &self.turnstiles
    }

    fn provider(&self) -> &Oidc {
        &self.provider
    }

    fn documents(&self) -> &ClientDocuments {
        &self.documents
    }

    fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    fn limiter(&self) -> &AddressLimiter {
        &self.limiter
    }
}

/// A gate that is ready to listen.
pub(crate) struct Wired {
    /// Where the public listener goes.
    pub(crate) listen: SocketAddr,
    /// Where the admin listener goes.
    pub(crate) admin_listen: AdminListen,
    /// How the public listener treats connections.
    pub(crate) settings: Settings,
    /// Its TLS, if it speaks any, and what keeps the certificate up to date.
    pub(crate) tls: Option<(Acceptor, Renewal)>,
    /// The same of the admin listener.
    pub(crate) admin_tls: Option<(Acceptor, Renewal)>,
    /// Who may do more on the admin listener than look.
    pub(crate) operator: Option<Operator>,
    /// The gate.
    pub(crate) gate: Arc<Gate<Parts>>,
    /// Its parts.
    pub(crate) parts: Arc<Parts>,
    /// Whoever has something to say at `/metrics`.
    pub(crate) sources: Vec<Source>,
    /// The identity provider, to be kept up to date.
    pub(crate) provider: Oidc,
    /// Which key of the configuration names it.
    pub(crate) issuer_key: &'static str,
    /// Whoever watches sessions.
    pub(crate) watching: Watching,
    /// The protected servers, with their addresses as they were configured.
    pub(crate) upstreams: Vec<(Vec<String>, Arc<Upstream>)>,
}

/// Wires the parts as the configuration says. Every key is taken apart here by name, so none can be read and then forgotten.
///
/// # Errors
/// What only the rules themselves could judge, as complaints about the configuration.
pub(crate) fn wire(
    config: Config,
    services: Vec<(String, Embedded)>,
    within: Option<Arc<Watch>>,
) -> Result<Wired, Complaints> {
    let Config {
        base_url,
        listen,
        admin_listen,
        admin_token,
        admin_tls,
        danger_plain_admin: _judged_when_read_too,
        tls,
        connections,
        connections_per_address,
        shutdown_grace,
        danger_plain_http: _judged_when_read,
        trusted_proxy_cidrs,
        master_keys,
        provider,
        people,
        resources,
        assertion_key_files,
        allowed_origins,
        clients,
        trusted_clients,
        introspection_resource_servers,
        trusted_audiences,
        trusted_issuers,
        token_exchange_broker,
        allow_public_client_registration,
        registration_token,
        trusted_public_registration_schemes,
        trusted_public_registration_redirect_uris,
        allow_localhost_redirect_uris,
        enable_cimd,
        client_document_domains,
        denied_client_document_domains,
        danger_loopback_client_documents,
        session_duration,
        session_max_duration,
        access_token_duration,
        refresh_grace,
        stream_overrun,
        webhook,
        storage,
        rate_limits: RateLimits { per_address, per_client, per_person, per_document_host, security_events },
        ca_files,
        log_format: _for_telemetry,
        log_level: _for_telemetry_too,
    } = config;

    let clock = SystemClock::start();
    let entropy = SystemEntropy::new();
    let base_url = base_url.as_str();
    let tls = tls.map(|tls| listener_tls(&tls, "tls", Some(base_url))).transpose()?;
    let admin_tls = admin_tls.map(|tls| listener_tls(&tls, "adminTls", None)).transpose()?;
    let ring = CurrentRing::of(keys::key_ring(master_keys, base_url, &entropy, clock.now())?);
    let epoch = entropy.draw().map_err(|_| complaint("", "the system gives no random bytes", "start it elsewhere"))?;
    let webhook = webhook.map(|webhook| watching::webhook(webhook, &ca_files, &epoch)).transpose()?;
    let watching = Watching { within, webhook };
    let streams = Streams { overrun: stream_overrun, stale_for: storage.stream_stale_for };
    let store = Sessions::new(storage, &ca_files, &ring, Epoch(hash::first(epoch.expose())))?;
    let redirects = RedirectPolicy {
        loopback: allow_localhost_redirect_uris,
        schemes: trusted_public_registration_schemes.iter().map(|scheme| scheme.as_str().to_owned()).collect(),
        uris: trusted_public_registration_redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect(),
    };
    let keys_of_clients = for_client_keys(clients.iter(), &ca_files)?;
    let clients = operators_clients(clients, &trusted_clients, &redirects)?;
    let assertion_keys = identity::assertion_keys(&assertion_key_files)?;
    let lines = |domains: Vec<Domain>| domains.iter().map(|domain| domain.as_str().to_owned()).collect();
    let documents = DocumentPolicy {
        on: enable_cimd,
        allowed: lines(client_document_domains),
        denied: lines(denied_client_document_domains),
        danger_loopback: danger_loopback_client_documents,
    };
    let own = own_places(base_url, [Some(listen), admin_listen.address()], &resources);
    let strangers = strangers(&documents, own, &ca_files)?;
    let mut protection = Protection::default()
        .publishing(assertion_keys.iter().map(|key| key.public().clone()))
        .watched_by(watching.within.clone());
    let mut services = services;
    let mut upstreams = Vec::with_capacity(resources.len());
    let mut protected = Vec::with_capacity(resources.len());
    for (place, configured) in resources.into_iter().enumerate() {
        let urls = configured.upstreams.iter().map(|url| url.as_str().to_owned()).collect();
        let allowance = allowance(&configured, &per_person);
        let introduction = identity::introduction(place, &configured, &assertion_keys, &ca_files)?;
        let here = identity::service(place, &configured, &mut services)?;
        let (mut resource, behind, origins) =
            resource(place, configured, here, base_url, allowed_origins.as_deref(), &ca_files)?;
        if introduction.form.wants_id_token() {
            resource = resource.wanting_id_tokens();
        }
        if let Behind::Server(upstream) = &behind {
            upstreams.push((urls, Arc::clone(upstream)));
        }
        protection = protection.with(&resource, behind, origins, allowance, introduction);
        protected.push(resource);
    }
    if let Some((path, _)) = services.first() {
        let instead = "write \"upstream\": \"embedded\" for the resource that it is to stand behind";
        return Err(complaint("resources", &format!("has no embedded resource at {path}"), instead));
    }
    let keeps_id_token = protected.iter().any(Resource::wants_id_token);
    let Named { issuer, issuer_key, ca_file, bound, known, party } = named(provider, people, keeps_id_token);
    let own = party.credentials.client_id.as_str();
    let (trusted, issuers) = trusted::trusted(&trusted_audiences, trusted_issuers, own, &ca_files)?;
    let policy = Arc::new(Policy {
        base_url: base_url.to_owned(),
        ring,
        lifetimes: Lifetimes {
            access: access_token_duration,
            idle: session_duration,
            absolute: session_max_duration,
            grace: refresh_grace,
            bound,
        },
        redirects,
        registration: RegistrationPolicy {
            open: allow_public_client_registration,
            token: registration_token.map(|token| token.0),
            known: true,
        },
        documents,
        clients: clients.into(),
        resources: Resources::new(protected).map_err(|refused| {
            complaint("resources", &format!("{refused:?}"), "give each resource paths of its own")
        })?,
        introspectors: introspection_resource_servers.iter().map(|id| ClientHash::of(id.as_str())).collect(),
        trusted,
        broker: trusted::broker(token_exchange_broker),
    });
    let provider = identity_provider(&issuer, known, ca_files.into_iter().chain(ca_file).map(|file| file.pem))?;
    let journal =
        CountedJournal::new(Rate::new(security_events.per_second, Duration::from_secs(1), security_events.burst))
            .watched_by(watching.all());
    let per_host =
        Rate::new(per_document_host.fetches_per_second, Duration::from_secs(1), per_document_host.fetch_burst);
    let parts = Arc::new(Parts {
        store,
        clock,
        entropy,
        journal,
        tasks: RuntimeTasks::default(),
        turnstiles: ProcessTurnstiles::default(),
        provider: provider.clone(),
        documents: ClientDocuments::new(strangers, keys_of_clients, policy.redirects.clone(), per_host),
        issuers,
        limiter: AddressLimiter::new(rates(&per_address, &per_client)),
    });
    let gateway = Gateway::new(Arc::clone(&parts), policy, party);
    let proxies = TrustedProxies::new(trusted_proxy_cidrs.iter().map(cidr).collect::<Result<_, _>>()?);
    let operator = admin_token.map(|token| Operator::new(token.0, issuer.only().map(str::to_owned)));
    let provider_name = named_host(issuer.home()).unwrap_or_else(|| issuer.home().to_owned());
    let most = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let settings = Settings {
        connections_max: most(connections),
        connections_per_address: most(connections_per_address),
        proxies: proxies.clone(),
        drain: shutdown_grace,
        unfinished: parts.tasks.unfinished(),
        ..Settings::default()
    };
    let gate = Gate::new(gateway, &provider_name, proxies, protection, streams)
        .map_err(|_| complaint("baseUrl", "cannot be linked to", "write the URL at which clients reach the gate"))?;
    let (counting, measured) = (Arc::clone(&gate), Arc::clone(&parts));
    let sources: Vec<Source> =
        vec![Box::new(move |page| counting.write_metrics(page)), Box::new(move |page| measured.write_metrics(page)), {
            let (watches, webhook) = (watching.all(), watching.webhook.clone());
            Box::new(move |page| {
                Watch::write_metrics(&watches, page);
                Webhook::write_metrics(webhook.as_deref(), page);
            })
        }];
    Ok(Wired {
        listen,
        admin_listen,
        settings,
        tls,
        admin_tls,
        operator,
        gate,
        parts,
        sources,
        provider,
        issuer_key,
        watching,
        upstreams,
    })
}

impl Parts {
    fn write_metrics(&self, page: &mut Exposition) {
        self.journal.write_metrics(page);
        self.store.write_metrics(page);
        self.limiter.write_metrics(page);
        self.provider.write_metrics(page);
        page.counter("log_lines_lost_total", "Log lines that could not be written, or not in time.").is(lines_lost());
    }

    /// Does what the store needs to have done all the time, for ever.
    pub(crate) async fn keep_store(&self) {
        self.store.keep(&self.clock).await;
    }
}

/// What a listener shows, and what keeps it up to date.
fn listener_tls(
    configured: &ConfiguredTls,
    key: &str,
    base_url: Option<&str>,
) -> Result<(Acceptor, Renewal), Complaints> {
    let ConfiguredTls { certificate: CertificateFile(chain), key: private } = configured;
    let own = OwnCertificate { chain: chain.pem.as_bytes(), key: private.pem.expose().as_bytes() };
    let acceptor = Acceptor::new(own).map_err(|bad| {
        complaint(
            key,
            &format!("names files that {}", bad.words()),
            &format!("look at {key}.certFile and {key}.keyFile"),
        )
    })?;
    let host = base_url.and_then(|url| Uri::parse(url).ok()?.host_text().map(str::to_owned));
    if let Some(host) = &host {
        tls::warn_unless_for(own.chain, host);
    }
    let renewal = Renewal::new(acceptor.clone(), own, chain.path.clone(), private.path.clone(), host);
    Ok((acceptor, renewal))
}

fn rates(per_address: &PerAddress, per_client: &PerClient) -> Rates {
    let PerAddress { registrations_per_hour, token_per_second, token_burst, .. } = *per_address;
    let PerAddress { authorize_per_second, authorize_burst, refused_per_second, refused_burst, .. } = *per_address;
    let PerClient { requests_per_second, request_burst } = *per_client;
    let rate = |per_second, burst| Rate::new(per_second, Duration::from_secs(1), burst);
    Rates {
        registration: Rate::new(registrations_per_hour, Duration::from_secs(3_600), registrations_per_hour),
        token: rate(token_per_second, token_burst),
        authorization: rate(authorize_per_second, authorize_burst),
        refused: rate(refused_per_second, refused_burst),
        known: rate(requests_per_second, request_burst),
        ..Rates::default()
    }
}

fn cidr(configured: &ConfiguredCidr) -> Result<Cidr, Complaints> {
    let text = format!("{}/{}", configured.address, configured.prefix);
    Cidr::parse(&text)
        .map_err(|bad| complaint("trustedProxyCIDRs", &format!("{bad:?}"), "write networks, as 10.0.0.0/8"))
}

fn complaint(path: &str, wrong: &str, instead: &str) -> Complaints {
    Complaints(vec![Complaint {
        path: path.to_owned(),
        wrong: wrong.to_owned().into(),
        instead: instead.to_owned().into(),
    }])
}
