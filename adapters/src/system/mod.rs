//! What the operating system and the runtime give: time, chance, tasks, queues, and the journal's lines.

mod clock;
mod entropy;
mod journal;
mod tasks;
mod turnstiles;

pub use clock::SystemClock;
pub use entropy::SystemEntropy;
pub use journal::LogJournal;
pub use tasks::RuntimeTasks;
pub use turnstiles::ProcessTurnstiles;
