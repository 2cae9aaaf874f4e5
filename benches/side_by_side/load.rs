//! Load: as much as a proxy takes, by wrk, or so many requests per second, by threads of this program.

use super::Row;
use super::proxies::Proxy;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

const CONNECTIONS: u32 = 64;

/// wrk with 64 kept connections.
pub(crate) fn saturate(proxy: &Proxy, time: Duration) -> Row {
    let before = proxy.process.cpu();
    let output = Command::new("wrk")
        .args(["--threads", "2", "--connections", &CONNECTIONS.to_string(), "--latency"])
        .args(["--duration", &format!("{}s", time.as_secs()), "--script"])
        .arg(&proxy.script)
        .arg(format!("http://{}/mcp", proxy.address))
        .output()
        .unwrap();
    let cpu = proxy.process.cpu() - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{}: {text}", proxy.name);
    let behind = |label: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or_else(|| panic!("{text}"));
        line.trim().to_owned()
    };
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or_else(|| panic!("{text}"));
    Row {
        per_second: behind("Requests/sec:").parse().unwrap(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / requests,
        p50_micros: micros(&behind("50%")),
        p99_micros: micros(&behind("99%")),
    }
}

/// `1.23ms` and its like.
fn micros(text: &str) -> f64 {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..).unwrap_or_default() {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        other => panic!("a unit of time: {other}"),
    };
    digits.parse::<f64>().unwrap() * factor
}

/// So many requests per second, from 64 connections. A latency counts from the moment at which its request was due.
pub(crate) fn pace(proxy: &Proxy, per_second: u32, time: Duration) -> Row {
    let before = proxy.process.cpu();
    let latencies = spread_over(proxy.address, std::slice::from_ref(&proxy.request), per_second, time);
    row(latencies, proxy.process.cpu() - before, time)
}

/// What requests came to that took so long each, and this much CPU together.
pub(crate) fn row(mut latencies: Vec<Duration>, cpu: Duration, time: Duration) -> Row {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let requests = latencies.len() as f64;
    Row {
        per_second: requests / time.as_secs_f64(),
        cpu_micros: cpu.as_secs_f64() * 1e6 / requests,
        p50_micros: at(0.5),
        p99_micros: at(0.99),
    }
}

/// Sends these requests in turn, from 64 connections, each as soon as the one before has been answered: how long each took.
pub fn press(to: SocketAddr, requests: &[Vec<u8>], time: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS as usize)
            .map(|number| {
                scope.spawn(move || {
                    let mut connection = Caller::to(to);
                    let mut latencies = Vec::new();
                    let turns = requests.iter().cycle().skip(number).step_by(CONNECTIONS as usize);
                    for request in turns {
                        let begun = Instant::now();
                        if begun >= end {
                            break;
                        }
                        connection.call(request);
                        latencies.push(begun.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Sends these requests in turn, evenly spread over the time: how long each took.
pub fn spread_over(to: SocketAddr, requests: &[Vec<u8>], per_second: u32, time: Duration) -> Vec<Duration> {
    let pause = Duration::from_secs(1) * CONNECTIONS / per_second;
    let begin = Instant::now() + Duration::from_millis(20);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                scope.spawn(move || {
                    let mut connection = Caller::to(to);
                    let mut latencies = Vec::new();
                    let mut due = begin + pause * number / CONNECTIONS;
                    let mut next = number as usize;
                    while due < begin + time {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        connection.call(&requests[next % requests.len()]);
                        latencies.push(due.elapsed());
                        due += pause;
                        next += CONNECTIONS as usize;
                    }
                    latencies
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// A kept connection that wants nothing but 200.
pub struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 16 << 10] }
    }

    pub fn call(&mut self, request: &[u8]) {
        self.stream.write_all(request).unwrap();
        let mut have = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[have..]).unwrap();
            assert_ne!(count, 0, "the connection ended");
            have += count;
            let Some(head) = self.buffer[..have].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
            assert!(text.starts_with("http/1.1 200"), "{text}");
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
            if have == head + 4 + length.trim().parse::<usize>().unwrap() {
                return;
            }
        }
    }
}
