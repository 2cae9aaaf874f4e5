//! The files of the listener's certificate, looked at again and again: what is new and good is shown, what is broken is told of.

use super::server::{Acceptor, is_for};
use super::{BadTls, OwnCertificate};
use crate::apart::Apart;
use portcullis_domain::hash::sha256_of;
use portcullis_domain::limits::{CERTIFICATE_POLL, CONFIG_FILE_MAX};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Keeps an [`Acceptor`] at what its files hold.
pub struct Renewal {
    acceptor: Acceptor,
    chain: PathBuf,
    key: PathBuf,
    /// The name by which clients come, if they come by one.
    host: Option<String>,
    /// What was found the last time.
    found: Found,
    /// What was shown or told of last.
    judged: Found,
}

/// The state of both files together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// They hold this.
    Pair([u8; 32]),
    /// One of them cannot be read.
    Unreadable(io::ErrorKind),
}

/// What a look at the files has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    /// They are as they were, or are being written.
    Unchanged,
    /// What they hold is shown from now on.
    Exchanged,
    /// They cannot be used, and what was shown before still is.
    Refused(BadTls),
    /// One of them cannot be read, and what was shown before still is.
    Unreadable(io::ErrorKind),
}

impl Renewal {
    /// Of these files, which `own` was read from. `host` is the name by which clients come, if they come by one.
    #[must_use]
    pub fn new(
        acceptor: Acceptor,
        own: OwnCertificate<'_>,
        chain: PathBuf,
        key: PathBuf,
        host: Option<String>,
    ) -> Self {
        let found = digest(own);
        Self { acceptor, chain, key, host, found, judged: found }
    }

    /// Looks at the files for ever.
    pub async fn run(mut self) {
        let threads = Apart::new(1);
        loop {
            tokio::time::sleep(CERTIFICATE_POLL).await;
            let (chain, key) = (self.chain.clone(), self.key.clone());
            // A file system that hangs must hold up nothing but this.
            let read = threads.run(move || Ok((whole(&chain)?, whole(&key)?))).await;
            // There is no thread now, or reading has panicked and said so.
            let Ok(read) = read else { continue };
            let looked = self.look(read);
            self.tell(looked);
        }
    }

    /// Two files are not written in one moment, so that nothing is judged before it was found twice.
    fn look(&mut self, read: io::Result<(Text, Text)>) -> Looked {
        let own = read.as_ref().map(|(chain, key)| OwnCertificate { chain, key });
        let found = match &own {
            Ok(own) => digest(*own),
            Err(error) => Found::Unreadable(error.kind()),
        };
        let is_settled = found == self.found;
        self.found = found;
        if !is_settled || found == self.judged {
            return Looked::Unchanged;
        }
        self.judged = found;
        match own {
            Err(error) => Looked::Unreadable(error.kind()),
            Ok(own) => match self.acceptor.exchange(own) {
                Err(bad) => Looked::Refused(bad),
                Ok(()) => {
                    if let Some(host) = &self.host {
                        warn_unless_for(own.chain, host);
                    }
                    Looked::Exchanged
                }
            },
        }
    }

    fn tell(&self, looked: Looked) {
        let (chain, key) = (self.chain.display(), self.key.display());
        match looked {
            Looked::Unchanged => {}
            Looked::Exchanged => tracing::info!(cert_file = %chain, "the listener has a new certificate"),
            Looked::Refused(bad) => tracing::error!(
                cert_file = %chain, key_file = %key, why = bad.words(),
                "the listener's new certificate cannot be used; the one before is still shown"
            ),
            Looked::Unreadable(why) => tracing::error!(
                cert_file = %chain, key_file = %key, %why,
                "the listener's certificate cannot be read again; the one before is still shown"
            ),
        }
    }
}

/// A gate may stand behind a proxy that knows it by another name, so that this is no error.
pub fn warn_unless_for(chain: &[u8], host: &str) {
    if !is_for(chain, host) {
        tracing::warn!(
            host,
            "the listener's certificate is not for the host of baseUrl: clients that come directly refuse it"
        );
    }
}

type Text = Zeroizing<Vec<u8>>;

fn digest(own: OwnCertificate<'_>) -> Found {
    Found::Pair(sha256_of("listener certificate", &[own.chain, own.key]))
}

fn whole(path: &Path) -> io::Result<Text> {
    let most = u64::try_from(CONFIG_FILE_MAX).unwrap_or(u64::MAX);
    let mut text = Zeroizing::new(Vec::new());
    std::fs::File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    fn file(name: &str) -> Text {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/black_box/certificates");
        whole(&folder.join(name)).unwrap()
    }

    fn pair(chain: &str, key: &str) -> io::Result<(Text, Text)> {
        Ok((file(chain), file(key)))
    }

    #[test]
    fn a_pair_is_shown_once_it_stands_and_a_broken_one_never() {
        let (chain, key) = pair("server.pem", "server-key.pem").unwrap();
        let own = OwnCertificate { chain: &chain, key: &key };
        let acceptor = Acceptor::new(own).unwrap();
        let mut renewal = Renewal::new(acceptor, own, "chain".into(), "key".into(), Some("gate.example".to_owned()));
        let old = || pair("server.pem", "server-key.pem");
        let new = || pair("next.pem", "next-key.pem");
        let half = || pair("next.pem", "server-key.pem");
        let cut = || Ok((Text::new(file("next.pem")[..300].to_vec()), file("next-key.pem")));
        let swapped = || pair("next-key.pem", "next.pem");
        let gone = || Err(io::Error::from(ErrorKind::NotFound));
        for (step, read, looked) in [
            ("as it was", old(), Looked::Unchanged),
            ("as it was", old(), Looked::Unchanged),
            ("half of it is written", half(), Looked::Unchanged),
            ("all of it is written", new(), Looked::Unchanged),
            ("it stands", new(), Looked::Exchanged),
            ("it stands", new(), Looked::Unchanged),
            ("two that do not belong together", half(), Looked::Unchanged),
            ("and stay so", half(), Looked::Refused(BadTls::Mismatch)),
            ("and stay so", half(), Looked::Unchanged),
            ("cut off", cut(), Looked::Unchanged),
            ("cut off", cut(), Looked::Refused(BadTls::CertificateUnreadable)),
            ("the wrong way round", swapped(), Looked::Unchanged),
            ("the wrong way round", swapped(), Looked::Refused(BadTls::CertificateUnreadable)),
            ("gone", gone(), Looked::Unchanged),
            ("gone", gone(), Looked::Unreadable(ErrorKind::NotFound)),
            ("gone", gone(), Looked::Unchanged),
            ("the old one again", old(), Looked::Unchanged),
            ("the old one again", old(), Looked::Exchanged),
        ] {
            assert_eq!(renewal.look(read), looked, "{step}");
        }
    }

    #[test]
    fn a_certificate_says_whom_it_is_for() {
        let chain = file("server.pem");
        for (host, is) in [
            ("gate.example", true),
            ("GATE.example", true),
            ("127.0.0.1", true),
            ("other.example", false),
            ("[::1]", false),
            ("", false),
        ] {
            assert_eq!(is_for(&chain, host), is, "{host}");
        }
        assert!(!is_for(b"no certificate", "gate.example"));
    }
}
