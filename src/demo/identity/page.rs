//! The login page of the demonstration: two people to choose from, and a way out.

use super::super::answer::{Answer, with_body};
use super::people::PEOPLE;
use hyper::StatusCode;
use portcullis_adapters::http::pages::layout;
use portcullis_domain::wire::html::Html;

/// Where the form is sent.
pub(super) const LOGIN: &str = "/login";

/// The page that asks who is there. The fields come back with the answer, and are judged again then.
pub(super) fn login<'a>(fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> Answer {
    let mut main = Html::new();
    main.raw("<h1>Log in</h1>\n<p>This is the demonstration’s own identity provider. ");
    main.raw("Nobody here is real and there are no passwords: choose who you want to be.</p>\n");
    main.raw("<dl>\n");
    for person in &PEOPLE {
        main.raw("<dt>").text(person.name).raw("</dt><dd>").text(person.email).raw(", in ");
        main.text(&person.groups.join(" and ")).raw("</dd>\n");
    }
    main.raw("</dl>\n<form method=\"post\"").action(LOGIN).raw(">\n");
    for (name, value) in fields {
        main.raw("<input type=\"hidden\"").attribute("name", name).attribute("value", value).raw(">\n");
    }
    main.raw("<div class=\"actions\">\n");
    for person in &PEOPLE {
        let first = person.name.split(' ').next().unwrap_or(person.name);
        main.raw("<button class=\"primary\" name=\"person\"").attribute("value", person.username);
        main.raw(">Continue as ").text(first).raw("</button>\n");
    }
    main.raw("</div>\n<div class=\"actions\"><button name=\"cancel\" value=\"1\">Cancel</button></div>\n</form>\n");
    page(StatusCode::OK, "Log in · Demonstration", &main)
}

/// A page that says what is wrong with a request that leads back to nobody.
pub(super) fn refusal(why: &'static str) -> Answer {
    let mut main = Html::new();
    main.raw("<h1>This cannot go on</h1>\n<p>").raw(why).raw("</p>\n");
    main.raw("<p class=\"quiet\">Go back to your client and begin again.</p>\n");
    page(StatusCode::BAD_REQUEST, "Not possible · Demonstration", &main)
}

fn page(status: StatusCode, title: &str, main: &Html) -> Answer {
    let page = layout(title, main);
    let headers = page.headers();
    let mut answer = with_body(status, "text/html; charset=utf-8", page.into_body());
    answer.headers_mut().extend(headers);
    answer
}
