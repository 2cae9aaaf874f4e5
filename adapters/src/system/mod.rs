//! What the operating system and the runtime give: time, chance, tasks, queues, the journal's lines, and counting.

mod buckets;
mod clock;
mod entropy;
mod journal;
mod limiter;
pub(crate) mod log_names;
mod tasks;
mod turnstiles;

pub(crate) use buckets::Buckets;
pub use clock::SystemClock;
pub(crate) use clock::wall;
pub use entropy::SystemEntropy;
pub use journal::{CountedJournal, LogJournal};
pub use limiter::{AddressLimiter, PersonLimiter, Rates};
pub use tasks::RuntimeTasks;
pub use turnstiles::ProcessTurnstiles;
