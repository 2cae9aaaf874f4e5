//! A provider that takes what it is sent and never answers, over the whole gate (T201, T250).

use super::harness::{Client, Response, Returned, Script, Tokens, World, eventually};
use super::people::as_provider;
use super::process::Elsewhere;
use super::two::{login, session_of};
use serde_json::json;
use std::time::Duration;

/// Calls that wait for the provider at a time (docs/operations.md).
const WAITING_MAX: usize = 64;

/// Longer than anybody waits for it.
fn silent() -> Script {
    Script { delay: Duration::from_secs(600), ..Script::default() }
}

/// A session whose tokens of the provider live for so many seconds.
fn session(world: &World, client: &Client, seconds: u64) -> Tokens {
    session_of(world, client, |ask| ask, Script { members: json!({ "expires_in": seconds }), ..Script::default() })
}

/// The client hears that it may come again.
#[track_caller]
fn sent_away(answer: &Response) {
    let returned = Returned::of(answer);
    assert_eq!((returned.error(), returned.param("code")), ("temporarily_unavailable", None));
}

#[test]
fn t201_t250_a_provider_that_hangs_holds_up_so_many_is_left_alone_and_found_again() {
    let Elsewhere { world, process } = Elsewhere::start("", |config| as_provider(config, "dex", &json!({})));
    let client = world.public_client("A client");
    let (kept, stale) = (session(&world, &client, 3_000), session_of_another(&world, &client));
    std::thread::sleep(Duration::from_millis(1_100));
    world.provider.refreshes(|script| *script = silent());
    let calls = |outcome: &str| world.counted(&format!("portcullis_provider_calls_total{{outcome=\"{outcome}\"}}"));
    let waiting = || world.counted("portcullis_provider_calls_waiting");
    let asked = || world.provider.seen("/token").len();
    let before = asked();
    let all = u64::try_from(WAITING_MAX).unwrap();
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..WAITING_MAX).map(|_| scope.spawn(|| login(&world, &client, silent()))).collect();
        eventually("as many wait as may", || waiting() == all && asked() == before + WAITING_MAX);
        // One more is told at once: nobody of those who wait has been answered yet.
        sent_away(&login(&world, &client, Script::default()));
        let answer = world.refresh(&client, &stale.refresh);
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{}", answer.text());
        assert!(world.admits(&kept.access), "who needs no provider is not held up");
        assert!(calls("crowded") >= 2);
        assert_eq!((waiting(), calls("unanswered"), asked()), (all, 0, before + WAITING_MAX));
        assert!(!held.iter().any(std::thread::ScopedJoinHandle::is_finished));
        for login in held {
            sent_away(&login.join().unwrap());
        }
    });
    assert_eq!((waiting(), calls("unanswered")), (0, all));
    assert_eq!(world.counted("portcullis_provider_left_alone"), 1);
    // It would answer now, and is not asked before its time: everybody is told at once.
    let mut told = 0;
    eventually("somebody gets through", || {
        let returned = Returned::of(&login(&world, &client, Script::default()));
        if returned.param("code").is_none() {
            assert_eq!(returned.error(), "temporarily_unavailable");
            told += 1;
        }
        returned.param("code").is_some()
    });
    assert!(told > 0);
    assert_eq!((calls("left_alone"), asked()), (told, before + WAITING_MAX + 1), "one call has found out");
    assert_eq!(world.counted("portcullis_provider_left_alone"), 0);
    world.provider.refreshes(|_| {});
    assert!(world.admits(&Tokens::of(&world.refresh(&client, &stale.refresh)).access), "nobody was logged out");
    for words in ["is left alone for a while", "answers again"] {
        assert_eq!(process.log().matches(words).count(), 1, "{words}");
    }
}

/// A session whose client has to come back for tokens that only the provider can give.
fn session_of_another(world: &World, client: &Client) -> Tokens {
    let script = Script { members: json!({ "expires_in": 1 }), ..Script::person("bob") };
    session_of(world, client, |ask| ask, script)
}
