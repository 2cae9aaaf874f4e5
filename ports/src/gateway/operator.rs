//! What the operator may do to sessions.

use super::Gateway;
use crate::{World, transact};
use portcullis_domain::key::{ClientHash, CutScope};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::sever::Sever;

impl<W: World> Gateway<W> {
    /// Ends every session of a client, whoever uses it; with `keep_out`, none begins any more either.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`], [`Fault::Contended`] or [`Fault::Full`]: then it may not have happened.
    pub async fn cut_client(&self, client_id: &str, keep_out: bool) -> Result<(), Fault> {
        let scope = CutScope::Client(ClientHash::of(client_id));
        transact(&self.world, Sever { scope, keep_out }).await
    }
}
