//! The service file: connections by name, as libpq keeps them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::PostgresConfigError;
use super::given::{Given, Origin, known, unknown};
use super::surroundings::Surroundings;
use super::suspect::Before;

/// Where Debian's libpq looks for the file of the whole system.
const SYSTEM: &str = "/etc/postgresql-common";
const NAME: &str = "pg_service.conf";

/// Adds what the service says of keywords that have no value yet. `PGSERVICEFILE`, or else `.pg_service.conf` of the user, is looked at first, and `pg_service.conf` of the system if the service is not in it.
pub(super) fn add(given: &mut Given, around: &Surroundings<'_>) {
    let Some(service) = given.get("service").map(str::to_owned).or_else(|| around.variable("PGSERVICE")) else {
        return;
    };
    for file in users_file(around).into_iter().chain(systems_file(around)) {
        match read(&file, &service, given) {
            Ok(true) => return,
            Ok(false) => {}
            Err(problem) => return given.cut(problem),
        }
    }
    given.cut(PostgresConfigError::service(&service, "no service file has it"));
}

fn users_file(around: &Surroundings<'_>) -> Option<PathBuf> {
    // One that is named has to be there.
    around.variable("PGSERVICEFILE").map(PathBuf::from).or_else(|| {
        let file = around.home()?.join(format!(".{NAME}"));
        file.exists().then_some(file)
    })
}

fn systems_file(around: &Surroundings<'_>) -> Option<PathBuf> {
    let folder = around.variable("PGSYSCONFDIR").unwrap_or_else(|| SYSTEM.to_owned());
    Some(Path::new(&folder).join(NAME)).filter(|file| file.exists())
}

/// Whether the service is in the file.
fn read(file: &Path, service: &str, given: &mut Given) -> Result<bool, PostgresConfigError> {
    let failed = |problem: String| PostgresConfigError::service(service, problem);
    let unreadable = |error: io::Error| failed(format!("{} cannot be read: {error}", file.display()));
    // There may be passwords in it.
    let text = Zeroizing::new(fs::read_to_string(file).map_err(unreadable)?);
    let (mut is_found, mut before) = (false, Before::default());
    for (line, text) in (1..).zip(text.lines().map(str::trim)).filter(|(_, text)| says_something(text)) {
        if let Some(name) = text.strip_prefix('[') {
            if is_found {
                break;
            }
            is_found = name.strip_prefix(service).is_some_and(|rest| rest.starts_with(']'));
        } else if is_found {
            match pair(text, &mut before) {
                Ok((keyword, value)) => {
                    given.add(keyword, value.to_owned(), Origin::Service { file: file.to_owned(), line });
                }
                Err(problem) => given.cut(failed(format!("line {line} of {}: {problem}", file.display()))),
            }
        }
    }
    Ok(is_found)
}

fn says_something(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// A keyword and its value. One that nobody knows may be a part of what is before it: the second line of a password.
fn pair<'a>(line: &'a str, before: &mut Before) -> Result<(&'static str, &'a str), String> {
    let Some((keyword, value)) = line.split_once('=') else {
        before.add(line, "");
        return Err("there is no =".to_owned());
    };
    let known = keyword_of(keyword, *before);
    before.add(keyword, value);
    Ok((known?, value))
}

fn keyword_of(name: &str, before: Before) -> Result<&'static str, String> {
    match name {
        "service" => Err("a service cannot be another one".to_owned()),
        ldap if ldap.starts_with("ldap") => Err("there is no LDAP here".to_owned()),
        name => known(name).ok_or_else(|| before.hide(unknown(name)).to_string()),
    }
}
