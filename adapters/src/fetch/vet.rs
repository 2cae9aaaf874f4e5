//! What a name resolved to, judged as a whole: addresses that may be dialled, or a refusal.

use std::net::{IpAddr, SocketAddr};

use portcullis_domain::limits::FETCH_ADDRESSES_MAX;

use super::Refusal;
use super::address::special_use;

/// How far a call may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses only: the host was named by a stranger.
    Public,
    /// Any address: the configuration names this host.
    Anywhere,
}

/// Addresses that have been judged, at least one, none of them twice. Only [`vet`] makes it, and dialling takes nothing
/// else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vetted(Vec<SocketAddr>);

impl Vetted {
    /// The addresses, in the order in which the resolver gave them.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Judges all answers of one resolution. One that may not be dialled refuses the whole set: an honest public name has
/// no private half, and a set that mixes both is a rebinding attempt.
///
/// `own` are addresses at which this gateway itself is reached; strangers must not make it call itself.
///
/// # Errors
/// [`Refusal::NoAddress`], [`Refusal::TooManyAddresses`], [`Refusal::SpecialUse`], [`Refusal::Own`].
pub fn vet(answers: &[IpAddr], port: u16, reach: Reach, own: &[IpAddr]) -> Result<Vetted, Refusal> {
    if answers.is_empty() {
        return Err(Refusal::NoAddress);
    }
    if answers.len() > FETCH_ADDRESSES_MAX {
        return Err(Refusal::TooManyAddresses);
    }
    if reach == Reach::Public {
        if answers.iter().any(|answer| special_use(*answer).is_some()) {
            return Err(Refusal::SpecialUse);
        }
        if answers.iter().any(|answer| own.contains(answer)) {
            return Err(Refusal::Own);
        }
    }
    let mut vetted = Vec::with_capacity(answers.len());
    for answer in answers {
        let address = SocketAddr::new(*answer, port);
        if !vetted.contains(&address) {
            vetted.push(address);
        }
    }
    Ok(Vetted(vetted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn t125_one_special_use_member_refuses_the_whole_set() {
        for answers in [
            &["127.0.0.1"][..],
            &["1.1.1.1", "10.0.0.1"],
            &["10.0.0.1", "1.1.1.1"],
            &["1.1.1.1", "8.8.8.8", "fd00::1"],
            &["2606:4700::1111", "::ffff:127.0.0.1"],
            &["1.1.1.1", "64:ff9b::a00:1"],
        ] {
            assert_eq!(vet(&ips(answers), 443, Reach::Public, &[]), Err(Refusal::SpecialUse), "{answers:?}");
        }
    }

    #[test]
    fn t125_public_answers_keep_their_order_and_lose_their_doubles() {
        let vetted = vet(&ips(&["8.8.8.8", "2606:4700::1111", "8.8.8.8", "1.1.1.1"]), 443, Reach::Public, &[]).unwrap();
        let expected = ["8.8.8.8:443", "[2606:4700::1111]:443", "1.1.1.1:443"].map(|text| text.parse().unwrap());
        assert_eq!(vetted.addresses(), expected);
    }

    #[test]
    fn t125_none_and_too_many_are_refused_wherever_the_call_may_reach() {
        let many =
            |count: u32| (0..count).map(|n| IpAddr::from([8, 8, 8, u8::try_from(n).unwrap()])).collect::<Vec<_>>();
        for reach in [Reach::Public, Reach::Anywhere] {
            assert_eq!(vet(&[], 443, reach, &[]), Err(Refusal::NoAddress));
            assert_eq!(vet(&many(101), 443, reach, &[]), Err(Refusal::TooManyAddresses));
            assert_eq!(vet(&many(100), 443, reach, &[]).map(|v| v.addresses().len()), Ok(100));
        }
    }

    #[test]
    fn p08_a_named_host_may_be_private() {
        let vetted = vet(&ips(&["10.1.2.3", "::1"]), 5556, Reach::Anywhere, &ips(&["10.1.2.3"])).unwrap();
        assert_eq!(vetted.addresses(), ["10.1.2.3:5556", "[::1]:5556"].map(|text| text.parse().unwrap()));
    }

    #[test]
    fn t131_own_addresses_are_refused() {
        let own = ips(&["93.184.215.14"]);
        assert_eq!(vet(&ips(&["1.1.1.1", "93.184.215.14"]), 443, Reach::Public, &own), Err(Refusal::Own));
        assert!(vet(&ips(&["1.1.1.1", "93.184.215.15"]), 443, Reach::Public, &own).is_ok());
    }
}
