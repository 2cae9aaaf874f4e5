//! `Mcp-Session-Id` on its way through: bound to the person going out, released coming back.

use super::read;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use portcullis_domain::key::Person;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::resource::ResourceHash;
use portcullis_ports::World;
use portcullis_ports::gateway::Gateway;

pub(super) const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Whose sessions they are, and where.
pub(crate) struct Session<'a, W: World> {
    pub(crate) gateway: &'a Gateway<W>,
    pub(crate) person: Person,
    pub(crate) resource: ResourceHash,
}

impl<W: World> Session<'_, W> {
    /// Makes the client's session id the server's.
    pub(crate) fn release(&self, request: &mut HeaderMap) -> Result<(), Fault> {
        let Some(value) = read::single(request, &MCP_SESSION_ID)? else { return Ok(()) };
        let id = self.gateway.release_session(self.person, self.resource, value.as_bytes())?;
        let id = HeaderValue::from_bytes(id).map_err(|_| Fault::McpSession)?;
        request.insert(MCP_SESSION_ID, id);
        Ok(())
    }

    /// Makes the server's session id the client's.
    pub(crate) fn bind(&self, headers: &mut HeaderMap) -> Result<(), Fault> {
        // Few answers have one, and few have many fields.
        if !headers.keys().any(|name| *name == MCP_SESSION_ID) {
            return Ok(());
        }
        // Two of them are no answer of a server that can be understood.
        let value = read::single(headers, &MCP_SESSION_ID).map_err(|_| Fault::UpstreamDown)?;
        let Some(value) = value else { return Ok(()) };
        let bound = self.gateway.bind_session(self.person, self.resource, value.as_bytes())?;
        let bound = HeaderValue::try_from(bound).map_err(|_| Fault::UpstreamDown)?;
        headers.insert(MCP_SESSION_ID, bound);
        Ok(())
    }
}
