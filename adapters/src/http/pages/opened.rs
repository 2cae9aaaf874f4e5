//! The way back to an application on this device: RFC 8252 section 7.1. And to any application, for a person who may not enter.
//!
//! A browser that is redirected to a private-use scheme keeps showing what it showed before, so the answer is a page. It sends the
//! browser on by itself, because the application waits for the answer, a refusal as well; and since browsers may want a person's
//! click for that, or have no such application, it has a link that does the same.

use super::{Gate, Page, Referrer, Stranger, document, error};
use portcullis_domain::limits::REFUSAL_SHOWN_SECS;
use portcullis_domain::oauth::authorize::Refusal;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::wire::html::{Html, Target};
use portcullis_ports::gateway::Welcome;

/// The page of a login that succeeded.
#[must_use]
pub fn welcome(welcome: &Welcome, gate: &Gate) -> Page {
    let app = welcome.redirect.app_name();
    write_welcome(&welcome.name, app.as_deref(), welcome.location.expose(), gate)
}

/// The page of a refusal that the application is told.
#[must_use]
pub fn refusal(refusal: &Refusal, gate: &Gate) -> Page {
    let app = refusal.redirect.app_name();
    write_refusal(refusal.fault, app.as_deref(), &refusal.location(&gate.issuer), gate)
}

pub(super) fn write_welcome(person: &str, app: Option<&str>, location: &str, gate: &Gate) -> Page {
    let person = Stranger::or(Some(person), "a person without a name");
    let app = application(app);
    let mut main = Html::new();
    main.raw("<h1>You are logged in as ");
    person.line(&mut main);
    main.raw("</h1>\n");
    person.rest("The account’s whole name", &mut main);
    main.raw("<p>");
    app.line(&mut main);
    main.raw(" should open by itself. If it does not, use the button.</p>\n");
    open(&app, location, &mut main);
    main.raw("<p>After that you can close this window.</p>\n");
    main.raw("<p class=\"quiet small\">Not your account? Do not go on in the application: disconnect it there, and start again.</p>\n");
    finish("You are logged in", (location, 0), &main, gate)
}

pub(super) fn write_refusal(fault: Fault, app: Option<&str>, location: &str, gate: &Gate) -> Page {
    let (title, next) = error::words(fault);
    let app = application(app);
    let mut main = Html::new();
    main.raw("<h1>").raw(title).raw("</h1>\n<p>").text(&fault.wire().text()).raw("</p>\n<p>");
    app.line(&mut main);
    main.raw(" should open by itself to hear of it. If it does not, use the button. After that you can close this window.</p>\n");
    open(&app, location, &mut main);
    main.raw("<h2>What you can do</h2>\n<p>").raw(next).raw("</p>\n");
    // Who is kept out is to read that before the application says it in its own words.
    let seconds = if is_of_the_operator(fault) { REFUSAL_SHOWN_SECS } else { 0 };
    finish(title, (location, seconds), &main, gate)
}

/// Whether this is the operator's word, which a person is told on a page wherever the answer goes.
#[must_use]
pub const fn is_of_the_operator(fault: Fault) -> bool {
    matches!(fault, Fault::PersonRefused | Fault::ClientBlocked)
}

fn application(name: Option<&str>) -> Stranger {
    Stranger::or(name, "Your application")
}

fn open(app: &Stranger, location: &str, main: &mut Html) {
    main.raw("<div class=\"actions\"><a class=\"button primary\"")
        .href(Target::judged_redirect(location))
        .raw(">Open ");
    app.line(main);
    main.raw("</a></div>\n");
}

fn finish(title: &'static str, (location, seconds): (&str, u8), main: &Html, gate: &Gate) -> Page {
    let onward = (Target::judged_redirect(location), seconds);
    let title = format!("{title} – {}", gate.host);
    Page { status: 200, body: document(&title, Some(onward), Some(&gate.host), main), referrer: Referrer::Nothing }
}
