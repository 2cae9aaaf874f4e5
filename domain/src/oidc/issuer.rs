//! Who the identity provider is: one issuer, or one for each of the tenants that it has.
//!
//! A provider for many organizations, such as Entra ID, has one discovery document for all of them. Its `issuer` is a template,
//! `https://login.microsoftonline.com/{tenantid}/v2.0`, and each token names the issuer of its own tenant, with the tenant in the
//! claim `tid`. OpenID Connect Discovery section 4.3 wants one issuer, byte for byte; so does this room, of each tenant: the tenant is
//! put into the template, and what comes out is compared. A person is the real issuer and the subject, never the template.

use crate::jose::claims::Claims;
use crate::wire::json::Json;

/// What stands for the tenant in a template.
pub const TENANT: &str = "{tenantid}";

/// Names of tenants that stand for many: at their addresses there are logins and documents, and no token ever names them.
const MANY: [&str; 2] = ["organizations", "common"];

/// Who may have issued a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// This one, byte for byte.
    One(String),
    /// That of one of these tenants.
    OfTenants(Tenants),
}

/// The tenants of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    /// Where the document of all of them is, as the configuration names it.
    home: String,
    /// The issuer that the document names, on both sides of [`TENANT`].
    template: (String, String),
    /// Whose people are let in; without any list, those of every tenant there is.
    allowed: Option<Vec<String>>,
}

impl Issuer {
    /// The tenants at this address, of which exactly one part of the path is `organizations` or `common`.
    #[must_use]
    pub fn of_tenants(home: &str, allowed: Option<Vec<String>>) -> Option<Self> {
        let mut cuts = MANY.iter().filter_map(|many| home.split_once(&format!("/{many}/")));
        let (before, after) = cuts.next().filter(|_| cuts.next().is_none())?;
        if MANY.iter().any(|many| after.split('/').any(|part| part == *many)) {
            return None;
        }
        let template = (format!("{before}/"), format!("/{after}"));
        Some(Self::OfTenants(Tenants { home: home.to_owned(), template, allowed }))
    }

    /// The address that the configuration names, from which that of the document follows.
    #[must_use]
    pub fn home(&self) -> &str {
        match self {
            Self::One(issuer) => issuer,
            Self::OfTenants(tenants) => &tenants.home,
        }
    }

    /// The only issuer, if there is only one.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::One(issuer) => Some(issuer),
            Self::OfTenants(_) => None,
        }
    }

    /// What the discovery document has to call itself, byte for byte.
    #[must_use]
    pub fn in_document(&self) -> String {
        match self {
            Self::One(issuer) => issuer.clone(),
            Self::OfTenants(tenants) => tenants.named(TENANT),
        }
    }

    /// Whether this is an issuer whose tokens may come.
    #[must_use]
    pub fn includes(&self, issuer: &str) -> bool {
        match self {
            Self::One(own) => own == issuer,
            Self::OfTenants(tenants) => {
                let (before, after) = &tenants.template;
                let tenant = issuer.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
                tenant.is_some_and(|tenant| tenants.allows(tenant))
            }
        }
    }

    /// The issuer of a token whose signature was good, if it is one whose tokens may come, and the key that signed may sign for it.
    ///
    /// Of tenants: `tid` is one of them, `iss` is exactly the issuer of that one, and the key's own `issuer` is that too, or the template.
    /// A key that does not say for whom it signs is nobody's.
    #[must_use]
    pub fn of_token(&self, claims: &Claims, key_issuer: Option<&str>) -> Option<String> {
        let named = claims.issuer.as_deref()?;
        match self {
            Self::One(own) => (own == named).then(|| own.clone()),
            Self::OfTenants(tenants) => {
                let Some(Json::Text(tenant)) = claims.other("tid") else { return None };
                let issuer = tenants.named(tenant);
                let signs = key_issuer.is_some_and(|key| key == issuer || key == tenants.named(TENANT));
                (tenants.allows(tenant) && named == issuer && signs).then_some(issuer)
            }
        }
    }
}

impl From<String> for Issuer {
    fn from(issuer: String) -> Self {
        Self::One(issuer)
    }
}

impl From<&str> for Issuer {
    fn from(issuer: &str) -> Self {
        Self::One(issuer.to_owned())
    }
}

impl Tenants {
    fn named(&self, tenant: &str) -> String {
        let (before, after) = &self.template;
        [before, tenant, after].concat()
    }

    fn allows(&self, tenant: &str) -> bool {
        match &self.allowed {
            Some(allowed) => allowed.iter().any(|one| one == tenant),
            None => is_tenant(tenant),
        }
    }
}

/// Whether this is the identifier of a tenant as tokens have it: a UUID in lower case (RFC 9562 section 4).
#[must_use]
pub fn is_tenant(text: &str) -> bool {
    let group = |(part, length): (&str, usize)| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    text.split('-').count() == 5 && text.split('-').zip([8, 4, 4, 4, 12]).all(group)
}

/// Whether an issuer is that of many tenants and of none.
#[must_use]
pub fn is_of_many(issuer: &str) -> bool {
    issuer.split('/').skip(3).any(|part| MANY.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "11111111-2222-3333-4444-555555555555";
    const OTHERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const TEMPLATE: &str = "https://login.example/{tenantid}/v2.0";

    fn of(allowed: Option<&[&str]>) -> Issuer {
        let allowed = allowed.map(|list| list.iter().map(|&tenant| tenant.to_owned()).collect());
        Issuer::of_tenants("https://login.example/organizations/v2.0", allowed).unwrap()
    }

    fn issuer(tenant: &str) -> String {
        format!("https://login.example/{tenant}/v2.0")
    }

    fn token(issuer: &str, tenant: &str) -> Claims {
        Claims::read(format!(r#"{{"iss":"{issuer}","tid":{tenant}}}"#).as_bytes()).unwrap()
    }

    fn quoted(tenant: &str) -> String {
        format!("\"{tenant}\"")
    }

    #[test]
    fn a_template_follows_from_the_address_of_all() {
        for home in ["https://login.example/organizations/v2.0", "https://login.example/common/v2.0"] {
            let issuer = Issuer::of_tenants(home, None).unwrap();
            assert_eq!((issuer.home(), issuer.in_document().as_str(), issuer.only()), (home, TEMPLATE, None));
        }
        for home in [
            "https://login.example/consumers/v2.0",
            "https://login.example/11111111-2222-3333-4444-555555555555/v2.0",
            "https://login.example/organizations",
            "https://login.example/common/organizations/v2.0",
            "https://login.example/common/common/v2.0",
            "https://common.example/v2.0",
        ] {
            assert_eq!(Issuer::of_tenants(home, None), None, "{home}");
        }
        assert!(is_of_many("https://login.example/organizations") && !is_of_many("https://common/v2.0"));
    }

    #[test]
    fn t189_a_token_names_the_issuer_of_its_own_tenant_by_a_key_of_that_issuer() {
        let only = of(Some(&[OURS]));
        let good = issuer(OURS);
        for key in [good.as_str(), TEMPLATE] {
            assert_eq!(only.of_token(&token(&good, &quoted(OURS)), Some(key)), Some(good.clone()), "{key}");
        }
        for (what, named, tenant, key) in [
            ("no tid", good.as_str(), "null".to_owned(), Some(TEMPLATE)),
            ("a tid that is no text", &good, format!("[\"{OURS}\"]"), Some(TEMPLATE)),
            ("a tid of another tenant", &good, quoted(OTHERS), Some(TEMPLATE)),
            ("another tenant's issuer", &issuer(OTHERS), quoted(OURS), Some(TEMPLATE)),
            ("another tenant", &issuer(OTHERS), quoted(OTHERS), Some(TEMPLATE)),
            ("another tenant's key", &good, quoted(OURS), Some(&issuer(OTHERS))),
            ("a key of nobody", &good, quoted(OURS), None),
            ("a key of another template", &good, quoted(OURS), Some("https://login.example/{tenantid}/")),
            ("the template itself", TEMPLATE, quoted(TENANT), Some(TEMPLATE)),
            ("no issuer's host", "https://evil.example/x/v2.0", quoted(OURS), Some(TEMPLATE)),
            ("a slash more", &format!("{good}/"), quoted(OURS), Some(TEMPLATE)),
            ("capitals", &good.to_uppercase(), quoted(OURS), Some(TEMPLATE)),
        ] {
            assert_eq!(only.of_token(&token(named, &tenant), key), None, "{what}");
        }
        assert_eq!(only.of_token(&Claims::read(b"{}").unwrap(), Some(TEMPLATE)), None);
    }

    #[test]
    fn t189_without_a_list_a_tenant_is_still_a_tenant() {
        let any = of(None);
        assert_eq!(any.of_token(&token(&issuer(OTHERS), &quoted(OTHERS)), Some(TEMPLATE)), Some(issuer(OTHERS)));
        for tenant in
            ["", "organizations", "common", "x/../y", TENANT, "11111111-2222-3333-4444-55555555555A", "1-2-3-4-5"]
        {
            assert_eq!(any.of_token(&token(&issuer(tenant), &quoted(tenant)), Some(TEMPLATE)), None, "{tenant}");
            assert!(!any.includes(&issuer(tenant)), "{tenant}");
        }
    }

    #[test]
    fn what_may_come_is_told_from_the_text() {
        let only = of(Some(&[OURS]));
        assert!(only.includes(&issuer(OURS)));
        for other in [issuer(OTHERS), TEMPLATE.to_owned(), only.home().to_owned(), format!("{}x", issuer(OURS))] {
            assert!(!only.includes(&other), "{other}");
        }
        assert!(of(None).includes(&issuer(OTHERS)));
        let one = Issuer::from("https://id.example");
        assert!(one.includes("https://id.example") && !one.includes("https://id.example/"));
    }

    #[test]
    fn one_issuer_is_one_whatever_tid_and_keys_say() {
        let one = Issuer::from("https://id.example");
        for key in [None, Some("https://id.example"), Some("https://other.example")] {
            assert_eq!(
                one.of_token(&token("https://id.example", &quoted(OTHERS)), key).as_deref(),
                Some("https://id.example")
            );
        }
        assert_eq!(one.of_token(&token("https://id.example/", &quoted(OTHERS)), None), None);
    }
}
