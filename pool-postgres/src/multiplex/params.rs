//! Parameters whose conversion may panic.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::statements::Params;

/// What a parameter has panicked with while it was written. The client would be left with a part of a message in its buffer, which whoever asks next on the connection would send; so it is an error for the client, and
/// goes on when that is through.
#[derive(Default)]
pub(super) struct Caught(Mutex<Option<Box<dyn Any + Send>>>);

impl Caught {
    /// These parameters, for [`Careful::all`].
    pub(super) fn wrap<'a>(&'a self, params: Params<'a>) -> Vec<Careful<'a>> {
        params.iter().map(|param| Careful { param: *param, caught: self }).collect()
    }

    /// Goes on with a panic, if there was one.
    pub(super) fn go_on(&self) {
        let panic = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    fn keep(&self, panic: Box<dyn Any + Send>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
    }
}

/// A parameter whose panics are caught.
pub(super) struct Careful<'a> {
    param: &'a (dyn ToSql + Sync),
    caught: &'a Caught,
}

impl<'a> Careful<'a> {
    /// As the client takes them.
    pub(super) fn all(params: &'a [Self]) -> Vec<&'a (dyn ToSql + Sync)> {
        params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
    }
}

impl fmt::Debug for Careful<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.param.fmt(f)
    }
}

type Written = Result<IsNull, Box<dyn Error + Sync + Send>>;

impl ToSql for Careful<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Written {
        self.to_sql_checked(ty, out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Written {
        let written = catch_unwind(AssertUnwindSafe(|| self.param.to_sql_checked(ty, out)));
        written.unwrap_or_else(|panic| {
            self.caught.keep(panic);
            Err("it has panicked".into())
        })
    }

    fn encode_format(&self, ty: &Type) -> Format {
        let format = catch_unwind(AssertUnwindSafe(|| self.param.encode_format(ty)));
        format.unwrap_or_else(|panic| {
            self.caught.keep(panic);
            Format::Binary
        })
    }
}
