//! Secrets in the configuration: written there, found in the environment, or read from a file beside it.

use super::complaint::{Wrong, wrong};
use super::keys::{FilePath, Keys, Text};
use portcullis_domain::limits::SECRET_VALUE_MAX;
use portcullis_domain::secret::SecretText;
use portcullis_domain::wire::header::token68;
use serde_json::{Value as Json, json};

/// What a secret is kept as.
pub(super) trait FromSecret: Sized {
    /// Its value, or what is wrong with it.
    fn from_secret(text: SecretText) -> Result<Self, Wrong>;
}

impl FromSecret for SecretText {
    fn from_secret(text: SecretText) -> Result<Self, Wrong> {
        Ok(text)
    }
}

/// A secret that others send as a bearer token.
#[derive(Clone, Debug)]
pub struct BearerSecret(pub SecretText);

impl FromSecret for BearerSecret {
    fn from_secret(text: SecretText) -> Result<Self, Wrong> {
        const UNSENDABLE: Wrong = wrong("cannot be sent as a bearer token", "use letters, digits and -._~+/ only");
        token68(text.expose()).map_err(|_| UNSENDABLE)?;
        Ok(Self(text))
    }
}

impl Keys<'_> {
    /// A secret of at least `least` bytes that may be left out, given by value or by file.
    pub(super) fn optional_secret<S: FromSecret>(
        &mut self,
        names: &'static [&'static str; 2],
        least: usize,
        meaning: &str,
    ) -> Option<Option<S>> {
        self.choice(names, false);
        self.secret_rows(names, least, meaning)
    }

    /// A secret that must be there, by value or by file.
    pub(super) fn secret<S: FromSecret>(
        &mut self,
        names: &'static [&'static str; 2],
        least: usize,
        meaning: &str,
    ) -> Option<S> {
        self.choice(names, true);
        self.secret_rows(names, least, meaning)?
    }

    #[inline(never)]
    fn secret_rows<S: FromSecret>(
        &mut self,
        names: &'static [&'static str; 2],
        least: usize,
        meaning: &str,
    ) -> Option<Option<S>> {
        let [inline, file] = *names;
        let given = self.optional::<SecretValue>(inline, meaning);
        let beside = self.optional::<FilePath>(file, &format!("A file that holds `{inline}`, read at start, trimmed."));
        let (given, beside) = (given?, beside?);
        let (text, name) = match (given, beside) {
            (Some(_), Some(_)) => return None,
            (None, None) => return Some(None),
            (Some(SecretValue(text)), None) => (text, inline),
            (None, Some(FilePath(path))) => {
                let at = self.place()?.key(file);
                let text = at.file(&path)?;
                (at.take(secret_text(text.expose().trim()))?, file)
            }
        };
        if text.expose().len() < least {
            self.place()?.key(name).complain(
                "holds a secret that is short enough to guess",
                format!("use a random one of at least {least} characters, such as `portcullis keygen` prints"),
            );
            return None;
        }
        let at = self.place()?.key(name);
        at.take(S::from_secret(text)).map(Some)
    }
}

/// A secret as it is written in the file or found in the environment.
struct SecretValue(SecretText);

impl Text for SecretValue {
    fn shape() -> Json {
        json!({ "writeOnly": true })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        secret_text(text).map(Self)
    }
}

/// What holds for every secret, wherever it comes from (RFC 6749 appendix A.2: visible ASCII and space).
fn secret_text(text: &str) -> Result<SecretText, Wrong> {
    if text.is_empty() {
        return Err(wrong("holds nothing", "put the secret there"));
    }
    if text.len() > SECRET_VALUE_MAX {
        return Err(wrong("holds a secret that is too long", "use one of at most 512 bytes"));
    }
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(wrong("holds a secret with line breaks or other than plain ASCII", "use one line of plain ASCII"));
    }
    Ok(SecretText::new(text.to_owned()))
}
