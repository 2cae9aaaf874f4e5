//! What a program needs whose own service stands behind the gate.

pub use crate::sessions::Sessions;
pub use portcullis_adapters::gate::Embedded;
pub use portcullis_adapters::http::{AnswerBody, BodyFault, RequestBody};
pub use portcullis_domain::key::GrantId;
pub use portcullis_domain::lifecycle::{Change, Lifecycle};
pub use portcullis_domain::oauth::fault::Fault;
pub use portcullis_domain::oauth::identity::Claims;
pub use portcullis_domain::oauth::scope::Scopes;
pub use portcullis_domain::oauth::visitor::Visitor;
pub use portcullis_ports::gateway::{Held, SessionRefreshed};
pub use portcullis_ports::{ProtectedEndpoint, Watcher};
