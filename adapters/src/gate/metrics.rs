//! What is counted of requests. Every label comes from a fixed list.
//!
//! Each core counts in cells of its own, which nobody else writes to: a count is a load and a store, without a lock and without
//! another core's cache line. Whoever reads the page adds them up.

use super::route::Route;
use super::standing::Ended;
use crate::exposition::{Exposition, SECONDS};
use hyper::{Method, StatusCode};
use portcullis_domain::oauth::fault::Fault;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const METHODS: [&str; 5] = ["GET", "POST", "DELETE", "OPTIONS", "other"];
const ROUTES: usize = Route::ALL.len();

/// What all cores have counted.
#[derive(Default)]
pub(crate) struct Metrics {
    cores: Mutex<Vec<Arc<Cells>>>,
    pub(crate) ended: Ended,
}

/// What one core has counted. Written to on its own thread only.
pub(crate) struct Cells {
    routes: [OfRoute; ROUTES],
    refusals: Mutex<Refusals>,
}

/// By route and by the fault's name, of which there are as many as the code has.
type Refusals = BTreeMap<(&'static str, String), u64>;

#[derive(Default)]
struct OfRoute {
    answers: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    /// How many took at most as long as the bound and longer than the one before; the last place is beyond all bounds.
    within: [AtomicU64; SECONDS.len() + 1],
    micros: AtomicU64,
}

/// The method, as it is told of.
pub(crate) fn method_name(method: &Method) -> &'static str {
    METHODS.get(method_place(method)).copied().unwrap_or_default()
}

const fn method_place(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::DELETE => 2,
        Method::OPTIONS => 3,
        _ => 4,
    }
}

impl Cells {
    fn new() -> Self {
        Self { routes: std::array::from_fn(|_| OfRoute::default()), refusals: Mutex::default() }
    }

    /// Counts one answer, whose head is ready after so long.
    pub(crate) fn answered(&self, route: Route, method: &Method, status: StatusCode, after: Duration) {
        let place = Route::ALL.iter().position(|other| *other == route).unwrap_or_default();
        let Some(of_route) = self.routes.get(place) else { return };
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(cell) = of_route.answers.get(method_place(method)).and_then(|classes| classes.get(class)) {
            add(cell, 1);
        }
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let bucket = SECONDS.iter().position(|(most, _)| micros <= *most).unwrap_or(SECONDS.len());
        if let Some(cell) = of_route.within.get(bucket) {
            add(cell, 1);
        }
        add(&of_route.micros, micros);
    }

    /// Counts one refusal by its rule.
    pub(crate) fn refused(&self, route: Route, fault: Fault) {
        let count = &mut *lock(&self.refusals);
        let count = count.entry((route.name(), fault_name(fault))).or_default();
        *count = count.saturating_add(1);
    }
}

/// The name of a fault without its particulars, as docs/refusals.md lists it.
fn fault_name(fault: Fault) -> String {
    let mut name = format!("{fault:?}");
    name.truncate(name.find('(').unwrap_or(name.len()));
    name
}

/// Adds to a cell that only this thread writes to.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

/// Counts are whole after every step, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// Cells for one more core.
    pub(crate) fn on_core(&self) -> Arc<Cells> {
        let cells = Arc::new(Cells::new());
        lock(&self.cores).push(Arc::clone(&cells));
        cells
    }

    /// Writes the sums over all cores. What is zero has no sample.
    pub(crate) fn write(&self, page: &mut Exposition) {
        let cores = lock(&self.cores).clone();
        let sum = |cell: &dyn Fn(&OfRoute) -> Option<&AtomicU64>, route: usize| {
            let cells = cores.iter().filter_map(|core| core.routes.get(route).and_then(cell));
            cells.fold(0_u64, |sum, cell| sum.wrapping_add(cell.load(Relaxed)))
        };
        let routes = || Route::ALL.into_iter().enumerate();
        let mut requests = page.counter("http_requests_total", "Requests answered on the public listener.");
        for (route, of) in routes() {
            for (place, method) in METHODS.into_iter().enumerate() {
                for (class, status) in CLASSES.into_iter().enumerate() {
                    let count = sum(&|cells| cells.answers.get(place)?.get(class), route);
                    if count > 0 {
                        requests.of(&[("route", of.name()), ("method", method), ("status", status)], count);
                    }
                }
            }
        }
        let mut spread =
            page.histogram("http_answer_seconds", "From the end of a request's head to the head of its answer.");
        for (route, of) in routes() {
            let mut count = 0_u64;
            let mut buckets = Vec::with_capacity(SECONDS.len());
            for (place, (_, most)) in SECONDS.into_iter().enumerate() {
                count = count.wrapping_add(sum(&|cells| cells.within.get(place), route));
                buckets.push((most, count));
            }
            count = count.wrapping_add(sum(&|cells| cells.within.last(), route));
            if count > 0 {
                let whole = Duration::from_micros(sum(&|cells| Some(&cells.micros), route)).as_secs_f64();
                spread.spread(&[("route", of.name())], &buckets, count, whole);
            }
        }
        let mut refusals = Refusals::new();
        for core in &cores {
            for (key, count) in &*lock(&core.refusals) {
                let sum = refusals.entry(key.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let mut refused = page.counter("http_refusals_total", "Requests refused, by the rule that they broke.");
        for ((route, fault), count) in &refusals {
            refused.of(&[("route", route), ("fault", fault)], count);
        }
        let mut ended =
            page.counter("open_answers_ended_total", "Answers that were ended because of what ended first.");
        for (by, count) in self.ended.counts() {
            ended.of(&[("by", by)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_in_its_own_cell_and_over_all_cores() {
        let metrics = Metrics::default();
        let cores = [metrics.on_core(), metrics.on_core()];
        let micros = Duration::from_micros;
        for (route, method, status, after) in [
            (Route::Authorize, Method::GET, StatusCode::OK, micros(250)),
            (Route::Resource, Method::POST, StatusCode::UNAUTHORIZED, micros(251)),
            (Route::Resource, Method::POST, StatusCode::UNAUTHORIZED, micros(40_000_000)),
            (Route::Nothing, Method::from_bytes(b"BREW").unwrap(), StatusCode::SERVICE_UNAVAILABLE, micros(0)),
        ] {
            cores[0].answered(route, &method, status, after);
            cores[1].answered(route, &method, status, after);
            cores[1].refused(route, Fault::Malformed("body"));
        }
        let mut page = Exposition::default();
        metrics.write(&mut page);
        let text = page.into_text();
        for line in [
            "portcullis_http_requests_total{route=\"authorize\",method=\"GET\",status=\"2xx\"} 2\n",
            "portcullis_http_requests_total{route=\"resource\",method=\"POST\",status=\"4xx\"} 4\n",
            "portcullis_http_requests_total{route=\"none\",method=\"other\",status=\"5xx\"} 2\n",
            "portcullis_http_answer_seconds_bucket{route=\"authorize\",le=\"0.00025\"} 2\n",
            "portcullis_http_answer_seconds_bucket{route=\"resource\",le=\"0.00025\"} 0\n",
            "portcullis_http_answer_seconds_bucket{route=\"resource\",le=\"0.0005\"} 2\n",
            "portcullis_http_answer_seconds_bucket{route=\"resource\",le=\"30\"} 2\n",
            "portcullis_http_answer_seconds_bucket{route=\"resource\",le=\"+Inf\"} 4\n",
            "portcullis_http_answer_seconds_sum{route=\"resource\"} 80.000502\n",
            "portcullis_http_refusals_total{route=\"resource\",fault=\"Malformed\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert_eq!(text.lines().filter(|line| line.contains("requests_total")).count(), 5);
    }

    #[test]
    fn the_bounds_are_written_as_they_are_and_in_order() {
        for (micros, written) in SECONDS {
            assert_eq!(Duration::from_micros(micros), Duration::from_secs_f64(written.parse().unwrap()), "{written}");
        }
        assert!(SECONDS.is_sorted_by(|one, other| one.0 < other.0));
    }
}
