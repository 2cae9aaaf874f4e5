//! The error page: what happened, in the fault's own words, and what to do next.
//!
//! It says nothing that the request said.

use super::{Gate, Page, Referrer, document, uncut};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::wire::html::Html;

/// The page for this fault. `request` is the name under which the operator finds it in the log.
#[must_use]
pub fn error(fault: Fault, request: Option<&str>, gate: &Gate) -> Page {
    let (title, next) = words(fault);
    let wire = fault.wire();
    let mut main = Html::new();
    main.raw("<h1>").raw(title).raw("</h1>\n<p>").text(&wire.text()).raw("</p>\n");
    main.raw("<h2>What you can do</h2>\n<p>").raw(next).raw("</p>\n");
    if let Some(request) = request {
        main.raw("<p class=\"quiet small\">For the operator: request <code>");
        uncut(&mut main, request);
        main.raw("</code></p>\n");
    }
    let title = format!("{title} – {}", gate.host);
    Page {
        status: page_status(wire.status),
        body: document(&title, None, Some(&gate.host), &main),
        referrer: Referrer::Nothing,
    }
}

/// A page is shown to a person, and 401 would ask the browser for credentials.
const fn page_status(status: u16) -> u16 {
    if status == 401 { 400 } else { status }
}

/// A title, and what to do next.
pub(super) const fn words(fault: Fault) -> (&'static str, &'static str) {
    use Fault as F;
    match fault {
        F::RateLimited(_) | F::ProviderUnavailable | F::StoreUnavailable | F::Contended | F::Full => (
            "Not possible right now",
            "Wait a little, then go back to your application and start again. If this goes on, tell the operator.",
        ),
        F::FlowForged | F::FlowExpired | F::Csrf | F::BrowserUnknown | F::CallbackRepeated => (
            "This login cannot go on",
            "Go back to your application and start the login once more. Finish it in one browser and without long pauses, and \
             allow cookies for this site.",
        ),
        F::ClientUnknown | F::ClientPolicy | F::RedirectUnregistered => (
            "This application cannot log you in here",
            "Remove this connection in your application and add it again, so that the application registers anew. If you did not \
             start this yourself, close this page.",
        ),
        F::ClientDocument => (
            "This application cannot log you in here now",
            "Wait a little, then go back to your application and start again. If it stays so, tell the application’s makers: what it \
             publishes about itself cannot be used. If you did not start this yourself, close this page.",
        ),
        F::ClientBlocked => (
            "This application cannot log you in here",
            "Ask the operator if you need it. If you did not start this yourself, close this page.",
        ),
        F::PersonRefused | F::ProviderDenied => (
            "You are not logged in",
            "Start again from your application and log in with another account, or ask the operator for access.",
        ),
        F::ConsentDenied => ("Access denied", "If you want access after all, start again from your application."),
        F::NotFound | F::Method | F::Host => {
            ("There is no page here", "Check the address, or go back to your application and start again.")
        }
        F::ProviderAnswer(_) | F::IdToken(_) | F::Internal(_) => (
            "Something went wrong",
            "Go back to your application and start again. If it happens again, tell the operator.",
        ),
        _ => (
            "This login cannot begin",
            "Your application has asked for it in a way that is not understood here. Update the application, or tell its makers. If \
             you did not start this yourself, close this page.",
        ),
    }
}
