//! The consent page: who asks, where the login is sent, for what, and the two answers.
//!
//! RFC 6749 section 10.2, RFC 8252 sections 8.4 and 8.6. The place that the login is sent to stands above everything whose length a
//! stranger chooses but the application's name, and that is one line. Neither button has the focus when the page opens. Deny comes
//! first: it is the form's default button, and whoever presses keys without reading says no.

use super::{Gate, Page, Referrer, Stranger, document, uncut};
use portcullis_domain::limits::PAGE_ADDRESS_MAX;
use portcullis_domain::oauth::client::KnownBy;
use portcullis_domain::oauth::redirect::Kind;
use portcullis_domain::oauth::scope::ABOUT_THE_PERSON;
use portcullis_domain::wire::html::Html;
use portcullis_ports::gateway::ConsentPage;

/// The consent page.
#[must_use]
pub fn consent(page: &ConsentPage<'_>, gate: &Gate) -> Page {
    let asked = &page.asked;
    let described = |token| match asked.resource.scopes().iter().find(|scope| scope.name == token) {
        Some(scope) => scope.description.as_deref(),
        None => ABOUT_THE_PERSON.into_iter().find(|(scope, _)| *scope == token).map(|(_, description)| description),
    };
    let app = asked.redirect.app_name();
    let place = asked.redirect.place();
    write(
        &Shown {
            client: asked.client.name(),
            client_id: asked.client.id(),
            known_by: asked.client.known_by(),
            host: asked.client.host(),
            local: asked.client.is_local(),
            kind: asked.redirect.kind(),
            place: &place,
            app: app.as_deref(),
            redirect: asked.redirect.as_str(),
            scopes: asked.flow.scopes.iter().map(|token| (token, described(token))).collect(),
            resource: asked.resource.identifier(),
            resource_name: asked.resource.name(),
            flow: &page.flow,
            csrf: page.csrf.expose(),
        },
        gate,
    )
}

/// Everything on the page that is not the gateway's own.
#[derive(Clone)]
pub(super) struct Shown<'a> {
    pub(super) client: Option<&'a str>,
    pub(super) client_id: &'a str,
    pub(super) known_by: KnownBy,
    /// Where its document lies.
    pub(super) host: Option<&'a str>,
    /// Whether it can be sent back to this device only.
    pub(super) local: bool,
    pub(super) kind: Kind,
    pub(super) place: &'a str,
    pub(super) app: Option<&'a str>,
    pub(super) redirect: &'a str,
    pub(super) scopes: Vec<(&'a str, Option<&'a str>)>,
    pub(super) resource: &'a str,
    pub(super) resource_name: Option<&'a str>,
    pub(super) flow: &'a str,
    pub(super) csrf: &'a str,
}

pub(super) fn write(shown: &Shown<'_>, gate: &Gate) -> Page {
    let mut main = Html::new();
    let name = Stranger::or(shown.client, "An application without a name");
    let resource = Stranger::or(shown.resource_name, shown.resource);
    main.raw("<h1>Allow ");
    name.line(&mut main);
    main.raw(" to use ");
    resource.line(&mut main);
    main.raw("?</h1>\n");
    name.rest("The application’s whole name", &mut main);
    identity(shown, gate, &mut main);
    place(shown, &mut main);
    permissions(shown, &mut main);
    main.raw("<h2>What happens next</h2>\n<p>If you approve, you continue to <strong>");
    uncut(&mut main, &gate.provider);
    main.raw("</strong> to log in. Your approval is for that one login. It is not remembered.</p>\n");
    form(shown, gate, &mut main);
    details(shown, &mut main);
    let title = format!("Allow access? – {}", gate.host);
    Page { status: 200, body: document(&title, None, Some(&gate.host), &main), referrer: Referrer::SameOrigin }
}

/// On whose word the application is what it says it is.
fn identity(shown: &Shown<'_>, gate: &Gate, main: &mut Html) {
    match shown.known_by {
        KnownBy::Operator => {
            main.raw("<p>This application was registered by the operator of ").text(&gate.host).raw(".</p>\n");
        }
        KnownBy::SelfDeclared => {
            main.raw("<p class=\"caution\"><strong>Not verified.</strong> This application is known only by its own claims: ");
            main.raw("it registered itself and chose its name. Approve only if you have just started this from it yourself.</p>\n");
        }
        KnownBy::Document => described(shown, main),
    }
}

/// An application that is known by its address: that is what stands there, and its name is what it says there.
fn described(shown: &Shown<'_>, main: &mut Html) {
    main.raw("<h2>The application is published by</h2>\n<p class=\"place\">");
    uncut(main, shown.host.unwrap_or_default());
    main.raw("</p>\n<p class=\"caution\"><strong>Only this address is verified.</strong> The application chose its name itself. ");
    main.raw("Approve only if you know the address and have just started this yourself.</p>\n");
    if shown.local {
        main.raw("<p class=\"caution\"><strong>Take care:</strong> this application is sent back to this device only, where any ");
        main.raw("program could pass for it. The address above does not show that it is the one that asks.</p>\n");
    }
}

/// Where the login is sent: what a person can tell apart in large letters, the redirect URI below.
fn place(shown: &Shown<'_>, main: &mut Html) {
    main.raw("<h2>Access is given to</h2>\n<p class=\"place\">");
    match shown.kind {
        Kind::Https => uncut(main, shown.place),
        Kind::Loopback => {
            main.raw("A program on this device");
        }
        Kind::App => {
            Stranger::or(shown.app, "An application").line(main);
            main.raw(" on this device");
        }
    }
    main.raw("</p>\n");
    // A longer one, which might push away what follows, stands in the technical details, as all do.
    if shown.redirect.len() <= PAGE_ADDRESS_MAX {
        main.raw("<p class=\"quiet\"><code>");
        uncut(main, shown.redirect);
        main.raw("</code></p>\n");
    }
    main.raw("<p class=\"quiet\">");
    match shown.kind {
        Kind::Https => {
            main.raw("A service on the web.</p>\n");
        }
        Kind::Loopback => {
            main.raw("It listens at ");
            uncut(main, shown.place);
            main.raw(".</p>\n<p class=\"caution\"><strong>Take care:</strong> any program that runs on this device could be ");
            main.raw("listening there.</p>\n");
        }
        Kind::App => {
            main.raw("Whatever opens links that begin with <code>");
            uncut(main, shown.place);
            main.raw("</code><code>:</code></p>\n");
        }
    }
}

/// What the application may do, and where.
fn permissions(shown: &Shown<'_>, main: &mut Html) {
    main.raw("<h2>It may do this in your name</h2>\n<ul>\n");
    if shown.scopes.is_empty() {
        main.raw("<li>Use everything that your account can use there.</li>\n");
    }
    for (token, description) in &shown.scopes {
        main.raw("<li>");
        match description {
            Some(description) => {
                uncut(main, description);
                main.raw(" <span class=\"quiet small\"><code>");
                uncut(main, token);
                main.raw("</code></span>");
            }
            None => {
                main.raw("<code>");
                uncut(main, token);
                main.raw("</code>");
            }
        }
        main.raw("</li>\n");
    }
    main.raw("</ul>\n<p class=\"quiet\">At <code>");
    uncut(main, shown.resource);
    main.raw("</code></p>\n");
}

fn form(shown: &Shown<'_>, gate: &Gate, main: &mut Html) {
    // Without autocomplete="off" some browsers put a former page's values back into hidden fields.
    main.raw("<form method=\"post\" accept-charset=\"utf-8\" autocomplete=\"off\"").action_at(&gate.consent).raw(">\n");
    main.raw("<input type=\"hidden\" name=\"flow\"").attribute("value", shown.flow).raw(">\n");
    main.raw("<input type=\"hidden\" name=\"csrf\"").attribute("value", shown.csrf).raw(">\n");
    main.raw("<div class=\"actions\">\n<button name=\"choice\" value=\"deny\">Deny</button>\n");
    main.raw("<button class=\"primary\" name=\"choice\" value=\"approve\">Approve</button>\n</div>\n</form>\n");
}

/// What only few want to read.
fn details(shown: &Shown<'_>, main: &mut Html) {
    main.raw("<details><summary>Technical details</summary>\n<dl>\n");
    main.raw("<dt>Redirect URI</dt><dd><code>");
    uncut(main, shown.redirect);
    main.raw("</code></dd>\n<dt>Client ID</dt><dd><code>");
    uncut(main, shown.client_id);
    main.raw("</code></dd>\n</dl>\n</details>\n");
}
