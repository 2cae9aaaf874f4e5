//! token_response
