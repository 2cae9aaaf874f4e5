//! How the pages look, for everybody who looks at them, and samples of them.

use super::*;

#[test]
fn a_page_is_for_everybody() {
    for page in pages("Ada", &gate()) {
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"), "{page}");
        assert!(
            page.contains("width=device-width") && !page.contains("user-scalable") && !page.contains("maximum-scale")
        );
        assert_eq!(
            (page.matches("<h1>").count(), page.matches("<main>").count(), page.matches("<title>").count()),
            (1, 1, 1)
        );
        for button in page.split("<button").skip(1) {
            assert!(!button.split_once('>').unwrap().1.starts_with('<'), "a button has words: {button}");
        }
        assert!(!page.contains("tabindex") && !page.contains("<img"));
    }
    assert!(STYLE.contains("prefers-color-scheme: dark") && STYLE.contains(":focus-visible"));
}

/// WCAG 2.2, success criteria 1.4.3 (text, 4.5 to 1) and 1.4.11 (edges of controls, 3 to 1), for both colour schemes.
#[test]
fn the_colours_are_far_enough_apart() {
    let (light, dark) = STYLE.split_once("@media").unwrap();
    let (dark, _) = dark.split_once("* {").unwrap();
    for (scheme, css) in [("light", light), ("dark", dark)] {
        for (front, back, least) in [
            ("text", "sheet", 7.0),
            ("quiet", "sheet", 4.5),
            ("quiet", "ground", 4.5),
            ("on-strong", "strong", 4.5),
            ("on-caution", "caution", 7.0),
            ("strong", "sheet", 4.5),
            ("edge", "sheet", 3.0),
        ] {
            let (one, other) = (luminance(css, front), luminance(css, back));
            let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
            assert!(contrast >= least, "{scheme}: {front} on {back} is {contrast:.2}");
        }
    }
}

fn luminance(css: &str, name: &str) -> f64 {
    let (_, rest) = css.split_once(&format!("--{name}: #")).unwrap();
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&rest[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
}

/// Writes one page of each kind into the folder that `PORTCULLIS_PAGES` names, for whoever wants to look at them in a browser.
#[test]
#[ignore = "for looking at"]
fn samples() {
    let folder = std::path::PathBuf::from(std::env::var_os("PORTCULLIS_PAGES").unwrap());
    let gate = gate();
    let long =
        "A very long application name that somebody chose in order to push everything else out of sight ".repeat(3);
    let host = "claude.ai.login.secure.session.0123456789abcdef0123456789abcdef0123456789abcdef.evil.example";
    let mut many = claude().scopes;
    many.extend(
        [("repo:write", Some("Change files in your repositories, open and merge pull requests, and delete branches"));
            6],
    );
    let cursor = "cursor://anysphere.cursor-mcp/oauth/callback?code=abc&state=xyz";
    for (name, page) in [
        ("https", write(&claude(), &gate)),
        (
            "loopback",
            write(
                &Shown { kind: Kind::Loopback, place: "127.0.0.1", redirect: "http://127.0.0.1:33418/", ..claude() },
                &gate,
            ),
        ),
        (
            "app",
            write(
                &Shown {
                    kind: Kind::App,
                    known_by: KnownBy::Operator,
                    place: "cursor",
                    app: Some("Cursor"),
                    client: Some("Cursor"),
                    redirect: cursor,
                    resource_name: None,
                    ..claude()
                },
                &gate,
            ),
        ),
        (
            "hostile",
            write(
                &Shown {
                    client: Some(&long),
                    client_id: &"dcr_0aZ".repeat(36),
                    place: host,
                    resource_name: Some("برنامج"),
                    scopes: many,
                    ..claude()
                },
                &gate,
            ),
        ),
        ("expired", error(Fault::FlowExpired, Some("01JD-7F3K"), &gate)),
        ("unknown", error(Fault::ClientUnknown, None, &gate)),
        ("welcome", write_welcome("Ada Lovelace", Some("Cursor"), cursor, &gate)),
        ("denied", write_refusal(Fault::ConsentDenied, Some("Cursor"), cursor, &gate)),
    ] {
        let [_, _, (_, policy), ..] = page.headers();
        let policy =
            format!("<head>\n<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">", policy.to_str().unwrap());
        std::fs::write(folder.join(name).with_extension("html"), page.body().replacen("<head>", &policy, 1)).unwrap();
    }
}
