//! For how long an answer may be taken as it is: RFC 9111 sections 4.2 and 5.2.2, within bounds.
//!
//! A host that says nothing, or that nothing is to be kept, is taken at the bounds: a document is asked for at most every
//! half minute, or anybody could have its host asked as often as they like.

use crate::fetch::Answer;
use portcullis_domain::limits::{DOCUMENT_FRESH, DOCUMENT_FRESH_MAX, DOCUMENT_FRESH_MIN};
use std::time::Duration;

/// How long this answer is fresh from now on.
pub(super) fn of(answer: &Answer) -> Duration {
    let age = answer.age.as_deref().and_then(seconds).unwrap_or_default();
    let said = said(answer).map(|life| life.saturating_sub(age));
    said.map_or(DOCUMENT_FRESH, |life| Duration::from_secs(life).clamp(DOCUMENT_FRESH_MIN, DOCUMENT_FRESH_MAX))
}

/// The lifetime in seconds, if the host names one. `s-maxage` comes before `max-age`, and that before `Expires`; one that
/// cannot be read is none at all (section 4.2.1).
fn said(answer: &Answer) -> Option<u64> {
    let directives: Vec<(&str, &str)> = answer
        .cache_control
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .map(|directive| directive.split_once('=').unwrap_or((directive, "")))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .collect();
    let find = |wanted: &str| directives.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if find("no-store").or(find("no-cache")).is_some() {
        return Some(0);
    }
    if let Some((_, value)) = find("s-maxage").or(find("max-age")) {
        return Some(seconds(value).unwrap_or_default());
    }
    let expires = answer.expires.as_deref()?;
    let begins = answer.date.as_deref().and_then(moment);
    Some(moment(expires).zip(begins).map_or(0, |(ends, begins)| ends.saturating_sub(begins)))
}

/// delta-seconds: too many are a great many (section 1.2.2).
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Seconds from the year 0 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7); of other forms, which nobody sends, none.
/// Only differences of them mean anything.
fn moment(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    let [_weekday, day, month, year, hour, minute, second, "GMT"] = parts.as_slice() else { return None };
    let place = MONTHS.iter().position(|name| name == month)?;
    let year = seconds(year).filter(|year| (1..=9_999).contains(year))?;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: u64 = lengths.iter().take(place).sum();
    let last = year.saturating_sub(1);
    let leaps = (last / 4).saturating_sub(last / 100).saturating_add(last / 400);
    let days =
        last.saturating_mul(365).saturating_add(leaps).saturating_add(before).saturating_add(seconds(day)?.min(31));
    let of_day = [hour, minute, second]
        .into_iter()
        .try_fold(0_u64, |sum, part| Some(sum.saturating_mul(60).saturating_add(seconds(part)?.min(60))))?;
    Some(days.saturating_mul(86_400).saturating_add(of_day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cache_control: &str, expires: &str, age: &str) -> Answer {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Answer {
            status: 200,
            content_type: None,
            cache_control: some(cache_control),
            age: some(age),
            date: some("Sun, 28 Feb 2027 23:59:00 GMT"),
            expires: some(expires),
            retry_after: None,
            body: Vec::new(),
        }
    }

    #[test]
    fn t117_what_the_host_says_holds_within_bounds() {
        let (least, most) = (DOCUMENT_FRESH_MIN.as_secs(), DOCUMENT_FRESH_MAX.as_secs());
        for (cache_control, expires, age, fresh) in [
            ("", "", "", DOCUMENT_FRESH.as_secs()),
            ("public", "", "", DOCUMENT_FRESH.as_secs()),
            ("max-age=600", "", "", 600),
            ("public, Max-Age=\"600\"", "", "100", 500),
            ("max-age=600, s-maxage=900", "", "", 900),
            ("max-age=600, no-cache", "", "", least),
            ("no-store", "", "", least),
            ("no-store, max-age=600", "", "", least),
            ("max-age=0", "", "", least),
            ("max-age=-1", "", "", least),
            ("max-age=abc", "", "", least),
            ("max-age=", "", "", least),
            ("max-age=600", "", "99999999999999999999999", least),
            ("max-age=1000000000000", "", "", most),
            ("max-age=99999999999999999999999", "", "", most),
            ("", "Mon, 01 Mar 2027 00:01:00 GMT", "", 120),
            ("", "Mon, 01 Mar 2027 00:01:00 GMT", "60", 60),
            ("max-age=600", "Mon, 01 Mar 2027 00:01:00 GMT", "", 600),
            ("", "Sun, 28 Feb 2027 23:58:00 GMT", "", least),
            ("", "0", "", least),
            ("", "-1", "", least),
            ("", "Mon, 01 Mar 9999 00:01:00 GMT", "", most),
            ("", "Mon, 01 Foo 2028 00:01:00 GMT", "", least),
        ] {
            let found = of(&answer(cache_control, expires, age)).as_secs();
            assert_eq!(found, fresh, "{cache_control:?} {expires:?} {age:?}");
        }
    }

    #[test]
    fn dates_count_leap_years() {
        let day = |text: &str| moment(&format!("Xxx, {text} 00:00:00 GMT")).unwrap() / 86_400;
        assert_eq!(day("01 Mar 2027") - day("28 Feb 2027"), 1);
        assert_eq!(day("01 Mar 2028") - day("28 Feb 2028"), 2);
        assert_eq!(day("01 Mar 2100") - day("28 Feb 2100"), 1);
        assert_eq!(day("01 Jan 2001") - day("01 Jan 2000"), 366);
        assert_eq!(day("06 Nov 1994") - day("01 Jan 1970"), 9_075);
    }
}
