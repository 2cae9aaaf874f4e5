//! Pages: a writer that escapes all text and takes markup only from the program itself.
//!
//! There is no way in for markup that came from outside: tags are `&'static str`, everything else passes the one escape
//! function, and a link's target is a type of its own. The escapes hold in element content and in quoted attributes;
//! pages have no script, and style sheets are constants. Wrapping a stranger's text in `<bdi>` is up to the page.

use super::text::is_unreserved;
use super::uri::Uri;

/// The text is not a URI that a person may be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotALink;

/// Where a link may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a>(&'a str);

impl<'a> Target<'a> {
    /// A page of the web: `https` or `http` with a host and without userinfo.
    pub fn web(uri: &'a str) -> Result<Self, NotALink> {
        Uri::parse(uri).ok().filter(|uri| uri.is_web() && uri.userinfo().is_none()).map(|_| Self(uri)).ok_or(NotALink)
    }

    /// A page of our own, or a constant of the program.
    #[must_use]
    pub const fn own(uri: &'static str) -> Self {
        Self(uri)
    }

    /// A redirect that the caller has judged: exactly one of the client's, with a scheme that is allowed.
    ///
    /// Should one slip through that runs in the page instead of leaving it, the link leads nowhere. With an answer in its query it
    /// may be longer than a URI that is read.
    #[must_use]
    pub fn judged_redirect(uri: &'a str) -> Self {
        let (place, query) = uri.split_once('?').unwrap_or((uri, ""));
        let runs_here = |uri: Uri<'_>| ACTING_SCHEMES.iter().any(|scheme| uri.has_scheme(scheme));
        let leaves =
            Uri::parse(place).is_ok_and(|uri| !runs_here(uri)) && query.bytes().all(|byte| byte.is_ascii_graphic());
        if leaves { Self(uri) } else { Self(NOWHERE) }
    }
}

const NOWHERE: &str = "about:blank";

/// Schemes whose links run or show something with the rights of the page that they stand in, or of the machine.
const ACTING_SCHEMES: [&str; 9] =
    ["about", "blob", "data", "file", "filesystem", "intent", "javascript", "vbscript", "view-source"];

/// A path on this host, for forms that are sent to ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPath(Box<str>);

impl OwnPath {
    /// A path that begins with exactly one slash, without query, fragment, or a character that browsers repair.
    pub fn new(path: &str) -> Result<Self, NotALink> {
        let plain = |byte: u8| is_unreserved(byte) || matches!(byte, b'/' | b'%' | b':' | b'@' | b'+' | b'~');
        let own = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(plain);
        if own { Ok(Self(path.into())) } else { Err(NotALink) }
    }
}

/// A page, or a part of one, that grows from the top down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Appends markup of the program itself.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Appends text, escaped.
    pub fn text(&mut self, text: &str) -> &mut Self {
        push_escaped(&mut self.0, text);
        self
    }

    /// Appends ` name="value"` inside a tag that [`Html::raw`] has opened, the value escaped.
    ///
    /// Names whose value is a URI, a script or a style are not for this method: such an attribute is left out.
    pub fn attribute(&mut self, name: &'static str, value: &str) -> &mut Self {
        debug_assert!(is_inert(name), "{name} needs more than escaping");
        if is_inert(name) {
            self.quoted(name, value);
        }
        self
    }

    /// Appends ` href="…"`.
    pub fn href(&mut self, target: Target<'_>) -> &mut Self {
        self.quoted("href", target.0)
    }

    /// Appends ` action="…"`: where a form is sent, always one of our own pages.
    pub fn action(&mut self, own: &'static str) -> &mut Self {
        self.quoted("action", own)
    }

    /// Appends ` action="…"` for a path that depends on where we are reached.
    pub fn action_at(&mut self, own: &OwnPath) -> &mut Self {
        self.quoted("action", &own.0)
    }

    /// Appends the element for the head of a page that sends the browser on at once, without a script; nothing for a link that
    /// leads nowhere, because the page would be lost.
    pub fn refresh(&mut self, target: Target<'_>, seconds: u8) -> &mut Self {
        if target.0 == NOWHERE {
            return self;
        }
        let seconds = seconds.to_string();
        self.raw("<meta http-equiv=\"refresh\" content=\"").text(&seconds).raw(";url=").text(target.0).raw("\">")
    }

    /// Appends a part that was written apart.
    pub fn part(&mut self, part: &Self) -> &mut Self {
        self.0.push_str(&part.0);
        self
    }

    /// The page so far.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The page.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    fn quoted(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.raw(" ").raw(name).raw("=\"").text(value).raw("\"")
    }
}

/// Escapes for element content and for attributes in quotes of either kind.
fn push_escaped(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            // HTML has no reference for the others, and some readers end a line or a string at one.
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

/// Whether an attribute of this name is mere text to every browser.
fn is_inert(name: &str) -> bool {
    const INERT: [&str; 19] = [
        "alt",
        "autocomplete",
        "class",
        "datetime",
        "dir",
        "for",
        "height",
        "id",
        "lang",
        "method",
        "name",
        "placeholder",
        "role",
        "rowspan",
        "colspan",
        "title",
        "type",
        "value",
        "width",
    ];
    INERT.contains(&name) || name.starts_with("aria-") || name.starts_with("data-")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "offsets into small test texts")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_attributes_are_escaped() {
        let mut page = Html::new();
        page.raw("<p").attribute("title", "a\"b'c").raw(">").text("1 < 2 & 3 > 2 \u{1}\r\n").raw("</p>");
        let expected = "<p title=\"a&quot;b&#39;c\">1 &lt; 2 &amp; 3 &gt; 2 \u{fffd}\u{fffd}&#10;</p>";
        assert_eq!(page.as_str(), expected);
        let mut whole = Html::new();
        whole.raw("<main>").part(&page).raw("</main>");
        assert_eq!(whole.into_string(), format!("<main>{expected}</main>"));
    }

    #[test]
    fn t214_a_link_leads_to_the_web_or_where_the_caller_judged() {
        for uri in ["https://app.example.com/policy?a=1&b=2", "http://127.0.0.1:3000/", "HTTPS://app/"] {
            assert_eq!(Target::web(uri), Ok(Target(uri)));
        }
        for uri in [
            "javascript:alert(1)",
            "JAVASCRIPT://app/%0aalert(1)",
            " javascript:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:https://a/b",
            "about:blank",
            "//evil.com",
            "/path",
            "https:evil.com",
            "https://user@evil.com/",
            "https://a/\"onclick=x",
            "cursor://a/b",
            "",
        ] {
            assert_eq!(Target::web(uri), Err(NotALink), "{uri:?}");
        }
        let long = format!("cursor://a/b?code=x&state={}", "%20".repeat(1_000));
        for uri in ["com.example.app:/cb?code=x", "desk:?code=x", &long] {
            assert_eq!(Target::judged_redirect(uri), Target(uri));
        }
        for uri in [
            "javascript:alert(1)",
            "javascript:?alert(1)",
            "JavaScript://a/%0aalert(1)",
            "data:text/html,x",
            "\tjavascript:x",
            "a:b?\tc",
            "/x",
            "",
        ] {
            assert_eq!(Target::judged_redirect(uri), Target("about:blank"), "{uri:?}");
        }
        let mut link = Html::new();
        link.raw("<a").href(Target::web("https://app/?a=1&b=2").unwrap()).raw(">");
        link.raw("<form").action("/oauth/consent").raw(">");
        assert_eq!(link.as_str(), r#"<a href="https://app/?a=1&amp;b=2"><form action="/oauth/consent">"#);
    }

    #[test]
    fn t214_a_form_is_sent_to_this_host_only() {
        let mut form = Html::new();
        form.raw("<form").action_at(&OwnPath::new("/base/oauth/consent").unwrap()).raw(">");
        assert_eq!(form.as_str(), r#"<form action="/base/oauth/consent">"#);
        for path in [
            "",
            "oauth",
            "//evil.com/",
            "/\\evil.com",
            "\\evil.com",
            "/\t/evil.com",
            "https://evil.com/",
            "/a?b",
            "/a#b",
            "/a\"b",
            "/ä",
        ] {
            assert_eq!(OwnPath::new(path), Err(NotALink), "{path:?}");
        }
    }

    #[test]
    fn t214_a_refresh_leads_where_the_link_does_and_never_nowhere() {
        let mut head = Html::new();
        head.refresh(Target::judged_redirect("cursor://a/b?code=1&state=2;url='x'"), 0);
        let expected = r#"<meta http-equiv="refresh" content="0;url=cursor://a/b?code=1&amp;state=2;url=&#39;x&#39;">"#;
        assert_eq!(head.as_str(), expected);
        assert_eq!(Html::new().refresh(Target::judged_redirect("javascript:alert(1)"), 0).as_str(), "");
    }

    #[test]
    fn t214_an_attribute_that_acts_is_not_written_as_text() {
        for name in [
            "href",
            "src",
            "action",
            "formaction",
            "style",
            "srcdoc",
            "onclick",
            "http-equiv",
            "content",
            "xlink:href",
            "a b",
        ] {
            assert!(!is_inert(name), "{name}");
        }
        assert!(is_inert("value") && is_inert("aria-label"));
    }

    /// The same page with another stranger's text in every place that takes text.
    fn page(stranger: &str) -> String {
        let mut page = Html::new();
        page.raw("<!doctype html><html><head><title>")
            .text(stranger)
            .raw(" wants in</title><style>p{color:red}</style>");
        page.raw("</head><body><h1><bdi").attribute("title", stranger).raw(">").text(stranger).raw("</bdi></h1>");
        page.raw("<p>").text(stranger).raw(" <a").href(Target(stranger)).raw(">").text(stranger);
        page.raw("</a></p><form method=\"post\"")
            .action("/oauth/consent")
            .raw("><input type=\"hidden\" name=\"state\"");
        page.attribute("value", stranger).raw("><textarea name=\"note\">").text(stranger).raw("</textarea>");
        page.raw("<button>Approve</button></form></body></html>");
        page.into_string()
    }

    /// Tags and attribute names in their order: what a browser would build, without any text.
    fn skeleton(page: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut rest = page;
        while let Some(start) = rest.find('<') {
            rest = &rest[start + 1..];
            let name_end = rest.find([' ', '>']).unwrap();
            found.push(rest[..name_end].to_owned());
            rest = &rest[name_end..];
            while let Some(attribute) = rest.strip_prefix(' ') {
                let end = attribute.find(['=', '>', ' ']).unwrap();
                found.push(format!("@{}", &attribute[..end]));
                rest = &attribute[end..];
                if let Some(value) = rest.strip_prefix("=\"") {
                    rest = &value[value.find('"').unwrap() + 1..];
                }
            }
            rest = rest.strip_prefix('>').unwrap();
        }
        found
    }

    /// Whether escaped text could not end its place: no bare markup character, and only the references written here.
    fn is_inert_text(escaped: &str) -> bool {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#9;", "&#10;"];
        !escaped.contains(['<', '>', '"', '\''])
            && !escaped.contains(char::is_control)
            && escaped
                .match_indices('&')
                .all(|(at, _)| known.iter().any(|reference| escaped[at..].starts_with(reference)))
    }

    #[test]
    fn t214_no_polyglot_changes_the_skeleton() {
        let benign = skeleton(&page("Claude Code"));
        assert!(benign.contains(&"bdi".to_owned()) && benign.contains(&"@value".to_owned()), "{benign:?}");
        let vectors = [
            "<script>alert(1)</script>",
            "</title><script>alert(1)</script>",
            "</textarea><script>alert(1)</script>",
            "</style><script>alert(1)</script>",
            "</bdi></h1><script>alert(1)</script>",
            "\"><script>alert(1)</script>",
            "'><script>alert(1)</script>",
            "\" onmouseover=\"alert(1)",
            "' onmouseover='alert(1)",
            "\" autofocus onfocus=alert(1) x=\"",
            "\"\tonclick=alert(1)\t\"",
            "\"\nonclick=alert(1)\n\"",
            "\"/onclick=alert(1)/\"",
            "<img src=x onerror=alert(1)>",
            "<svg onload=alert(1)>",
            "<svg/onload=alert(1)//",
            "<svg><animate onbegin=alert(1) attributeName=x>",
            "<math><mtext></table><img src=x onerror=alert(1)>",
            "<iframe srcdoc='<script>alert(1)</script>'>",
            "<body onload=alert(1)>",
            "<base href=//evil.com/>",
            "<meta http-equiv=refresh content=0;url=//evil.com>",
            "<link rel=stylesheet href=//evil.com/x.css>",
            "<form action=//evil.com><input name=password>",
            "<input type=hidden name=approve value=1>",
            "<!--",
            "-->",
            "<!--><script>alert(1)</script>-->",
            "<![CDATA[<script>alert(1)</script>]]>",
            "<?xml version=\"1.0\"?>",
            "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
            "<template><script>alert(1)</script></template>",
            "javascript:alert(1)",
            "jaVasCript:/*-/*`/*\\`/*'/*\"/**/(/* */oNcliCk=alert() )//%0D%0A%0d%0a//</stYle/</titLe/</teXtarEa/</scRipt/--!>\\x3csVg/<sVg/oNloAd=alert()//>\\x3e",
            "data:text/html;base64,PHNjcmlwdD4=",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "&#60;script&#62;alert(1)&#60;/script&#62;",
            "&#x3c;script&#x3e;",
            "&quot; onclick=alert(1) x=&quot;",
            "&NewLine;javascript&colon;alert(1)",
            "\u{0}<script\u{0}>alert(1)</script>",
            "<scr\u{0}ipt>alert(1)</scr\u{0}ipt>",
            "<\u{ff1c}script\u{ff1e}alert(1)",
            "\u{ff02}\u{ff1e}\u{ff1c}img src=x onerror=alert(1)\u{ff1e}",
            "\u{202e}<script>\u{2066}",
            "\u{85}\u{2028}\u{2029}\"><b>",
            "{{constructor.constructor('alert(1)')()}}",
            "${alert(1)}",
            "<%= 7*7 %>",
            "`onmouseover=alert(1)",
            "\\\"><script>alert(1)</script>",
            "\\u003cscript\\u003ealert(1)",
            "<a href=\"java&#9;script:alert(1)\">x</a>",
            "<details open ontoggle=alert(1)>",
            "<video><source onerror=alert(1)>",
            "<object data=javascript:alert(1)>",
            "<style>@import '//evil.com/x.css';</style>",
            "<plaintext>",
            "<xmp><script>alert(1)</script></xmp>",
            "]]>\"'><&",
        ];
        assert!(vectors.len() >= 60, "{}", vectors.len());
        for vector in vectors {
            assert_eq!(skeleton(&page(vector)), benign, "{vector:?}");
            let mut escaped = Html::new();
            assert!(is_inert_text(escaped.text(vector).as_str()), "{vector:?}");
        }
    }

    #[test]
    fn the_skeleton_check_can_fail() {
        let benign = skeleton("<p title=\"x\">x</p>");
        assert_ne!(skeleton("<p title=\"x\" onclick=\"x\">x</p>"), benign);
        assert_ne!(skeleton("<p title=\"x\"><b>x</b></p>"), benign);
        for raw in ["<", ">", "\"", "'", "&", "&x;", "\n", "&lt"] {
            assert!(!is_inert_text(raw), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn t214_no_text_changes_the_skeleton(stranger: String) {
            prop_assert_eq!(skeleton(&page(&stranger)), skeleton(&page("x")));
            let mut escaped = Html::new();
            prop_assert!(is_inert_text(escaped.text(&stranger).as_str()));
        }
    }
}
