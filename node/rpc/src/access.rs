//! Who may talk to a listener over HTTP: the host filter and the origin rule.
//!
//! A web page that the operator visits can make the browser connect to `127.0.0.1`. Two rules stop
//! it: a plain listener answers only requests whose `Host` is a loopback name (a rebound DNS name
//! is not), and a request that carries an `Origin` is answered only when the origin is allowed
//! (WebSocket handshakes are not covered by the browser's own CORS checks).

use http::{HeaderMap, HeaderValue, header};

/// Which web pages may use a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every page: for development chains.
    Any,
    /// These origins (`https://wallet.example`), compared exactly; programs send no origin and pass.
    Only(Vec<String>),
}

impl Origins {
    /// Reads the configuration's list; `*` allows every page.
    #[must_use]
    pub fn from_list(list: &[String]) -> Self {
        if list.iter().any(|origin| origin == "*") { Self::Any } else { Self::Only(list.to_vec()) }
    }

    /// Whether a request with these headers may be answered.
    fn allow(&self, headers: &HeaderMap) -> bool {
        match (self, headers.get(header::ORIGIN)) {
            (Self::Any, _) | (_, None) => true,
            (Self::Only(list), Some(origin)) => list.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()),
        }
    }
}

/// Why a request is refused before JSON-RPC sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The `Host` is no loopback name.
    Host,
    /// The `Origin` is not allowed.
    Origin,
}

impl Refusal {
    /// The sentence that the client reads.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Host => "Host header refused: this listener answers localhost only\n",
            Self::Origin => "Origin refused: add it to rpc.origins to allow this web page\n",
        }
    }
}

/// Checks a request's headers. `loopback_only` is set on plain listeners.
pub(crate) fn check(
    headers: &HeaderMap,
    uri: &http::Uri,
    loopback_only: bool,
    origins: &Origins,
) -> Result<(), Refusal> {
    if loopback_only {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).or_else(|| uri.host());
        if !host.is_some_and(is_loopback_host) {
            return Err(Refusal::Host);
        }
    }
    if origins.allow(headers) { Ok(()) } else { Err(Refusal::Origin) }
}

/// Whether a `Host` header names this machine, with or without a port.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Adds the headers that let an allowed page read the answer.
pub(crate) fn add_cors(headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
    let Some(origin) = origin else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: Option<&str>, origin: Option<&str>) -> HeaderMap {
        let mut map = HeaderMap::new();
        if let Some(host) = host {
            map.insert(header::HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            map.insert(header::ORIGIN, origin.parse().unwrap());
        }
        map
    }

    fn verdict(
        host: Option<&str>,
        origin: Option<&str>,
        loopback_only: bool,
        origins: &Origins,
    ) -> Result<(), Refusal> {
        check(&headers(host, origin), &http::Uri::from_static("/"), loopback_only, origins)
    }

    #[test]
    fn a_rebound_name_is_refused_on_the_plain_listener() {
        let none = Origins::Only(Vec::new());
        for good in ["localhost", "LOCALHOST:9944", "127.0.0.1:9944", "127.9.9.9", "[::1]:9944"] {
            assert_eq!(verdict(Some(good), None, true, &none), Ok(()), "{good}");
        }
        for bad in [
            "attacker.example",
            "attacker.example:9944",
            "127.0.0.1.attacker.example",
            "10.0.0.1",
            "[fe80::1]:9944",
            "",
        ] {
            assert_eq!(verdict(Some(bad), None, true, &none), Err(Refusal::Host), "{bad}");
        }
        assert_eq!(verdict(None, None, true, &none), Err(Refusal::Host));
        assert_eq!(verdict(Some("node.example"), None, false, &none), Ok(()), "TLS listeners have names");
    }

    #[test]
    fn web_pages_need_an_allowed_origin() {
        let some = Origins::from_list(&["https://wallet.example".to_owned()]);
        let host = Some("localhost");
        assert_eq!(verdict(host, Some("https://wallet.example"), true, &some), Ok(()));
        assert_eq!(verdict(host, Some("https://wallet.example.evil"), true, &some), Err(Refusal::Origin));
        assert_eq!(verdict(host, Some("null"), true, &some), Err(Refusal::Origin));
        assert_eq!(verdict(host, None, true, &some), Ok(()), "programs send no origin");
        assert_eq!(verdict(host, Some("https://any.example"), true, &Origins::from_list(&["*".to_owned()])), Ok(()));
    }
}
