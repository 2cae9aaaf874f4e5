//! The login page of the demonstration: two people to choose from, and a way out.

use super::super::answer::{Answer, with_body};
use super::people::PEOPLE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use portcullis_domain::wire::html::Html;
use ring::digest::{SHA256, digest};

/// Where the form is sent.
pub(super) const LOGIN: &str = "/login";

/// The page that asks who is there. The fields come back with the answer, and are judged again then.
pub(super) fn login<'a>(fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> Answer {
    let mut main = Html::new();
    main.raw("<h1>Log in</h1><p>This is the demonstration\u{2019}s own identity provider. Nobody here is real, and there are no passwords: choose who you want to be.</p>");
    main.raw("<form").attribute("method", "post").action(LOGIN).raw(">");
    for (name, value) in fields {
        main.raw("<input").attribute("type", "hidden").attribute("name", name).attribute("value", value).raw(">");
    }
    for person in &PEOPLE {
        main.raw("<button").attribute("type", "submit").attribute("name", "person").attribute("value", person.username);
        main.raw("><b>Continue as ").text(person.name).raw("</b><span>").text(person.email).raw(" \u{b7} ");
        main.text(&person.groups.join(", ")).raw("</span></button>");
    }
    main.raw("<button class=\"quiet\" type=\"submit\" name=\"cancel\" value=\"1\">Cancel</button></form>");
    page(StatusCode::OK, "Log in \u{b7} Demonstration", &main)
}

/// A page that says what is wrong with a request that leads back to nobody.
pub(super) fn refusal(why: &str) -> Answer {
    let mut main = Html::new();
    main.raw("<h1>This cannot go on</h1><p>").text(why).raw("</p><p>Go back to your client and begin again.</p>");
    page(StatusCode::BAD_REQUEST, "Not possible \u{b7} Demonstration", &main)
}

fn page(status: StatusCode, title: &'static str, main: &Html) -> Answer {
    let mut page = Html::new();
    page.raw("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>");
    page.raw(title).raw("</title><style>").raw(STYLE).raw("</style></head><body><main>").part(main);
    page.raw("</main></body></html>");
    let mut answer = with_body(status, "text/html; charset=utf-8", page.into_string());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(digest(&SHA256, STYLE.as_bytes()))
    );
    let fields: [(HeaderName, Option<HeaderValue>); 4] = [
        (CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).ok()),
        (X_CONTENT_TYPE_OPTIONS, Some(HeaderValue::from_static("nosniff"))),
        (X_FRAME_OPTIONS, Some(HeaderValue::from_static("DENY"))),
        (REFERRER_POLICY, Some(HeaderValue::from_static("same-origin"))),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f6f5f2;--card:#fff;--ink:#1d1c1a;--soft:#5d5a54;--line:#d6d2ca;--edge:#8a5a00}\
@media (prefers-color-scheme:dark){:root{--back:#171614;--card:#211f1c;--ink:#f1eee8;--soft:#b3ada2;--line:#403c36;--edge:#f0b95a}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{width:100%;max-width:26rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-top:.3rem solid var(--edge);border-radius:.5rem}\
h1{margin:0 0 .5rem;font-size:1.5rem}\
p{margin:0 0 1.25rem;color:var(--soft);overflow-wrap:anywhere}\
form{display:grid;gap:.75rem}\
button{padding:.75rem 1rem;text-align:left;font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:.4rem;cursor:pointer}\
button:hover,button:focus-visible{border-color:var(--edge)}\
button:focus-visible{outline:3px solid var(--edge);outline-offset:2px}\
button b{display:block}\
button span{color:var(--soft);font-size:.9rem}\
.quiet{justify-self:start;border:0;padding:.5rem 0;text-decoration:underline;color:var(--soft)}";
