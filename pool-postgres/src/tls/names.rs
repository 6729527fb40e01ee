//! Whether a certificate is for a server, by the rules of libpq, which are not those of rustls.

use std::net::{Ipv4Addr, Ipv6Addr};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::certificate::{self, Certificate};

/// Whether a server is called so in its certificate: by an alternative name, or by the first common name if none of those is of the same kind as this one.
///
/// # Errors
///
/// By what it is called instead.
pub(super) fn check(host: &str, certificate: Option<&CertificateDer<'_>>) -> Result<(), String> {
    if host.is_empty() {
        return Err(
            "sslmode=verify-full needs the name of the host, and there is its address alone (hostaddr)".to_owned()
        );
    }
    let parsed = certificate.and_then(certificate::parse).ok_or("the certificate of the server cannot be read")?;
    let names = parsed.names();
    // A name that is no good ends it, whatever comes after.
    let found = names.iter().find_map(|name| is_named(name, host));
    let is_called = found.unwrap_or_else(|| {
        let has_its_kind = names.iter().any(|name| kind(name) == Some(kind_of(host)));
        !has_its_kind && parsed.common_name().is_some_and(|name| matches(name, host))
    });
    if is_called {
        Ok(())
    } else {
        Err(format!("the certificate of the server is for {}, and not for {host:?}", shown(&parsed)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Address,
}

fn kind_of(host: &str) -> Kind {
    if version_4(host).is_some() || host.parse::<Ipv6Addr>().is_ok() { Kind::Address } else { Kind::Name }
}

/// Of an alternative name, by its tag if it is no good.
fn kind(name: &GeneralName<'_>) -> Option<Kind> {
    match name {
        GeneralName::DNSName(_) => Some(Kind::Name),
        GeneralName::IPAddress(_) => Some(Kind::Address),
        GeneralName::Invalid(tag, _) if tag.0 == 2 => Some(Kind::Name),
        GeneralName::Invalid(tag, _) if tag.0 == 7 => Some(Kind::Address),
        _ => None,
    }
}

/// Whether an alternative name is that of the server: `Some` once that is certain, which it is not, either, by a name that is no good.
fn is_named(name: &GeneralName<'_>, host: &str) -> Option<bool> {
    match name {
        GeneralName::DNSName(pattern) if pattern.contains('\0') => Some(false),
        GeneralName::DNSName(pattern) => matches(pattern, host).then_some(true),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => version_4(host).is_some_and(|address| address.octets() == *bytes).then_some(true),
            16 => host.parse::<Ipv6Addr>().is_ok_and(|address| address.octets() == *bytes).then_some(true),
            _ => Some(false),
        },
        other => kind(other).map(|_| false),
    }
}

/// As `inet_aton` reads one: the last of up to four numbers stands for all bytes that are left, and each may be octal or hexadecimal.
fn version_4(text: &str) -> Option<Ipv4Addr> {
    let parts = text.split('.').map(number).collect::<Option<Vec<_>>>()?;
    let (last, first) = parts.split_last().filter(|(_, first)| first.len() < 4)?;
    let bits = 8 * first.len();
    let begun = first.iter().try_fold(0_u64, |begun, byte| (*byte < 256).then_some(begun << 8 | byte))?;
    let rest = 32 - bits;
    let whole = (last >> rest == 0).then_some(begun << rest | last)?;
    u32::try_from(whole).ok().map(Ipv4Addr::from)
}

/// As C writes them.
fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if lower.starts_with('0') => (lower.as_str(), 8),
        None => (lower.as_str(), 10),
    };
    // Signs are none of it.
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    u64::from_str_radix(digits, base).ok().filter(|_| is_number)
}

/// Whether a pattern is this name; one that begins with `*.` stands for one more label.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.eq_ignore_ascii_case(name) {
        return true;
    }
    let (Some(rest), Some((first, domain))) = (pattern.strip_prefix("*."), name.split_once('.')) else { return false };
    !first.is_empty() && !rest.is_empty() && rest.eq_ignore_ascii_case(domain)
}

/// The names that count.
fn shown(certificate: &Certificate<'_>) -> String {
    let shown = |name: &&GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(format!("{name:?}")),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => Some(Ipv4Addr::from(four).to_string()),
            (_, Ok(sixteen)) => Some(Ipv6Addr::from(sixteen).to_string()),
            _ => None,
        },
        _ => None,
    };
    let names: Vec<_> = certificate.names().iter().filter_map(shown).collect();
    match certificate.common_name() {
        _ if !names.is_empty() => names.join(" and "),
        Some(name) => format!("{name:?}"),
        None => "nobody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, name, fits) in [
            ("db.example", "DB.example", true),
            ("*.example.org", "db.example.org", true),
            ("*.example.org", "a.db.example.org", false),
            ("*.org", "example.org", true),
            ("*.", "example.", false),
            ("*", "localhost", false),
            ("*.example.org", ".example.org", false),
            ("d*.example.org", "db.example.org", false),
            ("localhost", "localhost.", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn an_address_may_be_written_as_c_reads_it() {
        for (text, address) in [
            ("127.0.0.1", Some([127, 0, 0, 1])),
            ("127.1", Some([127, 0, 0, 1])),
            ("0x7F.1", Some([127, 0, 0, 1])),
            ("0177.0.0.01", Some([127, 0, 0, 1])),
            ("2130706433", Some([127, 0, 0, 1])),
            ("10.1.258", Some([10, 1, 1, 2])),
            ("0", Some([0, 0, 0, 0])),
            ("256.1", None),
            ("127.0.0.256", None),
            ("4294967296", None),
            ("1.2.3.4.5", None),
            ("127.0.0.", None),
            ("08.1", None),
            ("+1.2", None),
            ("0x", None),
            ("", None),
            ("localhost", None),
        ] {
            assert_eq!(version_4(text), address.map(Ipv4Addr::from), "{text}");
        }
    }
}
