//! A crowd of slow connections: heads that dribble, bodies that dribble, readers that do not read.

use crate::chance::Chance;
use crate::gate::{Hosted, Usage};
use crate::harness::{Connection, HOST, Request};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How many at a time, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Slowly {
    pub connections: usize,
    pub lasts: Duration,
}

/// What became of them.
#[derive(Debug)]
pub struct Tally {
    /// Connections that were taken.
    pub opened: usize,
    closed: usize,
    unheard: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opened, closed, unheard } = self;
        write!(out, "{opened} connections, {closed} of them closed by the gate, {unheard} not taken")
    }
}

/// What the gate and the crowd used of the machine.
#[derive(Debug)]
pub struct Used {
    gate: Usage,
    crowd: Usage,
    lasts: Duration,
}

impl fmt::Display for Used {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gate, crowd, lasts } = self;
        let share = |usage: &Usage| 100.0 * usage.cpu.as_secs_f64() / lasts.as_secs_f64();
        write!(
            out,
            "the gate used {:.1} % of a core and its threads waited {:.1?} in the mean for one, ",
            share(gate),
            gate.delay()
        )?;
        write!(out, "the crowd used {:.1} % and waited {:.1?}", share(crowd), crowd.delay())
    }
}

/// Connections from one address, which is less than the gate takes from one.
const EACH: usize = 1_000;

#[derive(Default)]
struct Counts {
    opened: AtomicUsize,
    closed: AtomicUsize,
    unheard: AtomicUsize,
}

/// This process needs as many descriptors as there are connections.
pub fn descriptors_for(connections: usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    assert!(soft > connections + 500, "{soft} descriptors are too few: begin with `ulimit -n {}`", connections + 1_000);
}

/// Bytes that one connection costs which has been answered once and says nothing now.
pub fn weight_of_an_idle_one(hosted: &Hosted, connections: usize) -> usize {
    let before = hosted.resident();
    let idle: Vec<Connection> = (0..connections)
        .map(|place| {
            let mut connection = Connection::from(address(place), hosted.world.gate.public());
            assert_eq!(connection.exchange(&Request::get("/health")).status, 200);
            connection
        })
        .collect();
    let weight = hosted.resident().saturating_sub(before) / connections;
    drop(idle);
    weight
}

fn address(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 3, 0, u8::try_from(place / EACH + 1).unwrap())
}

/// The crowd in a process of its own, which runs only while nobody else wants to, because a real one has machines of its own.
/// What each process used meanwhile is told too.
pub fn crowd(hosted: &Hosted, plan: &Slowly) -> (Tally, Used) {
    let [connections, lasts] = [plan.connections.to_string(), plan.lasts.as_secs().to_string()];
    let to = hosted.world.gate.public().to_string();
    let mut crowd = Command::new("chrt");
    crowd.args(["--idle", "0"]).arg(std::env::current_exe().unwrap()).args([
        "--exact",
        AS_A_PROCESS,
        "--ignored",
        "--nocapture",
    ]);
    crowd.env(TOLD, [to, connections, lasts].join(" ")).stdout(Stdio::piped());
    let before = Usage::of(hosted.process());
    let child = crowd.spawn().unwrap();
    let process = child.id();
    // Asked at the end of its work and before it ends, when nobody could ask any more.
    std::thread::sleep(plan.lasts);
    let used = Used { gate: Usage::of(hosted.process()).since(before), crowd: Usage::of(process), lasts: plan.lasts };
    let said = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    let line = said.lines().find_map(|line| line.split_once(COUNTED)).unwrap_or_else(|| panic!("{said}")).1;
    let counts: Vec<usize> = line.split_whitespace().map(|count| count.parse().unwrap()).collect();
    (Tally { opened: counts[0], closed: counts[1], unheard: counts[2] }, used)
}

/// The name of the test that is the crowd's process.
const AS_A_PROCESS: &str = "a_slow_crowd_as_a_process_of_its_own";
/// Where that process is told what to do: the gate's address, how many connections, how many seconds.
const TOLD: &str = "SLOW_CROWD";
const COUNTED: &str = "slow ones: ";

/// What the crowd's process does, if this is one.
pub fn as_told() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let [to, connections, lasts] = <[_; 3]>::try_from(told.split(' ').collect::<Vec<_>>()).unwrap();
    let lasts = Duration::from_secs(lasts.parse().unwrap());
    let tally = run(to.parse().unwrap(), &Slowly { connections: connections.parse().unwrap(), lasts });
    println!("{COUNTED}{} {} {}", tally.opened, tally.closed, tally.unheard);
}

/// Keeps so many connections busy with being slow: whoever is thrown out comes again.
fn run(to: SocketAddr, plan: &Slowly) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let counts: &'static Counts = Box::leak(Box::default());
    let end = Instant::now() + plan.lasts;
    runtime.block_on(async {
        for place in 0..plan.connections {
            tokio::spawn(async move {
                let mut chance = Chance::new(place as u64);
                while Instant::now() < end {
                    match open(to, place).await {
                        Ok(socket) => {
                            counts.opened.fetch_add(1, Relaxed);
                            be_slow(socket, place % 3, &mut chance).await;
                            counts.closed.fetch_add(1, Relaxed);
                        }
                        Err(_) => {
                            counts.unheard.fetch_add(1, Relaxed);
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                    }
                }
            });
            // What a crowd of slow ones costs when it arrives is a flood, which is measured elsewhere.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
    });
    Tally {
        opened: counts.opened.load(Relaxed),
        closed: counts.closed.load(Relaxed),
        unheard: counts.unheard.load(Relaxed),
    }
}

async fn open(to: SocketAddr, place: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // A small window, so that a reader that does not read is soon noticed.
    socket.set_recv_buffer_size(4_096)?;
    socket.bind((address(place), 0).into())?;
    socket.connect(to).await
}

/// Until the gate has had enough.
async fn be_slow(mut socket: TcpStream, kind: usize, chance: &mut Chance) {
    let head =
        format!("POST /oauth/token HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    let (at_once, then) = match kind {
        0 => (String::new(), head.into_bytes()),
        1 => (format!("{head}Content-Length: 60000\r\n\r\n"), vec![b'a'; 60_000]),
        _ => {
            // More answers than the buffers of both sides hold, none of which is read.
            let ask = format!("GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            let _ = tokio::time::timeout(Duration::from_secs(5), socket.write_all(ask.repeat(200).as_bytes())).await;
            tokio::time::sleep(Duration::from_secs(130)).await;
            return;
        }
    };
    if socket.write_all(at_once.as_bytes()).await.is_err() {
        return;
    }
    let mut answer = [0_u8; 256];
    // Those whom the gate has ended at one moment do not go on in step.
    tokio::time::sleep(chance.millis(0, 1_000)).await;
    for byte in then {
        if socket.write_all(&[byte]).await.is_err() {
            return;
        }
        // An answer is the end of it, whatever it says.
        if tokio::time::timeout(Duration::from_secs(1), socket.read(&mut answer)).await.is_ok() {
            return;
        }
    }
}
