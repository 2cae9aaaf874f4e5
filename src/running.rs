//! A gate that runs: its listeners, its background work, and its end.

use crate::config::{AdminListen, Complaints, Config};
use crate::sessions::Sessions;
use crate::wiring::{NotTakenOver, Parts, TakenOver, take_over, wire};
use portcullis_adapters::gate::{Admin, Embedded, Gate};
use portcullis_adapters::http::{Bound, Plain, Serving, Settings, serve};
use portcullis_adapters::valkey::Refusal;
use portcullis_adapters::watch::{Watch, tell_on_a_thread};
use portcullis_domain::limits::WEBHOOK_LAST;
use portcullis_ports::{Watcher, World};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Why a gate does not start.
#[derive(Debug)]
pub enum NotStarted {
    /// The configuration cannot be carried out.
    Configuration(Complaints),
    /// A listener's address cannot be had.
    Listen(SocketAddr, io::Error),
    /// The admin listener's socket cannot be made.
    ListenAt(PathBuf, io::Error),
    /// The listener at standard input listens at the first address, and the configuration says the second.
    Inherited(SocketAddr, SocketAddr),
    /// The store must not be used as it is.
    Store(Refusal),
    /// The system refuses threads or sockets.
    System(io::Error),
    /// The system's clock stands before 1970: no answer could be dated, and nothing judged by its age.
    Clock,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(complaints) => complaints.fmt(out),
            Self::Listen(address, error) => {
                write!(out, "cannot listen on {address}: {error}; choose another address, or stop what listens there")
            }
            Self::ListenAt(path, error) => write!(
                out,
                "cannot listen at {}: {error}; name another path, or stop what listens there",
                path.display()
            ),
            Self::Inherited(handed, wanted) => write!(
                out,
                "standard input is a listener at {handed}, and listen is {wanted}: make the two the same, or hand over none"
            ),
            Self::Store(refusal) => write!(out, "storage.valkey: the store {refusal}; {}", refusal.instead()),
            Self::System(error) => write!(out, "the system refuses: {error}"),
            Self::Clock => out.write_str("the system's clock stands before 1970: set it, and start the gate again"),
        }
    }
}

impl std::error::Error for NotStarted {}

/// A running gate. Dropping it without [`Running::join`] leaves its threads to themselves.
pub struct Running {
    public: SocketAddr,
    admin: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    listeners: Vec<Serving>,
    background: JoinHandle<()>,
    watcher: Option<JoinHandle<()>>,
    gate: Arc<Gate<Parts>>,
    asking: tokio::runtime::Handle,
}

impl Running {
    /// Starts a gate. When this returns, both listeners accept connections.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn start(config: Config) -> Result<Self, NotStarted> {
        Self::start_with(config, Vec::new())
    }

    /// Starts a gate before services of this process, each by the first path of its resource, whose `upstream` is `embedded`.
    ///
    /// # Errors
    /// [`NotStarted`], also when a resource is embedded and its service is not there, or the other way around.
    pub fn start_with(config: Config, services: Vec<(String, Embedded)>) -> Result<Self, NotStarted> {
        Self::start_watched(config, services, None)
    }

    /// The same, and this watcher is told of people who are let in and of sessions that change.
    ///
    /// # Errors
    /// As [`Running::start_with`].
    pub fn start_watched(
        config: Config,
        services: Vec<(String, Embedded)>,
        watcher: Option<Arc<dyn Watcher>>,
    ) -> Result<Self, NotStarted> {
        if SystemTime::now() < SystemTime::UNIX_EPOCH {
            return Err(NotStarted::Clock);
        }
        let within = watcher.as_ref().map(|_| Watch::new("program"));
        let wired = wire(config, services, within).map_err(NotStarted::Configuration)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NotStarted::System)?;
        let keeping = runtime.spawn({
            let parts = Arc::clone(&wired.parts);
            async move { parts.keep_store().await }
        });
        // A store that is away comes back; one that must not be used as it is stays so until somebody has seen to it.
        if let Err(refusal) = runtime.block_on(wired.parts.store().ready()) {
            if refusal.needs_somebody() {
                return Err(NotStarted::Store(refusal));
            }
            tracing::error!("the store {refusal}; until it can be used, whoever needs it is told 503");
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let bind = |address, cores| Bound::new(address, cores).map_err(|error| NotStarted::Listen(address, error));
        let public = match Bound::inherited(cores).map_err(NotStarted::System)? {
            Some(inherited) if inherited.address() == wired.listen => inherited,
            Some(inherited) => return Err(NotStarted::Inherited(inherited.address(), wired.listen)),
            None => bind(wired.listen, cores)?,
        };
        let admin = match wired.admin_listen {
            AdminListen::Address(address) => AdminBound::Address(bind(address, 1)?),
            AdminListen::Socket(path) => {
                AdminBound::Socket(Bound::at(&path).map_err(|error| NotStarted::ListenAt(path, error))?)
            }
        };
        let (admin_place, admin_address) = (admin.place(), admin.address());
        let public_address = public.address();
        let (stop, stopped) = watch::channel(false);

        let watcher = wired.watching.within.clone().zip(watcher);
        let watcher = watcher.map(|(watch, watcher)| tell_on_a_thread(watch, watcher)).transpose();
        let watcher = watcher.map_err(NotStarted::System)?;
        let asked = Arc::clone(&wired.gate);
        // Held by every core: closed once the last of them has ended.
        let (cores_live, mut cores_gone) = watch::channel(());
        let on_core = {
            let gate = Arc::clone(&wired.gate);
            move |_| {
                let _cores = &cores_live;
                gate.on_core()
            }
        };
        // What the operator has begun runs to its end, too.
        let unfinished = Arc::clone(&wired.settings.unfinished);
        let for_admin = Settings { drain: wired.settings.drain, unfinished, ..Settings::default() };
        let (serving, renewal) = match wired.tls {
            None => (serve(public, wired.settings, Plain, on_core, stopped.clone()), None),
            Some((acceptor, renewal)) => {
                (serve(public, wired.settings, acceptor, on_core, stopped.clone()), Some(renewal))
            }
        };
        let serving = serving.map_err(NotStarted::System)?;
        let answers = Admin::new(wired.gate, wired.operator, wired.sources, Arc::clone(serving.counts()));
        let on_admin = move |_| answers.clone();
        let (administering, admin_renewal) = match (admin, wired.admin_tls) {
            (AdminBound::Socket(bound), _) => (serve(bound, for_admin, Plain, on_admin, stopped), None),
            (AdminBound::Address(bound), None) => (serve(bound, for_admin, Plain, on_admin, stopped), None),
            (AdminBound::Address(bound), Some((acceptor, renewal))) => {
                (serve(bound, for_admin, acceptor, on_admin, stopped), Some(renewal))
            }
        };
        let administering = administering.map_err(NotStarted::System)?;

        let handle = runtime.handle().clone();
        let background = std::thread::Builder::new()
            .name("background".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let asking = tokio::spawn(wired.provider.run());
                    let calling = wired.watching.webhook.clone().map(|webhook| {
                        let parts = Arc::clone(&wired.parts);
                        tokio::spawn(async move { webhook.run(&*parts).await })
                    });
                    let renewing: Vec<_> =
                        renewal.into_iter().chain(admin_renewal).map(|renewal| tokio::spawn(renewal.run())).collect();
                    // Requests in progress need it to their end. An error is what says that there are none left.
                    while cores_gone.changed().await.is_ok() {}
                    for watch in wired.watching.all() {
                        watch.close();
                    }
                    if let Some(calling) = calling
                        && tokio::time::timeout(WEBHOOK_LAST, calling).await.is_err()
                    {
                        tracing::error!("the webhook's receiver has not taken everything before the end");
                    }
                    keeping.abort();
                    asking.abort();
                    for renewing in renewing {
                        renewing.abort();
                    }
                });
                // A name lookup that hangs must not keep the process.
                runtime.shutdown_background();
            })
            .map_err(NotStarted::System)?;
        tracing::info!(public = %public_address, admin = %admin_place, "listening");
        Ok(Self {
            public: public_address,
            admin: admin_address,
            stop,
            listeners: vec![serving, administering],
            background,
            watcher,
            gate: asked,
            asking: handle,
        })
    }

    /// Takes over from this configuration what can change while the gate runs: the operator's clients and the master keys, all at
    /// once. Waits, blocking, for the store, which has to take other master keys for its own.
    ///
    /// # Errors
    /// What is wrong with them; what there was before stays then.
    pub fn take_over(&self, config: Config) -> Result<TakenOver, NotTakenOver> {
        let (answer, answered) = std::sync::mpsc::channel();
        let gate = Arc::clone(&self.gate);
        self.asking.spawn(async move {
            let gateway = gate.gateway();
            // Nobody listening means that the program ends.
            let _ = answer.send(take_over(gateway.world(), gateway.policy(), config).await);
        });
        answered.recv().unwrap_or(Err(NotTakenOver::Ended))
    }

    /// The operator's hand on sessions, for the program that the gate is part of.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(Arc::clone(&self.gate))
    }

    /// Where the public listener listens.
    #[must_use]
    pub const fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where the admin listener listens; nothing if that is a Unix socket.
    #[must_use]
    pub const fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Tells the gate to end: no new connections, requests in progress run on for a while.
    pub fn stop(&self) {
        // Nobody listening means that it has ended already.
        let _ = self.stop.send(true);
    }

    /// Waits, blocking, until it has ended.
    pub fn join(self) {
        for listener in self.listeners {
            listener.join();
        }
        // A panic there was printed by its thread.
        let _ = self.background.join();
        if let Some(watcher) = self.watcher {
            let _ = watcher.join();
        }
    }
}

/// Where the admin listener is bound.
enum AdminBound {
    Address(Bound),
    Socket(Bound<UnixStream>),
}

impl AdminBound {
    const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(bound) => Some(bound.address()),
            Self::Socket(_) => None,
        }
    }

    fn place(&self) -> AdminListen {
        match self {
            Self::Address(bound) => AdminListen::Address(bound.address()),
            Self::Socket(bound) => AdminListen::Socket(bound.path().to_owned()),
        }
    }
}

/// Waits, blocking, for SIGTERM or SIGINT; meanwhile calls `look` every few seconds, and with `true` for each SIGHUP.
///
/// # Errors
/// If the system gives no signals to wait for.
pub(crate) fn attend(pause: Duration, mut look: impl FnMut(bool)) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            let signalled = std::future::poll_fn(|context| {
                if ends.iter_mut().any(|end| end.poll_recv(context).is_ready()) {
                    return Poll::Ready(Signalled::End);
                }
                hangup.poll_recv(context).map(|_| Signalled::Hangup)
            });
            match tokio::time::timeout(pause, signalled).await {
                Ok(Signalled::End) => return Ok(()),
                Ok(Signalled::Hangup) => look(true),
                Err(_) => look(false),
            }
        }
    })
}

enum Signalled {
    End,
    Hangup,
}

/// Waits, blocking, for SIGTERM or SIGINT.
///
/// # Errors
/// If the system gives no signals to wait for.
pub fn wait_for_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        std::future::poll_fn(|context| match (terminate.poll_recv(context), interrupt.poll_recv(context)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        Ok(())
    })
}
