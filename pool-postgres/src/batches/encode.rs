//! Parameters that have been turned into what is sent, before anything is: a batch of which one statement cannot be sent is not sent in part.

use std::error::Error as StdError;
use std::fmt;

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::statements::Params;

/// A parameter as it is sent; without bytes it is null.
pub(super) struct Encoded {
    bytes: Option<Bytes>,
    format: Format,
}

/// The client shows parameters in its log.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("?")
    }
}

type Failure = Box<dyn StdError + Sync + Send>;

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        self.format
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        self.to_sql(kind, out)
    }
}

/// The parameters of a statement whose parameters have these types; or why they cannot be sent.
pub(super) fn encode(types: &[Type], params: Params<'_>) -> Result<Vec<Encoded>, String> {
    if types.len() != params.len() {
        return Err(format!("it has {} parameters, not {}", types.len(), params.len()));
    }
    let encoded = types.iter().zip(params).enumerate().map(|(at, (kind, param))| {
        let encoded = encode_one(kind, *param);
        encoded.map_err(|error| format!("parameter ${} cannot be sent: {error}", at + 1))
    });
    encoded.collect()
}

fn encode_one(kind: &Type, param: &(dyn ToSql + Sync)) -> Result<Encoded, Failure> {
    let mut out = BytesMut::new();
    let is_null = param.to_sql_checked(kind, &mut out)?;
    let bytes = matches!(is_null, IsNull::No).then(|| out.freeze());
    Ok(Encoded { bytes, format: param.encode_format(kind) })
}
