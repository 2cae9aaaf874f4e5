//! `domain::wire`: readers compared with second readers, and writers with what they wrote.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_domain::limits;
use portcullis_domain::wire::uri::{Host, Uri};
use portcullis_domain::wire::{Repeated, text as text_room};
use portcullis_domain::wire::{basic as basic_room, form as form_room, header, html as html_room, json as json_room};

/// F11: what is taken for a token is a piece of the field, and there is no second one in it.
pub fn authorization(data: &[u8]) {
    let Ok(value) = std::str::from_utf8(data) else { return };
    let Ok((scheme, rest)) = header::credentials(value) else {
        assert!(header::bearer(value).is_err(), "no credentials, no token");
        return;
    };
    assert!(value.starts_with(scheme) && value.ends_with(rest) && !scheme.contains(' '));
    assert!(value[scheme.len()..value.len() - rest.len()].bytes().all(|byte| byte == b' '));
    if let Ok(token) = header::bearer(value) {
        assert!(scheme.eq_ignore_ascii_case("bearer") && token == rest && token.len() <= limits::TOKEN_MAX);
        assert!(!token.contains([' ', ',', '"', ':', ';']));
        assert_eq!(header::bearer(&format!("Bearer {token}")), Ok(token));
    }
}

/// What is read is exactly what would be written.
pub fn base64url(data: &[u8]) {
    if let Ok(bytes) = text_room::from_base64url(data) {
        assert_eq!(text_room::base64url(&bytes).as_bytes(), data);
        assert_eq!(
            text_room::from_base64url_exact::<32>(data).ok().as_ref().map(|b| &b[..]),
            bytes.get(..).filter(|b| b.len() == 32)
        );
    } else {
        assert!(text_room::from_base64url_exact::<32>(data).is_err());
    }
    assert_eq!(text_room::from_base64url(text_room::base64url(data)).as_deref(), Ok(data));
}

/// F11: what is read from Basic credentials can be written and read again, and a second reader finds the same.
pub fn basic(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_basic(text);
    }
    check_basic(&STANDARD.encode(data));
}

fn check_basic(rest: &str) {
    let Ok(found) = basic_room::parse(rest) else { return };
    let pair = STANDARD.decode(rest).expect("accepted, so it is base64");
    assert_eq!(STANDARD.encode(&pair), rest, "one spelling only");
    let colon = pair.iter().position(|byte| *byte == b':').expect("accepted, so there is a colon");
    assert_eq!(second_decoding(&pair[..colon]), found.id);
    assert_eq!(second_decoding(&pair[colon + 1..]), found.secret.expose());
    assert!(!found.id.is_empty() && !found.id.contains(char::is_control));
    assert!(!found.secret.expose().contains(char::is_control));
    let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let again = STANDARD.encode(format!("{}:{}", escaped(&found.id), escaped(found.secret.expose())));
    if let Ok(again) = basic_room::parse(&again) {
        assert!(again.id == found.id && again.secret.same(found.secret.expose()));
    }
}

fn second_decoding(half: &[u8]) -> String {
    // The second reader takes these two for its own, so they are hidden from it. A character may be half escaped, half plain, so
    // what is undecoded need not be UTF-8.
    let hidden: Vec<u8> = half
        .iter()
        .flat_map(|byte| match byte {
            b'&' => b"%26".as_slice(),
            b'=' => b"%3D",
            plain => std::slice::from_ref(plain),
        })
        .copied()
        .collect();
    form_urlencoded::parse(&hidden).map(|(name, _)| name.into_owned()).collect()
}

/// F12: the same answer as ten plain lines give; a name that is there twice is never answered with a value.
pub fn cookies(data: &[u8]) {
    let mut fields = data.split(|byte| *byte == b'\n');
    let Some(name) = fields.next().and_then(|name| std::str::from_utf8(name).ok()) else { return };
    let fields: Vec<&[u8]> = fields.collect();
    let Ok(cookies) = header::Cookies::parse(fields.iter().copied()) else { return };
    let mut values = Vec::new();
    for pair in fields.iter().flat_map(|field| field.split(|byte| *byte == b';')) {
        let pair = pair.trim_ascii();
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        if let (Some(found), Some(value)) = (halves.next(), halves.next())
            && !found.is_empty()
            && found == name.as_bytes()
        {
            values.push(value);
        }
    }
    match (cookies.one(name), values.as_slice()) {
        (Ok(None), found) => assert!(found.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric())),
        (Ok(Some("")), [_]) => {}
        (Ok(Some(value)), [found]) => assert_eq!(value.as_bytes(), *found),
        (Err(Repeated), found) => assert!(found.len() > 1),
        (answer, found) => panic!("{answer:?} for {} cookies", found.len()),
    }
    for found in cookies.names_with_prefix("__Host-pc-") {
        assert!(found.starts_with("__Host-pc-") && cookies.one(found) != Ok(None));
    }
}

/// F01: an accepted form means the same to a second reader; repeated names are reported, never merged.
pub fn form(data: &[u8]) {
    let Ok(form) = form_room::Form::parse(data) else { return };
    let fields: Vec<(&str, &str)> = form.fields().collect();
    let second: Vec<_> = form_urlencoded::parse(data).collect();
    assert!(fields.iter().copied().eq(second.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))));
    assert!(fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= data.len());

    let mut any_repeated = false;
    for (name, _) in &fields {
        let values: Vec<&str> = fields.iter().filter(|(other, _)| other == name).map(|(_, value)| *value).collect();
        match form.one(name) {
            Err(Repeated) => assert!(values.len() > 1),
            Ok(None) => assert_eq!(values, [""]),
            Ok(Some(value)) => assert!(!value.is_empty() && values == [value]),
        }
        any_repeated |= values.len() > 1;
        assert!(form.all(name).eq(values.into_iter().filter(|value| !value.is_empty())));
    }
    assert_eq!(form.repeated_except(&[]).is_some(), any_repeated);

    let written = form_room::encode(fields.iter().copied());
    if written.len() <= limits::OAUTH_BODY_MAX {
        let again = form_room::Form::parse(&written).expect("what is written is read");
        assert!(again.fields().eq(fields.iter().copied()));
    }
}

/// F11: a challenge is a list of quoted strings that a second reader takes apart; an identity value comes back.
pub fn header_values(data: &[u8]) {
    let Ok(value) = std::str::from_utf8(data) else { return };
    let challenge = header::Challenge::new("Bearer").param("error", value).param("scope", "a b").into_string();
    assert!(challenge.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
    let mut rest = challenge.strip_prefix("Bearer error=\"").expect("begins so").chars();
    let mut read = String::new();
    loop {
        match rest.next().expect("the string ends") {
            '"' => break,
            '\\' => read.extend(rest.next()),
            other => read.push(other),
        }
    }
    assert_eq!(rest.as_str(), ", scope=\"a b\"");
    assert!(read.chars().eq(value.chars().filter(|character| matches!(character, ' '..='~'))));

    let written = header::percent_encode_value(value);
    assert!(written.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b',') && written.trim() == written);
    assert_eq!(text_room::percent_decoded(written.as_bytes()).as_deref(), Ok(data));

    for (is, name) in [
        (header::is_form as fn(&str) -> bool, "application/x-www-form-urlencoded"),
        (header::is_json, "application/json"),
    ] {
        assert!(!is(value) || value.to_ascii_lowercase().trim().starts_with(name));
    }
}

/// F22: escaped text cannot end the place where it stands, and reads as what it was.
pub fn html(data: &[u8]) {
    let Ok(stranger) = std::str::from_utf8(data) else { return };
    let mut page = html_room::Html::new();
    page.raw("<p").attribute("title", stranger).raw(">").text(stranger).raw("</p>");
    let page = page.into_string();
    let rest = page.strip_prefix("<p title=\"").expect("begins so");
    let (in_attribute, rest) = rest.split_once("\">").expect("the attribute ends");
    let in_text = rest.strip_suffix("</p>").expect("ends so");
    for escaped in [in_attribute, in_text] {
        assert!(!escaped.contains(['<', '>', '"', '\'']) && !escaped.contains(char::is_control));
        let read = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        let read = read.replace("&#9;", "\t").replace("&#10;", "\n").replace("&amp;", "&");
        let shown = |character: char| match character {
            '\t' | '\n' => character,
            control if control.is_control() => '\u{fffd}',
            other => other,
        };
        assert!(read.chars().eq(stranger.chars().map(shown)));
    }
    if html_room::Target::web(stranger).is_ok() {
        match url::Url::parse(stranger) {
            Ok(second) => assert!(matches!(second.scheme(), "http" | "https") && second.username().is_empty()),
            // As in `uri`: the second reader decodes labels of other scripts, and a browser follows no such link.
            Err(error) => assert!(stranger.to_ascii_lowercase().contains("xn--"), "the second reader refuses: {error}"),
        }
    }
}

/// An accepted document means the same to a second reader, has no name twice, and can be written and read again.
pub fn json(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let quoted = json_room::quote(text);
        assert!(!quoted.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}'));
        assert_eq!(serde_json::from_str::<String>(&quoted).ok().as_deref(), Some(text));
    }
    let Ok(json) = json_room::parse(data, 8192) else { return };
    let second: serde_json::Value = serde_json::from_slice(data).expect("the second reader is no stricter");
    assert!(same_json(&json, &second));
    let again = json_room::parse(json.to_string().as_bytes(), usize::MAX).expect("what is written is read");
    // The library reads a float to within one unit in its last place, so it may come back as its neighbour.
    assert!(again == json || has_float(&json));
    if let Ok(members) = json.members() {
        for (name, value) in members {
            assert_eq!(json.member(name), Some(value));
            assert_eq!(json.optional_text(name).ok(), value.text().ok().map(Some));
            if let Ok(seconds) = value.seconds() {
                // As a float it is below 2^53, where whole numbers are exact.
                let whole = second[name].as_u64() == Some(seconds);
                assert!(whole || second[name].as_f64().is_some_and(|number| number.trunc() == seconds as f64));
            }
        }
        assert_eq!(json.optional_text("\u{0}no such member"), Ok(None));
    }
    let _ = format!("{json:?}");
}

fn has_float(json: &json_room::Json) -> bool {
    use json_room::{Json, Number};
    match json {
        Json::Number(Number::Float(_)) => true,
        Json::List(elements) => elements.iter().any(has_float),
        Json::Object(members) => members.iter().any(|(_, value)| has_float(value)),
        _ => false,
    }
}

fn same_json(one: &json_room::Json, other: &serde_json::Value) -> bool {
    use json_room::{Json, Number};
    match (one, other) {
        (Json::Null, serde_json::Value::Null) => true,
        (Json::Bool(one), serde_json::Value::Bool(other)) => one == other,
        (Json::Number(Number::Unsigned(one)), other) => other.as_u64() == Some(*one),
        (Json::Number(Number::Negative(one)), other) => *one < 0 && other.as_i64() == Some(*one),
        (Json::Number(Number::Float(one)), other) => other.is_f64() && other.as_f64() == Some(*one),
        (Json::Text(one), serde_json::Value::String(other)) => one == other,
        (Json::List(one), serde_json::Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_json(one, other))
        }
        // The second reader merges names, so equal lengths mean that there was nothing to merge.
        (Json::Object(one), serde_json::Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same_json(one, other)))
        }
        _ => false,
    }
}

/// Appending to a redirect keeps every byte of it and adds exactly what was given.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (base, value) = text.split_once('\n').unwrap_or((text, text));
    let Ok(uri) = Uri::parse(base) else { return };
    if uri.fragment().is_some() {
        return;
    }
    let location = form_room::with_query(base, [("state", value), ("iss", "https://as.example.com")]);
    assert!(location.starts_with(base) && location.bytes().all(|byte| byte.is_ascii_graphic()));
    if location.len() > limits::URI_MAX {
        return;
    }
    let again = Uri::parse(&location).expect("still a URI");
    assert_eq!(
        (again.scheme(), again.authority(), again.path(), again.fragment()),
        (uri.scheme(), uri.authority(), uri.path(), None)
    );
    let before: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    let after: Vec<_> = form_urlencoded::parse(again.query().expect("there is one now").as_bytes()).collect();
    assert_eq!(after[..before.len()], before[..]);
    let added: Vec<(&str, &str)> =
        after[before.len()..].iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    assert_eq!(added, [("state", value), ("iss", "https://as.example.com")]);
}

/// Text to show is on one line, of bounded length, without characters that hide or turn others; showing it twice
/// changes nothing; and text for an OAuth error holds only what may stand there.
pub fn text(data: &[u8]) {
    let Ok(stranger) = std::str::from_utf8(data) else { return };
    for max_chars in [0, 1, 16, 64] {
        let shown = text_room::displayable(stranger, max_chars);
        assert!(shown.chars().count() <= max_chars && shown.len() <= stranger.len());
        assert!(!shown.contains(|c: char| c.is_control() || (c.is_whitespace() && c != ' ')));
        assert!(
            !shown
                .contains(|c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'))
        );
        assert!(!shown.contains("  ") && shown.trim() == shown);
        assert_eq!(text_room::displayable(&shown, max_chars), shown);
    }
    let plain = text_room::nqschar_only(stranger);
    assert!(plain.bytes().all(text_room::is_nqschar));
    assert_eq!(plain == stranger, stranger.bytes().all(text_room::is_nqschar));
}

/// F03, F04: the parts are the text; a web URI that is accepted means the same to the URL standard's reader.
pub fn uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(uri) = Uri::parse(text) else { return };
    let mut again = format!("{}:", uri.scheme());
    for (mark, part) in [("//", uri.authority()), ("", Some(uri.path())), ("?", uri.query()), ("#", uri.fragment())] {
        if let Some(part) = part {
            again.push_str(mark);
            again.push_str(part);
        }
    }
    assert_eq!(again, text);
    if let Some(host) = uri.host_text() {
        let user = uri.userinfo().map(|user| format!("{user}@")).unwrap_or_default();
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        assert_eq!(uri.authority(), Some(format!("{user}{host}{port}").as_str()));
    }
    if !uri.is_web() {
        return;
    }
    let host = uri.host().expect("a web URI has a host");
    let second = match url::Url::parse(text) {
        Ok(second) => second,
        // The second reader also judges what a label of another script decodes to; here hosts are shown undecoded.
        Err(error) => {
            let encoded = uri.host_text().is_some_and(|host| host.to_ascii_lowercase().contains("xn--"));
            assert!(encoded, "the second reader refuses: {error}");
            return;
        }
    };
    assert_eq!(second.scheme(), uri.scheme().to_ascii_lowercase());
    match (host, second.host()) {
        (Host::Name(one), Some(url::Host::Domain(other))) => assert_eq!(one.to_ascii_lowercase(), other),
        (Host::V4(one), Some(url::Host::Ipv4(other))) => assert_eq!(one, other),
        (Host::V6(one), Some(url::Host::Ipv6(other))) => assert_eq!(one, other),
        (one, other) => panic!("{one:?} is not {other:?}"),
    }
    assert_eq!(uri.effective_port(), second.port_or_known_default());
    assert_eq!(uri.origin(), Some(second.origin().ascii_serialization()));
    assert_eq!(uri.query(), second.query());
    assert_eq!(uri.fragment(), second.fragment());
    if uri.userinfo().is_none() {
        assert!(second.username().is_empty() && second.password().is_none());
    }
    if uri.has_dot_segments() {
        return;
    }
    // An empty path and `/` are one and the same to the second reader.
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    assert_eq!(path, second.path());
}
