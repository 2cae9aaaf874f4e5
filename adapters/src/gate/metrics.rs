//! What is counted, and its text form for Prometheus. Every label comes from a fixed list.

use super::route::Route;
use super::standing::Ended;
use hyper::{Method, StatusCode};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const METHODS: [&str; 5] = ["GET", "POST", "DELETE", "OPTIONS", "other"];

/// Counters of requests, by route, method and class of status.
pub struct Metrics {
    requests: Vec<AtomicU64>,
    pub(crate) ended: Ended,
}

impl Default for Metrics {
    fn default() -> Self {
        let cells = Route::ALL.len().saturating_mul(METHODS.len()).saturating_mul(CLASSES.len());
        Self { requests: std::iter::repeat_with(AtomicU64::default).take(cells).collect(), ended: Ended::default() }
    }
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn request(&self, route: Route, method: &Method, status: StatusCode) {
        let method =
            METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len().saturating_sub(1));
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let route = Route::ALL.iter().position(|other| *other == route).unwrap_or_default();
        let cell = route
            .saturating_mul(METHODS.len())
            .saturating_add(method)
            .saturating_mul(CLASSES.len())
            .saturating_add(class);
        if let Some(cell) = self.requests.get(cell) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters in Prometheus' text form, without those that are zero.
    pub(crate) fn write(&self, out: &mut String) {
        out.push_str(
            "# HELP portcullis_open_answers_ended_total Answers that were ended because of what ended first.\n",
        );
        out.push_str("# TYPE portcullis_open_answers_ended_total counter\n");
        for (name, count) in self.ended.counts() {
            // Writing to a String does not fail.
            let _ = writeln!(out, "portcullis_open_answers_ended_total{{by=\"{name}\"}} {count}");
        }
        out.push_str("# HELP portcullis_http_requests_total Requests answered on the public listener.\n");
        out.push_str("# TYPE portcullis_http_requests_total counter\n");
        let mut cells = self.requests.iter();
        for route in Route::ALL {
            for method in METHODS {
                for class in CLASSES {
                    let count = cells.next().map_or(0, |cell| cell.load(Ordering::Relaxed));
                    if count > 0 {
                        let route = route.name();
                        // Writing to a String does not fail.
                        let _ = writeln!(
                            out,
                            "portcullis_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{class}\"}} {count}"
                        );
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_in_its_own_cell() {
        let metrics = Metrics::default();
        for (route, method, status, times) in [
            (Route::Authorize, Method::GET, StatusCode::OK, 1),
            (Route::Resource, Method::POST, StatusCode::UNAUTHORIZED, 2),
            (Route::Nothing, Method::from_bytes(b"BREW").unwrap(), StatusCode::SERVICE_UNAVAILABLE, 3),
        ] {
            for _ in 0..times {
                metrics.request(route, &method, status);
            }
        }
        let mut out = String::new();
        metrics.write(&mut out);
        for line in [
            "portcullis_http_requests_total{route=\"authorize\",method=\"GET\",status=\"2xx\"} 1\n",
            "portcullis_http_requests_total{route=\"resource\",method=\"POST\",status=\"4xx\"} 2\n",
            "portcullis_http_requests_total{route=\"none\",method=\"other\",status=\"5xx\"} 3\n",
        ] {
            assert!(out.contains(line), "{out}");
        }
        assert_eq!(out.lines().filter(|line| line.contains("requests_total")).count(), 5);
    }
}
