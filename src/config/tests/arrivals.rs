//! Where each key of the configuration arrives: what to change in the rich configuration, where the value must arrive, and as what.

mod clients;
mod gate;
mod provider;
mod resources;
mod servers;

use super::*;

#[test]
fn seed_bug_48_seed_bug_49_every_key_of_the_schema_reaches_the_configuration() {
    let rooms = [gate::arrivals, provider::arrivals, resources::arrivals, clients::arrivals, servers::arrivals];
    let all = || rooms.iter().flat_map(|arrivals| arrivals());
    let before = read(&rich()).unwrap();
    for (key, changes, probe, expected) in all() {
        let after = read(&change(rich(), &changes)).unwrap_or_else(|complaints| panic!("{key}: {complaints}"));
        assert_eq!(probe(&after), expected, "{key}");
        assert!(changes.is_empty() || probe(&before) != expected, "{key} was so already");
    }
    let shown: BTreeSet<_> = all().map(|row| row.0.to_owned()).collect();
    let described: BTreeSet<_> = schema_keys().into_iter().map(|(key, _)| key).collect();
    assert_eq!(shown, described, "left: keys that this test shows, right: keys of the schema");
}
