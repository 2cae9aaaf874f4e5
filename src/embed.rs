//! What a program needs whose own service stands behind the gate.

pub use portcullis_adapters::gate::Embedded;
pub use portcullis_adapters::http::{AnswerBody, BodyFault, RequestBody};
pub use portcullis_domain::oauth::identity::Claims;
pub use portcullis_domain::oauth::scope::Scopes;
pub use portcullis_domain::oauth::visitor::Visitor;
pub use portcullis_ports::ProtectedEndpoint;
