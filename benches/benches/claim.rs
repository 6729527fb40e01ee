//! What is claimed, and whether a run bears it out.

use std::fmt;

use crate::number::number;

/// A figure, and what it may be.
pub(crate) struct Claim {
    what: String,
    /// Not a number if it was not measured.
    pub(crate) ratio: f64,
    bound: Bound,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Whatever it is, it has to be said.
    Reported,
}

impl Claim {
    pub(crate) fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.ratio <= most,
            Bound::AtLeast(least) => self.ratio >= least,
            Bound::Reported => true,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "holds " } else { "BROKEN" };
        write!(f, "{verdict}  {}: {}", self.what, number(self.ratio))?;
        match self.bound {
            Bound::AtMost(most) => write!(f, ", at most {most}"),
            Bound::AtLeast(least) => write!(f, ", at least {least}"),
            Bound::Reported => write!(f, ", reported"),
        }
    }
}

pub(crate) fn at_most(most: f64, what: &str, ratio: f64) -> Claim {
    Claim { what: what.to_owned(), ratio, bound: Bound::AtMost(most) }
}

pub(crate) fn at_least(least: f64, what: &str, ratio: f64) -> Claim {
    Claim { what: what.to_owned(), ratio, bound: Bound::AtLeast(least) }
}

/// Whatever it is.
pub(crate) fn reported(what: &str, ratio: f64) -> Claim {
    Claim { what: what.to_owned(), ratio, bound: Bound::Reported }
}

/// Prints the claims, and how many of them hold. Whether all do.
pub(crate) fn print_verdicts(claims: &[Claim]) -> bool {
    for claim in claims {
        println!("{claim}");
    }
    let broken = claims.iter().filter(|claim| !claim.holds()).count();
    println!("\n{} of {} claims hold in this run.", claims.len() - broken, claims.len());
    broken == 0
}
