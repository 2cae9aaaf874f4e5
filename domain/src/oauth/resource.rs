//! Protected resources, how a request names them and which path belongs to which: RFC 8707, RFC 9728.

use crate::hash;
use crate::limits::{RESOURCE_MAX, RESOURCE_PATH_MAX, RESOURCE_PATHS_MAX, RESOURCES_MAX};
use crate::oauth::fault::Fault;
use crate::oauth::scope::Scopes;
use crate::wire::text;
use crate::wire::uri::Uri;

/// A resource as grants and tokens remember it: 16 bytes of SHA-256 over its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceHash(pub [u8; 16]);

impl ResourceHash {
    /// Of the resource's identifier, exactly as the configuration makes it.
    #[must_use]
    pub fn of(identifier: &str) -> Self {
        Self(hash::first(&hash::sha256(identifier.as_bytes())))
    }
}

/// A scope, and what it means in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceScope {
    /// The scope token.
    pub name: String,
    /// What the consent page says of it.
    pub description: Option<String>,
}

/// Why something is no resource, or a list of resources is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceRefused {
    /// The base URL is not one.
    BaseUrl,
    /// No path.
    NoPath,
    /// More than [`RESOURCE_PATHS_MAX`] paths, or one longer than [`RESOURCE_PATH_MAX`].
    TooLong,
    /// A path does not begin with a slash, ends in one, or has a part that readers understand differently.
    Path,
    /// No resource.
    Empty,
    /// More than [`RESOURCES_MAX`] resources.
    TooMany,
    /// Two resources want the same path.
    Repeated,
}

/// One protected resource: paths of this host that share their grants.
#[derive(Debug, Clone)]
pub struct Resource {
    identifier: String,
    hash: ResourceHash,
    origin: String,
    paths: Vec<String>,
    subtree: bool,
    scopes: Vec<ResourceScope>,
    scope_set: Scopes,
    name: Option<String>,
    wants_id_token: bool,
}

impl Resource {
    /// The resource at these paths of the base URL's host. The first path makes its identifier; the base URL's own path does not
    /// belong to it. `subtree` takes in everything below each path.
    ///
    /// # Errors
    /// [`ResourceRefused`].
    pub fn new(
        base_url: &str,
        paths: Vec<String>,
        subtree: bool,
        scopes: Vec<ResourceScope>,
        name: Option<String>,
    ) -> Result<Self, ResourceRefused> {
        let base = Uri::parse(base_url).ok().filter(Uri::is_web).ok_or(ResourceRefused::BaseUrl)?;
        let origin = base.origin().ok_or(ResourceRefused::BaseUrl)?;
        if paths.len() > RESOURCE_PATHS_MAX || paths.iter().any(|path| path.len() > RESOURCE_PATH_MAX) {
            return Err(ResourceRefused::TooLong);
        }
        let plain = |path: &String| path == "/" || (path.starts_with('/') && !path.ends_with('/') && is_plain(path));
        // What stands in a URL unchanged is what the reader of URLs gives back.
        let whole = |path: &String| Uri::parse(&[&origin, path.as_str()].concat()).is_ok_and(|uri| uri.path() == path);
        if !paths.iter().all(|path| plain(path) && whole(path)) {
            return Err(ResourceRefused::Path);
        }
        let scope_set = Scopes::of(scopes.iter().map(|scope| scope.name.as_str()));
        let identifier = url(&origin, paths.first().ok_or(ResourceRefused::NoPath)?);
        let (hash, wants_id_token) = (ResourceHash::of(&identifier), false);
        Ok(Self { hash, identifier, origin, paths, subtree, scopes, scope_set, name, wants_id_token })
    }

    /// The same; its server is shown the person's ID token, so a login that gives none any more is over for it.
    #[must_use]
    pub fn wanting_id_tokens(self) -> Self {
        Self { wants_id_token: true, ..self }
    }

    /// Whether its server is shown the person's ID token.
    #[must_use]
    pub const fn wants_id_token(&self) -> bool {
        self.wants_id_token
    }

    /// Its URL, without a trailing slash: the `resource` of its metadata and the audience of its tokens.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// As grants and tokens remember it.
    #[must_use]
    pub const fn hash(&self) -> ResourceHash {
        self.hash
    }

    /// Its paths; the first is the identifier's.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The URL of one of its paths, as a client would type it.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        url(&self.origin, path)
    }

    /// What can be granted for it, in the operator's order.
    #[must_use]
    pub fn scopes(&self) -> &[ResourceScope] {
        &self.scopes
    }

    /// The same as a set: what a request to the resource needs.
    #[must_use]
    pub const fn scope_set(&self) -> &Scopes {
        &self.scope_set
    }

    /// What a person calls it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The `resource_metadata` of a challenge to a request for this path (RFC 9728 section 5.1): the document of the path itself
    /// where there is one, so that its `resource` is what the client typed; else that of the first path.
    #[must_use]
    pub fn metadata_url(&self, path: &str) -> String {
        let own = self.paths.iter().find(|own| *own == path).or(self.paths.first());
        let own = own.map(String::as_str).filter(|own| *own != "/").unwrap_or_default();
        [&self.origin, PROTECTED_RESOURCE, own].concat()
    }

    /// Whether this path of a request, as it stands in the request line and without a query, belongs to the resource.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|own| own == path || (self.subtree && is_below(own, path)))
    }
}

/// Where the metadata of resources begins (RFC 9728 section 3).
pub const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// All protected resources: at least one, and no path twice.
#[derive(Debug, Clone)]
pub struct Resources(Vec<Resource>);

impl Resources {
    /// Takes them together.
    ///
    /// # Errors
    /// [`ResourceRefused`].
    pub fn new(resources: Vec<Resource>) -> Result<Self, ResourceRefused> {
        if resources.is_empty() {
            return Err(ResourceRefused::Empty);
        }
        if resources.len() > RESOURCES_MAX {
            return Err(ResourceRefused::TooMany);
        }
        let mut paths: Vec<&String> = resources.iter().flat_map(|resource| &resource.paths).collect();
        let all = paths.len();
        paths.sort_unstable();
        paths.dedup();
        if paths.len() != all {
            return Err(ResourceRefused::Repeated);
        }
        Ok(Self(resources))
    }

    /// In the operator's order.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.0.iter()
    }

    /// Whether the server of any of them is shown ID tokens.
    #[must_use]
    pub fn want_id_tokens(&self) -> bool {
        self.0.iter().any(Resource::wants_id_token)
    }

    /// What a request means that names no resource, if that is clear: the only one, else the one at `/`.
    #[must_use]
    pub fn fallback(&self) -> Option<&Resource> {
        match self.0.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|resource| resource.paths.iter().any(|path| path == "/")),
        }
    }

    /// What a request means by all values of its `resource` parameter (RFC 8707 section 2): a path of this host with or without
    /// a trailing slash. The query does not count, because it does not in the metadata either.
    ///
    /// # Errors
    /// [`Fault::TooLong`], [`Fault::ResourceUnknown`] or [`Fault::ResourceSeveral`].
    pub fn choose<'a>(&self, requested: impl IntoIterator<Item = &'a str>) -> Result<&Resource, Fault> {
        let mut chosen: Option<&Resource> = None;
        for value in requested {
            let resource = self.meant(value)?;
            if chosen.is_some_and(|earlier| earlier.hash != resource.hash) {
                return Err(Fault::ResourceSeveral);
            }
            chosen = Some(resource);
        }
        chosen.or_else(|| self.fallback()).ok_or(Fault::ResourceUnknown)
    }

    /// The resource that a path of a request belongs to: by exact path first, else by the longest subtree.
    #[must_use]
    pub fn by_path(&self, path: &str) -> Option<&Resource> {
        let owner = |path: &str| self.0.iter().find(|resource| resource.paths.iter().any(|own| own == path));
        // With a slash at the end it may still be that resource to a server: it must not count as part of another one around it.
        if path.strip_suffix('/').and_then(owner).is_some_and(|resource| !resource.subtree) {
            return None;
        }
        owner(path).or_else(|| {
            let depth =
                |resource: &Resource| resource.paths.iter().filter(|own| is_below(own, path)).map(String::len).max();
            self.0
                .iter()
                .filter(|resource| resource.subtree)
                .filter_map(|it| Some((depth(it)?, it)))
                .max_by_key(|it| it.0)
                .map(|it| it.1)
        })
    }

    /// The resource that a grant or a token remembers.
    #[must_use]
    pub fn by_hash(&self, hash: ResourceHash) -> Option<&Resource> {
        self.0.iter().find(|resource| resource.hash == hash)
    }

    fn meant(&self, value: &str) -> Result<&Resource, Fault> {
        if value.len() > RESOURCE_MAX {
            return Err(Fault::TooLong("resource"));
        }
        let uri = Uri::parse(value).map_err(|_| Fault::ResourceUnknown)?;
        if uri.fragment().is_some() || uri.userinfo().is_some() {
            return Err(Fault::ResourceUnknown);
        }
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        let trimmed = path.strip_suffix('/').filter(|trimmed| !trimmed.is_empty() && !trimmed.ends_with('/'));
        let resource = self.by_path(trimmed.unwrap_or(path)).ok_or(Fault::ResourceUnknown)?;
        let here = uri.is_web() && uri.origin().is_some_and(|origin| origin == resource.origin);
        if here { Ok(resource) } else { Err(Fault::ResourceUnknown) }
    }
}

fn url(origin: &str, path: &str) -> String {
    [origin, if path == "/" { "" } else { path }].concat()
}

/// Whether `path` lies below `own` at a segment boundary, and every reader agrees that it does.
fn is_below(own: &str, path: &str) -> bool {
    let own = own.strip_suffix('/').unwrap_or(own);
    path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')) && is_plain(path)
}

/// Whether no reader finds another path in this one: only the characters of a path (RFC 3986 section 3.3), no empty segment, no dot
/// segment, no parameters, and nothing escaped that could stand there as it is or that would end a segment. A second way to write a
/// path would be a way around the resource that it belongs to.
fn is_plain(path: &str) -> bool {
    let needless = |byte: &u8| text::is_unreserved(*byte) || matches!(byte, b'/' | b'\\' | b';' | 0..=0x1f | 0x7f);
    path.bytes().all(|byte| is_path_character(byte) && byte != b';')
        && text::escapes_are_sound(path.as_bytes())
        && !path.contains("//")
        && !path.split('/').any(|segment| segment == "." || segment == "..")
        && !escaped(path).any(|byte| needless(&byte))
}

/// What the escapes of a path stand for.
fn escaped(path: &str) -> impl Iterator<Item = u8> {
    let codes = path.split('%').skip(1).filter_map(|rest| rest.get(..2));
    codes.filter_map(|code| u8::from_str_radix(code, 16).ok())
}

const fn is_path_character(byte: u8) -> bool {
    text::is_unreserved(byte)
        || matches!(byte, b'%' | b'/' | b':' | b'@')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(paths: &[&str], subtree: bool) -> Resource {
        let scopes = vec![ResourceScope { name: "mcp".into(), description: None }];
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Resource::new("https://gate.example", paths, subtree, scopes, None).unwrap()
    }

    #[test]
    fn t142_no_second_way_to_write_a_path_leads_to_the_resource_around_it() {
        let nested =
            |subtree| Resources::new(vec![resource(&["/mcp"], true), resource(&["/mcp/admin"], subtree)]).unwrap();
        let at = |resources: &Resources, path: &str| resources.by_path(path).map(|it| it.identifier().to_owned());
        let (outer, inner) = ("https://gate.example/mcp", "https://gate.example/mcp/admin");
        for subtree in [false, true] {
            let resources = nested(subtree);
            for path in [
                "/mcp/%61dmin",
                "/mcp/%61dmin/x",
                "/mcp/admin;v=1",
                "/mcp/admin%3Bv",
                "/mcp/admin%2Fx",
                "/mcp/x/%2e%2e/admin",
            ] {
                assert_eq!(at(&resources, path), None, "{path}");
            }
            assert_eq!(at(&resources, "/mcp/other").as_deref(), Some(outer));
            assert_eq!(at(&resources, "/mcp/admin").as_deref(), Some(inner));
            assert_eq!(at(&resources, "/mcp/admin/").as_deref(), subtree.then_some(inner));
        }
    }

    fn chosen(resources: &Resources, requested: &[&str]) -> Result<String, Fault> {
        resources.choose(requested.iter().copied()).map(|resource| resource.identifier().to_owned())
    }

    const A: &str = "https://gate.example/a";
    const MCP: &str = "https://gate.example/mcp";

    #[test]
    fn t139_i_12_an_absent_resource_is_the_only_one_or_the_one_at_the_root() {
        let one = Resources::new(vec![resource(&["/mcp"], false)]).unwrap();
        assert_eq!(chosen(&one, &[]), Ok(MCP.into()));
        let two = Resources::new(vec![resource(&["/a"], false), resource(&["/b"], false)]).unwrap();
        assert_eq!(chosen(&two, &[]), Err(Fault::ResourceUnknown));
        let rooted = Resources::new(vec![resource(&["/a"], false), resource(&["/"], false)]).unwrap();
        assert_eq!(chosen(&rooted, &[]), Ok("https://gate.example".into()));
    }

    #[test]
    fn t141_as_23_i_8_i_14_one_resource_by_any_spelling_that_clients_use() {
        let resources = Resources::new(vec![
            resource(&["/a"], false),
            resource(&["/mcp", "/sse"], false),
            resource(&["/"], false),
            resource(&["/tree"], true),
        ])
        .unwrap();
        for (requested, identifier) in [
            ("https://gate.example/a", A),
            ("https://gate.example/a/", A),
            ("HTTPS://GATE.EXAMPLE/a", A),
            ("https://gate.example:443/a", A),
            ("https://gate.example/a?tenant=1", A),
            ("https://gate.example/sse", MCP),
            ("https://gate.example", "https://gate.example"),
            ("https://gate.example/", "https://gate.example"),
            ("https://gate.example?x", "https://gate.example"),
            ("https://gate.example/tree/x/y", "https://gate.example/tree"),
        ] {
            assert_eq!(chosen(&resources, &[requested]), Ok(identifier.into()), "{requested}");
        }
        for requested in [
            "https://gate.example/A",
            "https://gate.example/a//",
            "https://gate.example/b",
            "https://gate.example/a/b",
            "https://gate.example//",
            "https://gate.example/a#x",
            "https://u@gate.example/a",
            "http://gate.example/a",
            "https://gate.example:8443/a",
            "https://gate.example.evil.com/a",
            "https://evil.com/a",
            "https://gate.example/tree/../a",
            "/a",
            "a",
            "urn:a",
            "https://gate.example/\u{e4}",
        ] {
            assert_eq!(chosen(&resources, &[requested]), Err(Fault::ResourceUnknown), "{requested}");
        }
        let long = format!("{A}?{}", "x".repeat(RESOURCE_MAX));
        assert_eq!(chosen(&resources, &[&long]), Err(Fault::TooLong("resource")));
        assert_eq!(chosen(&resources, &[A, "https://gate.example/a/"]), Ok(A.into()));
        assert_eq!(chosen(&resources, &[A, MCP]), Err(Fault::ResourceSeveral));
        assert_eq!(chosen(&resources, &[A, "https://evil.com/"]), Err(Fault::ResourceUnknown));
    }

    #[test]
    fn t019_paths_belong_exactly_or_below_at_a_segment() {
        let resources = Resources::new(vec![
            resource(&["/mcp", "/sse"], false),
            resource(&["/t"], true),
            resource(&["/t/u"], true),
        ])
        .unwrap();
        let found = |path: &str| resources.by_path(path).map(|resource| resource.paths()[0].clone());
        for (path, own) in [
            ("/mcp", "/mcp"),
            ("/sse", "/mcp"),
            ("/t", "/t"),
            ("/t/", "/t"),
            ("/t/x/y", "/t"),
            ("/t/u", "/t/u"),
            ("/t/u/v", "/t/u"),
            ("/t/ux", "/t"),
        ] {
            assert_eq!(found(path).as_deref(), Some(own), "{path}");
        }
        for path in [
            "/",
            "/t/a%2Fb",
            "/t/u/a;b",
            "/mcp/",
            "/MCP",
            "/mcp;x=1",
            "/%6dcp",
            "//mcp",
            "/./mcp",
            "/mcp%2f..",
            "/mcpx",
            "/tx",
            "/t/../mcp",
            "/t/%2e%2e/mcp",
            "/t/.%2E/mcp",
            "/t//x",
            "/t/..;/mcp",
            "/t/a%2f..%2fb",
            "/t/a%5c..%5cb",
            "/t/a\\..\\b",
            "/t/%00",
            "/t/%zz",
            "/t/a b",
            "/t/%2e%2e#%2f",
            "/t/..?x",
            "/t/\u{e4}",
            "",
            "t",
        ] {
            assert_eq!(found(path), None, "{path:?}");
        }
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for (path, refused) in [
            ("mcp", ResourceRefused::Path),
            ("/mcp/", ResourceRefused::Path),
            ("//", ResourceRefused::Path),
            ("/a//b", ResourceRefused::Path),
            ("/a/../b", ResourceRefused::Path),
            ("/a?b", ResourceRefused::Path),
            ("/a#b", ResourceRefused::Path),
            ("/a b", ResourceRefused::Path),
            ("", ResourceRefused::Path),
        ] {
            let made = Resource::new("https://gate.example", vec![path.into()], false, vec![], None);
            assert_eq!(made.err(), Some(refused), "{path}");
        }
        let of = |paths: Vec<String>| Resource::new("https://gate.example", paths, false, vec![], None).err();
        assert_eq!(of(vec![]), Some(ResourceRefused::NoPath));
        assert_eq!(of(vec![format!("/{}", "a".repeat(RESOURCE_PATH_MAX))]), Some(ResourceRefused::TooLong));
        assert_eq!(Resource::new("gate", vec!["/a".into()], false, vec![], None).err(), Some(ResourceRefused::BaseUrl));
        assert_eq!(Resources::new(vec![]).err(), Some(ResourceRefused::Empty));
        let twice = vec![resource(&["/a", "/b"], false), resource(&["/b"], false)];
        assert_eq!(Resources::new(twice).err(), Some(ResourceRefused::Repeated));
    }

    #[test]
    fn a_base_url_s_path_is_not_the_resource_s() {
        let made = Resource::new("http://LocalHost:8080/gw", vec!["/mcp".into()], false, vec![], None).unwrap();
        assert_eq!(made.identifier(), "http://localhost:8080/mcp");
        assert_eq!(made.metadata_url("/mcp"), "http://localhost:8080/.well-known/oauth-protected-resource/mcp");
        let root = resource(&["/", "/x"], true);
        assert_eq!(root.metadata_url("/"), "https://gate.example/.well-known/oauth-protected-resource");
        assert_eq!(root.metadata_url("/x"), "https://gate.example/.well-known/oauth-protected-resource/x");
        assert_eq!(root.metadata_url("/other"), "https://gate.example/.well-known/oauth-protected-resource");
    }
}
