//! Variables of the environment that set something in each session.

use super::surroundings::Surroundings;

/// Variable, and what it sets.
const SETTINGS: [(&str, &str); 3] = [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")];

/// The options, and after them what the variables set. libpq sends that beside the options; it counts for more than they, too.
pub(super) fn completed(options: Option<String>, around: &Surroundings<'_>) -> Option<String> {
    let value = |name: &str| around.variable(name).filter(|value| !value.eq_ignore_ascii_case("default"));
    let set = SETTINGS.iter().filter_map(|(variable, name)| Some(format!("-c {name}={}", escaped(&value(variable)?))));
    options.into_iter().chain(set).reduce(|all, more| all + " " + &more)
}

/// As one word for the server.
fn escaped(value: &str) -> String {
    let is_special = |letter: char| letter == '\\' || matches!(letter, ' ' | '\t'..='\r');
    value.chars().fold(String::new(), |mut word, letter| {
        word.extend(is_special(letter).then_some('\\'));
        word.push(letter);
        word
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_after_the_options() {
        let completed = |options: Option<&str>, variables: &[(&str, &str)]| {
            let find =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            completed(options.map(str::to_owned), &Surroundings::new(&find))
        };
        assert_eq!(completed(None, &[]), None);
        assert_eq!(completed(Some("-c a=b"), &[("PGTZ", "Default")]).as_deref(), Some("-c a=b"));
        let all = [("PGTZ", "UTC"), ("PGDATESTYLE", r"SQL, D\MY"), ("PGGEQO", "off")];
        assert_eq!(
            completed(Some("-c a=b"), &all).as_deref(),
            Some(r"-c a=b -c datestyle=SQL,\ D\\MY -c timezone=UTC -c geqo=off")
        );
    }
}
