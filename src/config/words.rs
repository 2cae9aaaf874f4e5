//! Values of which there are only a few, each a word.

use super::complaint::wrong;

/// An enum whose variants are words of the configuration.
macro_rules! words {
    ($(#[$about:meta])* $seen:vis enum $name:ident { $($(#[$say:meta])* $variant:ident = $word:literal,)* } else $otherwise:expr) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $seen enum $name { $($(#[$say])* $variant,)* }

        impl $crate::config::keys::Text for $name {
            fn shape() -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }

            fn parse(text: &str) -> Result<Self, $crate::config::complaint::Wrong> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($otherwise),
                }
            }
        }
    };
}

pub(super) use words;

words! {
    /// How log lines are written.
    pub enum LogFormat {
        /// One JSON object a line.
        Json = "json",
        /// Text for people.
        Text = "text",
    } else wrong("is not a log format", r#"write "json" or "text""#)
}

words! {
    /// The least weight that is logged.
    pub enum LogLevel {
        /// What needs a person.
        Error = "error",
        /// What may need one.
        Warn = "warn",
        /// What happened.
        Info = "info",
        /// How it happened.
        Debug = "debug",
        /// Every step.
        Trace = "trace",
    } else wrong("is not a log level", r#"write "error", "warn", "info", "debug" or "trace""#)
}

words! {
    /// How a client proves who it is at the token endpoint (RFC 7591 section 2).
    pub enum ClientAuthentication {
        /// It does not: a public client.
        None = "none",
        /// HTTP Basic (RFC 6749 section 2.3.1).
        Basic = "client_secret_basic",
        /// In the form.
        Post = "client_secret_post",
        /// By an assertion that it signs (RFC 7523).
        PrivateKeyJwt = "private_key_jwt",
    } else wrong(
        "is not a way to authenticate that this version has",
        r#"write "none", "client_secret_basic", "client_secret_post" or "private_key_jwt""#,
    )
}

words! {
    /// Where sessions are kept.
    pub enum StorageType {
        /// In this process; a restart forgets them.
        Memory = "memory",
        /// On Valkey or Redis, for any number of replicas.
        Valkey = "valkey",
    } else wrong("names a storage that this version does not have", r#"write "memory" or "valkey""#)
}

words! {
    /// What of GitHub counts as a person's groups.
    pub enum GitHubGroups {
        /// Nothing.
        None = "none",
        /// Their organizations.
        Organizations = "organizations",
        /// These and their teams.
        Teams = "teams",
    } else wrong("is nothing that GitHub has groups by", r#"write "none", "organizations" or "teams""#)
}

words! {
    /// How the identity provider is spoken to.
    pub enum ProviderType {
        /// OpenID Connect by the book.
        Oidc = "oidc",
        /// Dex, with a block of its own.
        Dex = "dex",
        /// Google, with a block of its own.
        Google = "google",
        /// GitHub, with a block of its own.
        GitHub = "github",
        /// Keycloak.
        Keycloak = "keycloak",
        /// Entra ID.
        Entra = "entra",
        /// Okta.
        Okta = "okta",
        /// Auth0.
        Auth0 = "auth0",
    } else wrong(
        "names a provider that this version does not have",
        r#"write "oidc", "dex", "google", "github", "keycloak", "entra", "okta" or "auth0""#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::Text;
    use crate::config::values::tests::said;

    #[test]
    fn words_are_matched_exactly() {
        assert_eq!(LogLevel::parse("info"), Ok(LogLevel::Info));
        assert_eq!(said::<LogLevel>("INFO"), "is not a log level");
        for text in ["gitlab", "GitHub", "OIDC", ""] {
            assert_eq!(said::<ProviderType>(text), "names a provider that this version does not have");
        }
    }
}
