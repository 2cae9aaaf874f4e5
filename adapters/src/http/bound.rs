//! Where a listener listens: at an address, once for each core, or at one Unix socket.

use portcullis_domain::limits;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// A kind of socket that clients connect to.
pub trait Socket: AsyncRead + AsyncWrite + Debug + Unpin + Send + Sized + 'static {
    /// Where it is bound.
    type Address: Clone + Debug;
    /// What is bound and does not accept yet.
    type Bound: Debug + Send;
    /// What accepts.
    type Listener: Send + Sync + 'static;

    /// Begins to accept, inside the runtime that will.
    fn listen(bound: Self::Bound) -> io::Result<Self::Listener>;

    /// The next client, and where it is.
    fn poll_accept(listener: &Self::Listener, cx: &mut Context<'_>) -> Poll<io::Result<(Self, SocketAddr)>>;

    /// Says a last word to a client for whom there is no room, if that takes no waiting.
    fn say(&self, words: &[u8]);

    /// Lets small answers go out at once.
    fn hurry(&self);
}

impl Socket for TcpStream {
    type Address = SocketAddr;
    type Bound = TcpSocket;
    type Listener = TcpListener;

    fn listen(bound: TcpSocket) -> io::Result<TcpListener> {
        // Every accepted socket has this from the one that listens. A system that has no such bound is served without.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&bound).set_tcp_notsent_lowat(limits::UNSENT_MAX);
        bound.listen(BACKLOG)
    }

    fn poll_accept(listener: &TcpListener, cx: &mut Context<'_>) -> Poll<io::Result<(Self, SocketAddr)>> {
        listener.poll_accept(cx)
    }

    fn say(&self, words: &[u8]) {
        let _ = self.try_write(words);
    }

    fn hurry(&self) {
        // Without it they would wait for the client's delayed acknowledgement. Its failure costs only time.
        let _ = self.set_nodelay(true);
    }
}

impl Socket for UnixStream {
    type Address = PathBuf;
    type Bound = (std::os::unix::net::UnixListener, SocketFile);
    /// The file goes when nobody accepts any more.
    type Listener = (UnixListener, SocketFile);

    fn listen((listener, file): Self::Bound) -> io::Result<Self::Listener> {
        Ok((UnixListener::from_std(listener)?, file))
    }

    fn poll_accept((listener, _): &Self::Listener, cx: &mut Context<'_>) -> Poll<io::Result<(Self, SocketAddr)>> {
        let (stream, _) = ready!(listener.poll_accept(cx))?;
        // Whoever opens a file of this machine is on this machine, and has no other address.
        Poll::Ready(Ok((stream, (Ipv4Addr::LOCALHOST, 0).into())))
    }

    fn say(&self, words: &[u8]) {
        let _ = self.try_write(words);
    }

    fn hurry(&self) {}
}

/// What is bound, and not yet listened on.
#[derive(Debug)]
pub struct Bound<S: Socket = TcpStream> {
    pub(super) address: S::Address,
    pub(super) sockets: Vec<S::Bound>,
}

impl Bound {
    /// Binds the address for so many cores. Port 0 takes a free port, the same for all.
    pub fn new(address: SocketAddr, cores: usize) -> io::Result<Self> {
        // SO_REUSEPORT would let a second gateway of the same user share the port in silence, so that the address is
        // taken without it first: that fails if anybody listens there.
        let probe = socket(address, false)?;
        let address = probe.local_addr()?;
        drop(probe);
        let sockets = (0..cores.max(1)).map(|_| socket(address, true)).collect::<io::Result<_>>()?;
        Ok(Self { address, sockets })
    }

    /// The listener at standard input, where whoever started this process may have put one that listens already: systemd does
    /// with `StandardInput=socket`. Nothing if standard input is something else.
    pub fn inherited(cores: usize) -> io::Result<Option<Self>> {
        // Standard input is the one descriptor that can be taken over without unsafe code.
        let Ok(handed) = io::stdin().as_fd().try_clone_to_owned() else { return Ok(None) };
        let handed = std::net::TcpStream::from(handed);
        let Ok(address) = handed.local_addr() else { return Ok(None) };
        // A connection, as inetd hands over, is no listener.
        if handed.peer_addr().is_ok() {
            return Ok(None);
        }
        handed.set_nonblocking(true)?;
        // All cores accept from one queue. Listening on what listens already changes nothing but the queue's length.
        let core = |_| Ok(TcpSocket::from_std_stream(handed.try_clone()?));
        let sockets = (0..cores.max(1)).map(core).collect::<io::Result<_>>()?;
        Ok(Some(Self { address, sockets }))
    }

    /// The address, with its real port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The file of a socket. It goes when this is dropped, unless somebody else has put another in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: id(&fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Bound<UnixStream> {
    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.address
    }

    /// Binds a socket of this path, which only this user can connect to. A file that a gate has left behind is replaced; where somebody
    /// listens, or something else lies, nothing changes.
    pub fn at(path: &Path) -> io::Result<Self> {
        vacant(path)?;
        // It is made beside its place, and gets there whole: at no moment can others connect, and none is without a file.
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let beside = folder.join(format!(".{}", std::process::id()));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(&beside)?;
        let mut file = SocketFile::at(&beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        fs::rename(&beside, path)?;
        path.clone_into(&mut file.path);
        Ok(Self { address: path.to_owned(), sockets: vec![(listener, file)] })
    }
}

/// Whether a socket can be put there.
fn vacant(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
        },
    }
}

/// Connections that the kernel keeps for one core until it takes them.
const BACKLOG: u32 = 1_024;
