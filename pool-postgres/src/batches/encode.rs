//! Parameters that have been turned into what is sent, before anything is: a batch of which one statement cannot be sent is not sent in part.

use std::error::Error as StdError;
use std::fmt;

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::statements::Params;

/// A server takes no message of a gibibyte, and the client none of two. Something is left for what is sent along with the parameters, beside what each of them has.
const MOST: usize = (1 << 30) - (1 << 10);

/// What is sent along with each parameter: its format, its length, and its type where that is sent.
const BESIDE: usize = 10;

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
    let encoded: Vec<Encoded> = encoded.collect::<Result<_, _>>()?;
    let lengths = encoded.iter().map(|it| it.bytes.as_ref().map_or(0, Bytes::len));
    if fits(lengths) { Ok(encoded) } else { Err("its parameters are longer than a gibibyte".to_owned()) }
}

/// Whether parameters of these lengths can be sent with one statement. What the client would refuse must not be given to it: others would go without it, and the server would wait for the end of the batch.
fn fits(lengths: impl Iterator<Item = usize>) -> bool {
    lengths.fold(0, |sum: usize, length| sum.saturating_add(length).saturating_add(BESIDE)) <= MOST
}

fn encode_one(kind: &Type, param: &(dyn ToSql + Sync)) -> Result<Encoded, Failure> {
    let mut out = BytesMut::new();
    let is_null = param.to_sql_checked(kind, &mut out)?;
    let bytes = matches!(is_null, IsNull::No).then(|| out.freeze());
    Ok(Encoded { bytes, format: param.encode_format(kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_message_holds_is_not_sent() {
        let gibibyte = 1 << 30;
        assert!(fits(std::iter::empty()));
        assert!(fits([gibibyte / 2, gibibyte / 4].into_iter()));
        assert!(fits(std::iter::repeat_n(1000, 65_535)));
        assert!(!fits([gibibyte].into_iter()));
        assert!(!fits([gibibyte / 2; 4].into_iter()));
        assert!(!fits([usize::MAX; 2].into_iter()));
    }
}
