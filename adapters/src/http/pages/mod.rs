//! The pages that people see: consent, errors, and the way back to an application.
//!
//! Every page is one HTML document without script, image or frame, with one style sheet that the policy admits by its hash. What a
//! stranger wrote is cleaned, cut to a length and set apart in `<bdi>`, so that it moves nothing else; where a login is sent is
//! never cut, because the end of a host name says whose it is. The functions take values and give a [`Page`]; who answers the
//! request makes a response of it.

mod consent;
mod error;
mod opened;

pub use consent::consent;
pub use error::error;
pub use opened::{is_of_the_operator, refusal, welcome};

use hyper::header::{self, HeaderName, HeaderValue};
use portcullis_domain::limits::{PAGE_LINE_MAX, PAGE_TEXT_MAX};
use portcullis_domain::wire::html::{Html, NotALink, OwnPath, Target};
use portcullis_domain::wire::text::{base64url, displayable};
use portcullis_domain::wire::uri::Uri;
use ring::digest;
use std::fmt;
use std::sync::LazyLock;

/// A page, ready to be sent.
pub struct Page {
    status: u16,
    body: String,
    referrer: Referrer,
}

/// What the browser may tell the next place of this page's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Referrer {
    /// Ourselves only. A page with a form needs it: under `no-referrer` browsers send the form with `Origin: null`.
    SameOrigin,
    /// Nobody.
    Nothing,
}

impl Page {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The document, in UTF-8. It may hold a code or a form's token: it is for the browser that asked, and for no log.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The same, by value.
    #[must_use]
    pub fn into_body(self) -> String {
        self.body
    }

    /// The headers that belong to it.
    ///
    /// There is no `form-action`, because browsers apply it to where a sent form is redirected, and no
    /// `Cross-Origin-Opener-Policy`, because it cuts off the window that opened a popup: both break clients.
    #[must_use]
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 6] {
        let referrer = match self.referrer {
            Referrer::SameOrigin => "same-origin",
            Referrer::Nothing => "no-referrer",
        };
        [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static(referrer)),
        ]
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Page").field("status", &self.status).field("body", &"..").finish_non_exhaustive()
    }
}

/// What the pages say of the gateway itself. One per process.
#[derive(Debug, Clone)]
pub struct Gate {
    issuer: String,
    host: String,
    provider: String,
    consent: OwnPath,
}

impl Gate {
    /// The gateway with this base URL, whose people log in at `provider`: the host of its issuer, or what people call it.
    ///
    /// # Errors
    /// [`NotALink`] if the base URL is not one.
    pub fn new(base_url: &str, provider: &str) -> Result<Self, NotALink> {
        let base = Uri::parse(base_url).ok().filter(Uri::is_web).ok_or(NotALink)?;
        let host = base.host().ok_or(NotALink)?.to_string();
        let consent = OwnPath::new(&format!("{}/oauth/consent", base.path().trim_end_matches('/')))?;
        Ok(Self { issuer: base_url.to_owned(), host, provider: provider.to_owned(), consent })
    }
}

/// A page around `main`, which begins with an `<h1>`. It may hold a form.
///
/// The style sheet knows the classes `place`, `quiet`, `small`, `caution`, `actions` (a row of buttons), `button` (for links) and
/// `primary`.
#[must_use]
pub fn layout(title: &str, main: &Html) -> Page {
    Page { status: 200, body: document(title, None, None, main), referrer: Referrer::SameOrigin }
}

/// The whole document: `onward` is where the browser goes after so many seconds, `host` stands above the sheet.
fn document(title: &str, onward: Option<(Target<'_>, u8)>, host: Option<&str>, main: &Html) -> String {
    let mut page = Html::new();
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>").text(title);
    page.raw("</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    if let Some((target, seconds)) = onward {
        page.refresh(target, seconds).raw("\n");
    }
    page.raw("<style>").raw(STYLE).raw("</style>\n</head>\n<body>\n");
    if let Some(host) = host {
        page.raw("<header><p>").text(host).raw("</p></header>\n");
    }
    page.raw("<main>\n").part(main).raw("</main>\n</body>\n</html>\n");
    page.into_string()
}

const STYLE: &str = include_str!("style.css");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = base64url(digest::digest(&digest::SHA256, STYLE.as_bytes()).as_ref());
    // The alphabet and padding that every browser compares; 32 bytes leave room for exactly one padding character.
    let hash = hash.replace('-', "+").replace('_', "/");
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}='; frame-ancestors 'none'; base-uri 'none'");
    HeaderValue::try_from(policy).expect("base64 and plain words are visible ASCII")
});

/// Text of a stranger, fit to stand in a line, and all of it if that is more.
struct Stranger {
    line: String,
    whole: Option<String>,
}

impl Stranger {
    fn new(text: &str) -> Self {
        let whole = displayable(text, PAGE_TEXT_MAX);
        let line = displayable(&whole, PAGE_LINE_MAX);
        if line.len() == whole.len() { Self { line, whole: None } } else { Self { line, whole: Some(whole) } }
    }

    /// A stranger's text, or ours where nothing of it is left to see.
    fn or(text: Option<&str>, ours: &str) -> Self {
        let stranger = Self::new(text.unwrap_or_default());
        if stranger.line.is_empty() { Self::new(ours) } else { stranger }
    }

    /// Writes the line.
    fn line(&self, html: &mut Html) {
        apart(html, &self.line);
        if self.whole.is_some() {
            html.raw("…");
        }
    }

    /// Writes all of it, folded up, if the line is not all.
    fn rest(&self, summary: &'static str, html: &mut Html) {
        if let Some(whole) = &self.whole {
            html.raw("<details><summary>").raw(summary).raw("</summary><p>");
            apart(html, whole);
            html.raw("</p></details>\n");
        }
    }
}

/// Writes text whose direction changes nothing around it.
fn apart(html: &mut Html, text: &str) {
    html.raw("<bdi>").text(text).raw("</bdi>");
}

/// Writes a host, scheme or address: never cut short.
fn uncut(html: &mut Html, text: &str) {
    apart(html, &displayable(text, usize::MAX));
}

#[cfg(test)]
mod tests;
