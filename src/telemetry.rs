//! Log lines: one per event, written by a thread of their own, so that a slow terminal or a full disk never makes a request wait.

use crate::config::{LogFormat, LogLevel};
use portcullis_domain::limits::{LOG_END_DEADLINE, LOG_LINES_WAITING};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::Metadata;
use tracing::subscriber::set_global_default;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// Log lines are written for as long as this lives; dropping it writes what is waiting.
#[derive(Debug)]
pub struct Telemetry {
    lines: Channels,
    writers: Vec<JoinHandle<()>>,
}

impl Telemetry {
    /// Starts logging to the standard error output. Only the first call in a process has an effect on where events go.
    #[must_use]
    pub fn start(format: LogFormat, level: LogLevel) -> Self {
        let (audit, audit_writer) = Lines::start("audit-log");
        let (lines, writer) = Lines::start("log");
        let lines = Channels { audit, lines };
        let writers = [audit_writer, writer].into_iter().flatten().collect();
        let level = match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        };
        // Audit events are no matter of weight: a gate that logs errors only still says whose session was revoked.
        let passes = FilterFn::new(move |event| event.target() == AUDIT || *event.level() <= level)
            .with_max_level_hint(level.max(tracing::Level::INFO));
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines.clone());
        // A second one in the same process, as in tests, leaves the first in place.
        let _ = match format {
            LogFormat::Json => {
                set_global_default(Registry::default().with(layer.json().flatten_event(true).with_filter(passes)))
            }
            LogFormat::Text => set_global_default(Registry::default().with(layer.with_filter(passes))),
        };
        Self { lines, writers }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // An empty line is the sign to stop. A reader that has stopped reading must not keep the process from ending.
        let begin = Instant::now();
        let mut untold = vec![&self.lines.audit, &self.lines.lines];
        while !self.writers.iter().all(JoinHandle::is_finished) && begin.elapsed() < LOG_END_DEADLINE {
            untold.retain(|lines| lines.sender.try_send(Vec::new()).is_err());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The target of audit events.
const AUDIT: &str = "audit";

/// Audit lines have a queue of their own, so that a flood of others does not push them out.
#[derive(Clone, Debug)]
struct Channels {
    audit: Lines,
    lines: Lines,
}

#[derive(Clone, Debug)]
struct Lines {
    sender: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    fn start(name: &str) -> (Self, Option<JoinHandle<()>>) {
        let (sender, receiver) = sync_channel(LOG_LINES_WAITING);
        let lines = Self { sender, dropped: Arc::default() };
        let dropped = Arc::clone(&lines.dropped);
        let writer = std::thread::Builder::new().name(name.to_owned());
        (lines, writer.spawn(move || write_all(&receiver, &dropped, &mut io::stderr())).ok())
    }

    fn line(&self) -> Line {
        Line { text: Vec::new(), lines: self.clone() }
    }
}

/// One line on its way.
struct Line {
    text: Vec<u8>,
    lines: Lines,
}

impl<'a> MakeWriter<'a> for Channels {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.lines.line()
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        if metadata.target() == AUDIT { self.audit.line() } else { self.lines.line() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() && self.lines.sender.try_send(text).is_err() {
            self.lines.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(lines: &Receiver<Vec<u8>>, dropped: &AtomicU64, out: &mut impl Write) {
    while let Ok(line) = lines.recv() {
        if line.is_empty() {
            break;
        }
        // A log that cannot be written has nowhere to say so.
        let _ = out.write_all(&line);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "{{\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"lines\":{lost}}}");
        }
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t253_lines_that_nobody_takes_are_dropped_and_counted_and_never_waited_for() {
        let (sender, receiver) = sync_channel(2);
        let lines = Lines { sender, dropped: Arc::default() };
        for _ in 0..5 {
            lines.line().write_all(b"line\n").unwrap();
        }
        assert_eq!(lines.dropped.load(Ordering::Relaxed), 3);
        let mut out = Vec::new();
        let dropped = Arc::clone(&lines.dropped);
        drop(lines);
        write_all(&receiver, &dropped, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("line\n").count(), 2, "{text}");
        assert!(text.contains("\"lines\":3"), "{text}");
    }
}
