//! The binary format of COPY. PostgreSQL documentation, "COPY", "Binary Format".

use std::error::Error as StdError;
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type};

/// What the data begins with: a signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const SIGNATURE: usize = 11;
/// What comes in the place of a row after the last one.
pub(super) const TRAILER: i16 = -1;
const NULL: i32 = -1;

pub(super) type Fields = Box<[Option<Range<usize>>]>;

/// Appends a row. What is appended of one that cannot be sent is of no use.
pub(super) fn put_row(buffer: &mut BytesMut, types: &[Type], values: &[&(dyn ToSql + Sync)]) -> Result<(), String> {
    if values.len() != types.len() {
        return Err(format!("a row has {} values, not {}", types.len(), values.len()));
    }
    buffer.put_i16(i16::try_from(types.len()).map_err(|_| "a row has 32767 values at most")?);
    for (at, (value, kind)) in values.iter().zip(types).enumerate() {
        put_value(buffer, *value, kind).map_err(|error| format!("value {at} of a row cannot be sent: {error}"))?;
    }
    Ok(())
}

fn put_value(
    buffer: &mut BytesMut,
    value: &(dyn ToSql + Sync),
    kind: &Type,
) -> Result<(), Box<dyn StdError + Sync + Send>> {
    let begin = buffer.len();
    buffer.put_i32(NULL);
    if let IsNull::No = value.to_sql_checked(kind, buffer)? {
        let length = i32::try_from(buffer.len() - begin - size_of::<i32>())?;
        buffer[begin..begin + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Takes the header off.
pub(super) fn take_header(data: &mut Bytes) -> Option<()> {
    if !data.starts_with(&HEADER[..SIGNATURE]) {
        return None;
    }
    data.advance(SIGNATURE);
    // No flag is set since there are no OIDs any more.
    let (flags, extension) = (data.try_get_i32().ok()?, data.try_get_i32().ok()?);
    let extension = usize::try_from(extension).ok().filter(|length| *length <= data.len() && flags == 0)?;
    data.advance(extension);
    Some(())
}

/// What a piece of data begins with.
pub(super) enum Next {
    Row(Bytes, Fields),
    End,
}

/// Takes a row off, or the end. `None` if it is neither.
pub(super) fn take_row(data: &mut Bytes, columns: usize) -> Option<Next> {
    let whole = data.clone();
    let count = data.try_get_i16().ok()?;
    if count == TRAILER {
        return Some(Next::End);
    }
    if usize::try_from(count) != Ok(columns) {
        return None;
    }
    let mut fields = Vec::with_capacity(columns);
    for _ in 0..columns {
        let length = data.try_get_i32().ok()?;
        let length = if length == NULL { None } else { Some(usize::try_from(length).ok()?) };
        let begin = whole.len() - data.len();
        fields.push(length.map(|length| begin..begin + length));
        let length = length.unwrap_or(0);
        if length > data.len() {
            return None;
        }
        data.advance(length);
    }
    Some(Next::Row(whole, fields.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&(dyn ToSql + Sync)]) -> Result<Bytes, String> {
        let mut buffer = BytesMut::new();
        put_row(&mut buffer, &[Type::INT4, Type::TEXT], values).map(|()| buffer.freeze())
    }

    #[test]
    fn what_is_put_is_taken() {
        let mut data = Bytes::from([&row(&[&7_i32, &None::<&str>]).unwrap()[..], &TRAILER.to_be_bytes()[..]].concat());
        let Some(Next::Row(body, fields)) = take_row(&mut data, 2) else { panic!("a row") };
        assert_eq!(fields[0].clone().map(|range| body.slice(range)), Some(Bytes::from_static(&[0, 0, 0, 7])));
        assert!(fields[1].is_none());
        assert!(matches!(take_row(&mut data, 2), Some(Next::End)));
    }

    #[test]
    fn half_a_row_is_none() {
        let whole = row(&[&7_i32, &"ada"]).unwrap();
        for length in 0..whole.len() {
            assert!(take_row(&mut whole.slice(..length), 2).is_none(), "{length}");
        }
        assert!(take_row(&mut whole.clone(), 3).is_none(), "another number of columns");
    }

    #[test]
    fn only_a_header_is_a_header() {
        assert!(take_header(&mut Bytes::from_static(HEADER)).is_some());
        assert!((0..HEADER.len()).all(|length| take_header(&mut Bytes::from_static(&HEADER[..length])).is_none()));
        let flagged = Bytes::from([&HEADER[..SIGNATURE], &[0, 1, 0, 0, 0, 0, 0, 0]].concat());
        assert!(take_header(&mut flagged.clone()).is_none());
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert_eq!(row(&[&7_i32]).unwrap_err(), "a row has 2 values, not 1");
        assert!(row(&[&7_i64, &"ada"]).unwrap_err().starts_with("value 0 of a row cannot be sent: "));
    }
}
