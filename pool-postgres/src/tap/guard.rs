//! Sees to it that a server asks who one is only as it may, that what binds a login to its channel is not left out in silence, and that no more is announced than there is to say.

use std::io;

use super::headers::{Headers, Kept, kept};
use crate::config::{AuthMethod, RequireAuth};

/// Whether a login is bound to its channel if the server offers that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It is, or it is not to be.
    Settled,
    /// It cannot be.
    Unknown,
    /// There is no channel.
    Plain,
}

/// The server offers to bind the login to its channel, and that is not possible. libpq gives up, too: somebody in between may be the reason.
#[derive(Debug, thiserror::Error)]
enum Unbound {
    #[error(
        "the server offers channel binding (SCRAM-SHA-256-PLUS), and its certificate is not known or has no hash for that, as those that are signed by Ed25519; channel_binding=disable goes without it"
    )]
    Unknown,
    #[error("the server offers channel binding (SCRAM-SHA-256-PLUS), and the connection is not encrypted")]
    Plain,
}

/// Until the server has let the client in.
#[derive(Debug)]
pub(super) struct Guard {
    /// `None`: in any way.
    allowed: Option<RequireAuth>,
    binding: Binding,
    headers: Headers,
    /// Whether the server has asked for anything.
    was_asked: bool,
    is_in: bool,
}

/// The answer to a request that the server does not make: it lets the client in.
const IN: u32 = 0;

/// How long a message may be before the server has let the client in: memory is set aside for what is announced. As libpq's limit for errors, which are the longest.
const LONGEST: u64 = 30_000;

/// The server asks for SASL, and by which mechanisms that may be.
const SASL: u32 = 10;

/// So much of a request is looked at: its kind, and the names of mechanisms.
const LOOKED_AT: u16 = 512;

static KEPT: Kept = kept(&[(b'R', LOOKED_AT)]);

impl Guard {
    pub(super) fn new(allowed: Option<RequireAuth>, binding: Binding) -> Self {
        let headers = Headers::looking_into(&KEPT);
        Self { allowed, binding, headers, was_asked: false, is_in: false }
    }

    /// Whether the server has let the client in, and there is nothing to look at any more.
    pub(super) fn is_done(&self) -> bool {
        self.is_in
    }

    /// Looks at what has been received, before the client does.
    pub(super) fn look(&mut self, received: &[u8]) -> io::Result<()> {
        let mut requests = Vec::new();
        self.headers.scan(received, |kind, body| {
            if let (b'R', Some((code, rest))) = (kind, body.split_first_chunk()) {
                requests.push((u32::from_be_bytes(*code), rest.to_vec()));
            }
        });
        for (code, rest) in requests {
            if self.is_in {
                break;
            }
            self.hear(code)?;
            if code == SASL {
                self.choose(&rest)?;
            }
        }
        if self.is_in || self.headers.outstanding() <= LONGEST {
            return Ok(());
        }
        let problem = format!("the server announces {} bytes before it has let anybody in", self.headers.outstanding());
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }

    /// By which of the mechanisms that the server offers, with a zero after each. `OAUTHBEARER` is one, as of PostgreSQL 18.
    fn choose(&self, offered: &[u8]) -> io::Result<()> {
        let names: Vec<_> = offered.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        if !names.is_empty() && !names.iter().any(|name| name.starts_with(b"SCRAM-SHA-256")) {
            let names = names.join(&b", "[..]);
            let problem = format!("the server asks for {} to log in, which is not supported", names.escape_ascii());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        if names.contains(&&b"SCRAM-SHA-256-PLUS"[..]) { self.bind() } else { Ok(()) }
    }

    /// The server offers to bind the login to its channel.
    fn bind(&self) -> io::Result<()> {
        let problem = match self.binding {
            Binding::Settled => return Ok(()),
            Binding::Unknown => Unbound::Unknown,
            Binding::Plain => Unbound::Plain,
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }

    fn hear(&mut self, code: u32) -> io::Result<()> {
        self.is_in = code == IN;
        // Parts of what has been asked for before, or its end.
        if matches!(code, IN | 11 | 12) && self.was_asked {
            return Ok(());
        }
        self.was_asked = true;
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let (method, name) = match code {
            IN => (Some(AuthMethod::None), "nothing"),
            3 => (Some(AuthMethod::Password), "the password in plain text"),
            5 => (Some(AuthMethod::Md5), "MD5"),
            SASL => (Some(AuthMethod::ScramSha256), "SASL"),
            _ => (None, "something else"),
        };
        if method.is_some_and(|method| allowed.allows(method)) {
            return Ok(());
        }
        let problem = format!("the server asks for {name} to log in, and require_auth is {allowed}");
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(code: u32) -> Vec<u8> {
        let mut message = vec![b'R', 0, 0, 0, 8];
        message.extend(code.to_be_bytes());
        message
    }

    /// Whether requests pass that come in pieces of one byte.
    fn passes(allowed: &str, codes: &[u32]) -> bool {
        let mut guard = Guard::new(Some(allowed.parse().unwrap()), Binding::Settled);
        let bytes: Vec<_> = codes.iter().flat_map(|code| request(*code)).collect();
        bytes.chunks(1).all(|piece| guard.look(piece).is_ok())
    }

    #[test]
    fn a_server_announces_no_more_than_it_has_to_say() {
        let announced = |length: u32| {
            let mut message = vec![b'E'];
            message.extend(length.to_be_bytes());
            let mut guard = Guard::new(None, Binding::Settled);
            let whole = guard.look(&message).is_ok();
            let mut guard = Guard::new(None, Binding::Settled);
            message.push(b'S');
            assert_eq!(message.chunks(1).all(|piece| guard.look(piece).is_ok()), whole, "in pieces");
            whole
        };
        assert!(announced(4) && announced(30_000));
        assert!(!announced(30_001) && !announced(u32::MAX));
        let mut guard = Guard::new(None, Binding::Settled);
        let mut bytes = request(IN);
        bytes.extend([b'S', 0, 1, 0, 0]);
        assert!(guard.look(&bytes).is_ok() && guard.is_done(), "whoever lets one in may say what he likes");
    }

    #[test]
    fn a_server_asks_as_it_may() {
        assert!(passes("scram-sha-256", &[10, 11, 12, 0]));
        assert!(!passes("scram-sha-256", &[0]), "it lets anybody in");
        assert!(passes("none", &[0]) && passes("scram-sha-256,none", &[0]));
        assert!(!passes("scram-sha-256", &[3]) && !passes("!password", &[3]) && passes("password", &[3, 0]));
        assert!(passes("md5", &[5, 0]) && !passes("!md5", &[5]));
        assert!(!passes("none", &[12]) && !passes("md5", &[7]), "nobody speaks GSSAPI here");
        assert!(passes("!password", &[10, 11, 12, 0, 3]), "what comes later is none of it");
    }
    #[test]
    fn an_offer_to_bind_is_not_passed_over_in_silence() {
        let offer = |names: &[u8]| {
            let length = u32::try_from(names.len() + 8).unwrap();
            [b"R", &length.to_be_bytes()[..], &SASL.to_be_bytes(), names].concat()
        };
        for (names, is_offered) in [
            (&b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"[..], true),
            (b"SCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0\0", true),
            (b"SCRAM-SHA-256\0\0", false),
            (b"SCRAM-SHA-256\0NOT-SCRAM-SHA-256-PLUS\0\0", false),
        ] {
            for (binding, is_fine) in [(Binding::Settled, true), (Binding::Unknown, false), (Binding::Plain, false)] {
                let mut guard = Guard::new(None, binding);
                let passes = offer(names).chunks(1).all(|piece| guard.look(piece).is_ok());
                assert_eq!(passes, is_fine || !is_offered, "{binding:?}");
            }
        }
        let mut guard = Guard::new(None, Binding::Unknown);
        assert!(guard.look(&request(IN)).is_ok());
        assert!(guard.look(&offer(b"SCRAM-SHA-256-PLUS\0\0")).is_ok(), "what comes later is none of it");
    }
}
