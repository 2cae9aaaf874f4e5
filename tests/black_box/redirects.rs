//! Redirect URIs at the authorization endpoint and at registration: only the same string, but for a loopback port (group B).
//!
//! Rows of the group that have no test here:
//!
//! | row | why |
//! |---|---|
//! | T030, "a stored legacy value" | nothing is stored; the URI in a signed `client_id` is judged at every use, as the domain's tests show |
//! | T034, the consent page's `xn--` host | in `consent.rs` |
//! | T039 | the token endpoint's |

use crate::front::{
    OPERATORS, OPERATORS_LOCAL, OPERATORS_REDIRECT, OPERATORS_TWO, Sent, appended, ask, asked, client_of, front,
    page_400, refused, register,
};
use crate::harness::{Client, Response, Script, World};
use serde_json::json;

const WEB: &str = "https://app.example.com/cb";

/// What the authorization endpoint says to a client of this registered URI that presents that one.
fn presented(registered: &str, presented: &str) -> Response {
    let gate = front();
    let client = client_of(gate, &[registered]);
    ask(&client).set("redirect_uri", presented).get(gate)
}

/// Accepted: the consent page, and a refusal goes exactly there.
#[track_caller]
fn good(registered: &str, uri: &str) {
    asked(&presented(registered, uri), uri);
    let gate = front();
    let ask = ask(&client_of(gate, &[registered])).set("redirect_uri", uri).set("response_type", "token");
    refused(&ask.get(gate), uri, "unsupported_response_type", uri);
}

/// Refused on a page, whatever else is wrong.
#[track_caller]
fn bad(registered: &str, uri: &str) {
    let case = format!("{registered} {uri}");
    page_400(&presented(registered, uri), &case);
    let gate = front();
    let ask = ask(&client_of(gate, &[registered])).set("redirect_uri", uri).set("response_type", "token");
    page_400(&ask.post(gate), &case);
}

/// What registration says to this one among good ones.
#[track_caller]
fn unregistrable(uri: &str) {
    for redirects in [vec![uri], vec!["http://localhost/cb", uri], vec![uri, WEB]] {
        let answer = register(front(), &json!({ "redirect_uris": redirects, "token_endpoint_auth_method": "none" }));
        assert_eq!((answer.status, answer.error()), (400, "invalid_redirect_uri".to_owned()), "{uri:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{uri:?}");
        assert!(uri.len() < 8 || !answer.text().contains(uri), "{uri:?} is reflected");
    }
}

/// R32 (CVE-2023-6291, CVE-2024-1132), R57 (CVE-2026-54072).
#[test]
fn t021_r32_r57_a_beginning_or_an_end_is_not_enough() {
    good(WEB, WEB);
    for uri in [
        "https://app.example.com.evil.com/cb",
        "https://app.example.com/cb/../evil",
        "https://app.example.com/cb/%2e%2e/evil",
        "https://app.example.com/cb/..;/evil",
        "https://app.example.com/x/../cb",
        "https://app.example.com/cb/",
        "https://app.example.com/cb?x",
        "https://app.example.com/cb?",
        "https://app.example.com/cb#",
        "https://app.example.com/cbX",
        "https://app.example.com/c",
        "https://app.example.com",
        "https://app.example.com/%63b",
        "https://app.example.com/%2563b",
        "https://app.example.com./cb",
        "https://evil.com/https://app.example.com/cb",
        "https://evil.com/?https://app.example.com/cb",
        "https://evil.com",
        " https://app.example.com/cb",
        "https://app.example.com/cb ",
        "//app.example.com/cb",
        "/cb",
        "cb",
    ] {
        bad(WEB, uri);
    }
}

/// R32 (CVE-2024-8883).
#[test]
fn t022_r32_cve_2024_8883_a_user_name_is_no_host() {
    for uri in [
        "https://app.example.com@evil.com/cb",
        "https://app.example.com:443@evil.com/",
        "https://app.example.com%40evil.com/cb",
        "https://u@app.example.com/cb",
        "https://u:p@app.example.com/cb",
        "https://@app.example.com/cb",
    ] {
        bad(WEB, uri);
    }
    bad("http://localhost/callback", "http://localhost@evil.com/callback");
    bad("http://localhost/callback", "http://localhost:80@evil.com/callback");
    bad("http://127.0.0.1/callback", "http://x@127.0.0.1:1/callback");
    for uri in [
        "https://app.example.com@evil.com/cb",
        "https://app.example.com:443@evil.com/",
        "http://localhost@evil.com/callback",
        "http://u:p@localhost/callback",
        "cursor://u@anysphere.cursor-mcp/oauth/callback",
    ] {
        unregistrable(uri);
    }
}

#[test]
fn t023_a_fragment_is_never_part_of_it() {
    for uri in ["https://app.example.com/cb#x", "https://app.example.com/cb#", "http://localhost/cb#", "cursor://a/b#c"]
    {
        unregistrable(uri);
    }
    for uri in ["https://app.example.com/cb#x", "https://app.example.com/cb%23x", "https://app.example.com/cb%23"] {
        bad(WEB, uri);
    }
    bad("http://127.0.0.1/cb", "http://127.0.0.1:1/cb#x");
}

#[test]
fn t025_r44_letters_are_compared_as_they_are() {
    for uri in [
        "HTTPS://APP.EXAMPLE.COM/cb",
        "https://APP.example.com/cb",
        "https://app.example.com/CB",
        "Https://app.example.com/cb",
    ] {
        bad(WEB, uri);
    }
    // What was registered in capitals is good in capitals.
    good("https://APP.example.com/Cb", "https://APP.example.com/Cb");
    bad("https://APP.example.com/Cb", "https://app.example.com/Cb");
}

#[test]
fn t026_a_port_is_part_of_the_string() {
    for uri in [
        "https://app.example.com:443/cb",
        "https://app.example.com:/cb",
        "https://app.example.com:0/cb",
        "https://app.example.com:65536/cb",
        "https://app.example.com:00443/cb",
        "https://app.example.com:8443/cb",
        "http://app.example.com/cb",
    ] {
        bad(WEB, uri);
    }
    bad("https://app.example.com:443/cb", WEB);
    good("https://app.example.com:443/cb", "https://app.example.com:443/cb");
    for uri in
        ["https://app:/cb", "https://app:0/cb", "https://app:65536/cb", "https://app:00443/cb", "https://app:x/cb"]
    {
        unregistrable(uri);
    }
}

#[test]
fn t027_t029_i_2_i_3_as_20_on_loopback_the_port_is_free_and_nothing_else() {
    for (registered, uri) in [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1/cb"),
        ("http://[::1]/cb", "http://[::1]:51004/cb"),
        // Claude Code: a name without a port, and a port that is chosen at the time.
        ("http://localhost/callback", "http://localhost:61234/callback"),
        // VS Code: with a slash and nothing else; any port if its own is taken.
        ("http://127.0.0.1/", "http://127.0.0.1:61234/"),
        ("http://127.0.0.1:33418/", "http://127.0.0.1:61234/"),
        ("http://localhost:8787/callback", "http://localhost:1/callback"),
        ("http://127.0.0.1:33418/cb", "http://127.0.0.1/cb"),
        ("http://localhost/cb?a=b", "http://localhost:9/cb?a=b"),
        ("http://127.3.2.1:1/cb", "http://127.3.2.1:2/cb"),
    ] {
        good(registered, uri);
    }
    for (registered, uri) in [
        ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://localhost:51004/cb"),
        ("http://localhost/cb", "http://127.0.0.1:51004/cb"),
        ("http://localhost/cb", "http://[::1]:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://2130706433:51004/cb"),
        ("http://127.0.0.1/cb", "http://0x7f.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb/"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x=1"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/CB"),
        ("http://127.0.0.1/", "http://127.0.0.1:51004"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:051/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:-1/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:+1/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1.evil.com/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1.evil.com:51004/cb"),
        ("http://localhost/cb", "http://LOCALHOST:1/cb"),
        ("http://localhost/cb", "http://localhost.:1/cb"),
        ("http://localhost/cb", "http://localhost.evil.com:1/cb"),
        ("http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]:80/cb"),
        ("http://[::1]/cb", "http://[::ffff:127.0.0.1]:80/cb"),
        ("https://localhost/cb", "https://localhost:1/cb"),
    ] {
        bad(registered, uri);
    }
    for uri in ["http://app.example.com/cb", "http://0.0.0.0/cb", "http://192.168.0.1/cb", "http://[::ffff:7f00:1]/cb"]
    {
        unregistrable(uri);
    }
}

/// R24 (CVE-2026-67333).
#[test]
fn t030_r24_cve_2026_67333_no_scheme_that_runs_or_reads_something() {
    for uri in [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        "JavaScript://app.example.com/%0aalert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "\u{1}javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "data:text/html;base64,PHNjcmlwdD4=",
        "vbscript:msgbox(1)",
        "file:///etc/passwd",
        "blob:https://app.example.com/x",
        "about:blank",
        "ws://localhost/",
        "wss://app.example.com/cb",
        "ftp://localhost/",
        "chrome-extension://abcdefgh/cb",
        "intent://x#Intent;end",
        "view-source:https://app.example.com/cb",
        "ms-msdt:/id",
        "mailto:a@b.example",
        "urn:ietf:wg:oauth:2.0:oob",
    ] {
        unregistrable(uri);
        bad(WEB, uri);
        bad("cursor://anysphere.cursor-mcp/oauth/callback", uri);
    }
}

#[test]
fn t031_i_1_private_use_schemes_are_the_known_ones_as_exact_strings() {
    let cursor = "cursor://anysphere.cursor-mcp/oauth/callback";
    let gate = front();
    let client = client_of(gate, &[cursor]);
    asked(&ask(&client).set("redirect_uri", cursor).get(gate), cursor);
    for uri in [
        "cursor://anysphere.cursor-mcp:99/oauth/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback/",
        "CURSOR://anysphere.cursor-mcp/oauth/callback",
        "cursor://evil/oauth/callback",
        "cursor:/oauth/callback",
        "vscode://anysphere.cursor-mcp/oauth/callback",
    ] {
        bad(cursor, uri);
    }
    for uri in ["com.example.app:/cb", "myapp://cb", "app:/cb", "Cursor://anysphere.cursor-mcp/oauth/callback"] {
        unregistrable(uri);
    }
}

/// R66 (CVE-2026-83589, CVE-2022-23527, CVE-2019-20479, CVE-2019-14857): what browsers make of `/\` and `/\t`.
#[test]
fn t033_r66_cve_2026_83589_cve_2022_23527_nothing_is_repaired() {
    for uri in [
        "https://app\\@evil.com",
        "https://app.example.com\\@evil.com/cb",
        "https://app.example.com\\.evil.com/cb",
        "https:/\\evil.com",
        "https:\\\\app.example.com\\cb",
        "https:app.example.com/cb",
        "https:///app.example.com/cb",
        "https:/app.example.com/cb",
        "/\tevil",
        "/\\evil",
        "//evil",
        "https://app.example.com/cb\t",
        "https://app.example.com/\tcb",
        "https://app .example.com/cb",
        "https://app.example.com/ cb",
        "https://app.example.com/cb\r\nSet-Cookie: x=1",
        "https://app.example.com/cb\r\n\r\n<script>alert(1)</script>",
        "https://app.example.com/cb\n",
        "https://app.example.com/cb\u{b}",
        "ht\ntps://app.example.com/cb",
    ] {
        bad(WEB, uri);
        unregistrable(uri);
    }
}

#[test]
fn t034_r76_only_ascii_is_a_redirect_uri() {
    for uri in [
        "https://\u{430}pp.example.com/cb",
        "https://app\u{3002}example.com/cb",
        "https://app\u{ff0e}example.com/cb",
        "https://stra\u{df}e.example/cb",
        "https://app\u{200d}.example.com/cb",
        "https://%61pp.example.com/cb",
        "https://app%2eexample.com/cb",
        "https://app.example.com%2f.evil.com/cb",
        "https://app.example.com%00.evil.com/cb",
        "https://app.example.com/cb\u{202e}",
        "https://app.example.com/c\u{fc}",
    ] {
        bad(WEB, uri);
        unregistrable(uri);
    }
    bad("https://xn--strae-oqa.example/cb", "https://stra\u{df}e.example/cb");
    good("https://xn--strae-oqa.example/cb", "https://xn--strae-oqa.example/cb");
}

#[test]
fn t035_a_query_is_compared_and_kept_byte_for_byte() {
    let query = "https://a.example/cb?x=1&y=a%26b";
    good(query, query);
    for uri in [
        "https://a.example/cb?x=1",
        "https://a.example/cb?x=1&y=a%26b&z=2",
        "https://a.example/cb?x=1&x=1&y=a%26b",
        "https://a.example/cb?y=a%26b&x=1",
        "https://a.example/cb?x=1&y=a&b",
        "https://a.example/cb?x=1&y=a%26B",
        "https://a.example/cb",
    ] {
        bad(query, uri);
    }
}

/// R33 (CVE-2026-9689): a parameter of the answer that the redirect URI brings along.
#[test]
fn t036_r33_cve_2026_9689_the_answer_s_own_parameters_cannot_be_registered() {
    for query in [
        "code=x",
        "state=",
        "a=1&iss=x",
        "error",
        "%63ode=x",
        "error_description=x",
        "error_uri=x",
        "Code=x",
        "response=x",
    ] {
        unregistrable(&format!("https://app.example.com/cb?{query}"));
        unregistrable(&format!("http://localhost/cb?{query}"));
    }
}

/// R32 (CVE-2026-7504), R52 (CVE-2024-52289): patterns where strings were meant.
#[test]
fn t037_r32_r52_cve_2026_7504_cve_2024_52289_no_character_stands_for_others() {
    for (registered, uri) in [
        ("https://app.example.com/*", "https://app.example.com/x"),
        ("https://app.example.com/*", "https://app.example.com/"),
        ("https://app.example.com/.*", "https://app.example.com/x"),
        ("https://app.example.com/cb", "https://appxexample.com/cb"),
        ("https://app.example.com/cb+", "https://app.example.com/cbb"),
        ("https://app.example.com/(a)", "https://app.example.com/a"),
    ] {
        bad(registered, uri);
        good(registered, registered);
    }
    for uri in ["https://*.example.com/cb", "https://a(b|c).com", "https://[a-z].example.com/cb", "https://*/cb", "*"] {
        unregistrable(uri);
    }
}

#[test]
fn t038_a_redirect_uri_may_be_left_out_only_where_there_is_no_doubt() {
    let gate = front();
    let without = |id: &str| ask(&Client::public(id)).without("redirect_uri");
    asked(&without(OPERATORS).get(gate), "one, of the operator");
    refused(
        &without(OPERATORS).set("response_type", "token").get(gate),
        OPERATORS_REDIRECT,
        "unsupported_response_type",
        "one, of the operator",
    );
    page_400(&without(OPERATORS_TWO).get(gate), "two");
    page_400(&without(OPERATORS_LOCAL).get(gate), "on loopback, where nobody knows the port");
    for redirects in [vec![WEB], vec![WEB, "https://app.example.com/two"], vec!["http://127.0.0.1/cb"]] {
        page_400(&without(&client_of(gate, &redirects).id).get(gate), "registered by itself");
    }
}

#[test]
fn t041_hosts_that_no_reader_agrees_on() {
    for uri in [
        "http://[::1%25lo]/cb",
        "http://[::1%lo]:1/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://[::127.0.0.1]/cb",
        "http://[::1/cb",
        "http://::1]/cb",
        "http://::1/cb",
        "http://[::1]evil/cb",
        "http://[::1].evil.com/cb",
        "http://[]/cb",
        "http://[:::1]/cb",
        "http://[v1.x]/cb",
        "http:///cb",
        "http://:80/cb",
        "https://%61pp.example.com/cb",
        "https://.example.com/cb",
        "https://app..example.com/cb",
    ] {
        bad("http://[::1]/cb", uri);
        unregistrable(uri);
    }
}

/// What was judged is what is used: the code arrives at the very string that was presented.
#[test]
fn p07_a_code_goes_to_the_presented_string_and_nowhere_else() {
    let world = World::start();
    for (registered, uri) in [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
        ("https://app.example.com/cb?x=1&y=a%26b", "https://app.example.com/cb?x=1&y=a%26b"),
        ("https://APP.example.com/%7Ecb", "https://APP.example.com/%7Ecb"),
    ] {
        let client = client_of(&world, &[registered, "https://other.example/cb"]);
        let answer = world.browser().login(&ask(&client).set("redirect_uri", uri), Script::default());
        assert_eq!(answer.status, 302, "{}", answer.text());
        assert!(appended(answer.location(), uri, uri).contains_key("code"), "{uri}");
    }
}
