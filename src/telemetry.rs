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
    ///
    /// # Errors
    /// If the system gives no threads: nobody would hear of anything.
    pub fn start(format: LogFormat, level: LogLevel) -> io::Result<Self> {
        let (audit, audit_writer) = Lines::start("audit-log")?;
        let (lines, writer) = Lines::start("log")?;
        let lines = Channels { audit, lines };
        let writers = vec![audit_writer, writer];
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
        Ok(Self { lines, writers })
    }
}

/// Lines of this process that nobody will read, because they could not be written, or not in time.
#[must_use]
pub(crate) fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

static LOST: AtomicU64 = AtomicU64::new(0);

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
    fn start(name: &str) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(LOG_LINES_WAITING);
        let lines = Self { sender, dropped: Arc::default() };
        let dropped = Arc::clone(&lines.dropped);
        let writer = std::thread::Builder::new().name(name.to_owned());
        let writer = writer.spawn(move || write_all(&receiver, &dropped, &mut io::stderr()))?;
        Ok((lines, writer))
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
            lose(&self.lines.dropped);
        }
    }
}

fn lose(dropped: &AtomicU64) {
    dropped.fetch_add(1, Ordering::Relaxed);
    LOST.fetch_add(1, Ordering::Relaxed);
}

fn write_all(lines: &Receiver<Vec<u8>>, dropped: &AtomicU64, out: &mut impl Write) {
    let mut torn = false;
    while let Ok(line) = lines.recv() {
        if line.is_empty() {
            break;
        }
        let whole = (!torn || put(out, b"\n", &mut torn)) && put(out, &line, &mut torn);
        if !whole {
            // A log that cannot be written has nowhere to say so, until it can.
            lose(dropped);
            continue;
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = format!("{{\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"lines\":{lost}}}\n");
            if !put(out, line.as_bytes(), &mut torn) {
                dropped.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }
    let _ = out.flush();
}

/// Whether all of it could be written; and whether a line is torn now, which the next one must not be glued to.
fn put(out: &mut impl Write, bytes: &[u8], torn: &mut bool) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match out.write(rest) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return false,
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                *torn = !rest.is_empty();
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and then none until there is room again.
    struct Disk {
        text: Vec<u8>,
        room: usize,
        full: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 && self.full > 0 {
                self.full = self.full.saturating_sub(1);
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = if self.full > 0 { bytes.len().min(self.room) } else { bytes.len() };
            self.room = self.room.saturating_sub(count);
            self.text.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn t283_what_a_full_disk_does_not_take_is_counted_and_the_next_line_begins_a_line() {
        let (sender, receiver) = sync_channel(16);
        let lines = Lines { sender, dropped: Arc::default() };
        let dropped = Arc::clone(&lines.dropped);
        for number in 1..=6 {
            lines.line().write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        drop(lines);
        // The second line is torn, two more do not even begin.
        let mut disk = Disk { text: Vec::new(), room: 10, full: 3 };
        write_all(&receiver, &dropped, &mut disk);
        let text = String::from_utf8(disk.text).unwrap();
        let said = "{\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"lines\":3}\n";
        assert_eq!(text, format!("line 1\nlin\nline 5\n{said}line 6\n"));
        assert!(lines_lost() >= 3);
    }

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
