//! Settings without what may be secret in them.

use crate::query::Summary;

/// Stands for what is not shown.
const MASK: &str = "***";

/// The value of a keyword as everybody may see it who looks at the pool. The password is not among the settings to begin with.
pub(super) fn masked(keyword: &str, value: String) -> String {
    match keyword {
        "options" => options(&value),
        "pool_release_sql" => Summary(&value).to_string(),
        _ => value,
    }
}

/// Parameters with a dot in their names belong to an application, and may be keys of it: `-c app.key=...`. The others are PostgreSQL's, which has no secrets there.
fn options(value: &str) -> String {
    let mut shown = Vec::new();
    for part in parts(value) {
        shown.push(match part.split_once('=') {
            Some((name, _)) if name.contains('.') => format!("{name}={MASK}"),
            _ => part.to_owned(),
        });
    }
    shown.join(" ")
}

/// What the server takes them apart to: at spaces that have no backslash before them.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    let ends = move |letter: char| {
        let is_end = letter.is_ascii_whitespace() && !escaped;
        escaped = letter == '\\' && !escaped;
        is_end
    };
    value.split(ends).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_an_application_is_not_shown() {
        for (options, shown) in [
            ("-c statement_timeout=5s", "-c statement_timeout=5s"),
            ("-c app.key=s3cr3t", "-c app.key=***"),
            ("-capp.key=s3cr3t --app.other=s3cr3t\t-c  geqo=off", "-capp.key=*** --app.other=*** -c geqo=off"),
            (r"-c app.key=s3cr3t\ s3cr3t -c geqo=off", "-c app.key=*** -c geqo=off"),
            (r"-c app.key=a\\ -c geqo=off", "-c app.key=*** -c geqo=off"),
            ("", ""),
        ] {
            assert_eq!(masked("options", options.to_owned()), shown);
        }
        let sql = masked("pool_release_sql", "SELECT set_config('app.key', 's3cr3t', false)".to_owned());
        assert_eq!(sql, "SELECT set_config(?, ?, false)");
        assert_eq!(masked("application_name", "a=b.c=d".to_owned()), "a=b.c=d");
    }
}
