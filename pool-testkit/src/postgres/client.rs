//! Just enough of the protocol to run a statement on a server that trusts us.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Connects, runs one statement, and returns the first column of its rows.
pub(super) fn query(port: u16, database: &str, statement: &str) -> Result<Vec<String>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let limit = Some(Duration::from_mins(1));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    let mut startup = 196_608_i32.to_be_bytes().to_vec();
    for word in ["user", "postgres", "database", database, ""] {
        startup.extend_from_slice(word.as_bytes());
        startup.push(0);
    }
    stream.write_all(&framed(None, &startup)?)?;
    read_until_ready(&mut stream)?;
    stream.write_all(&framed(Some(b'Q'), &[statement.as_bytes(), &[0]].concat())?)?;
    read_until_ready(&mut stream)
}

fn framed(kind: Option<u8>, body: &[u8]) -> Result<Vec<u8>> {
    let length = i32::try_from(body.len() + 4).map_err(Error::other)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    Ok(message)
}

fn read_until_ready(stream: &mut TcpStream) -> Result<Vec<String>> {
    let (mut rows, mut failure) = (Vec::new(), None);
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).saturating_sub(4);
        let mut body = vec![0; usize::try_from(length).map_err(Error::other)?];
        stream.read_exact(&mut body)?;
        match head[0] {
            b'D' => rows.extend(first_column(&body)),
            b'E' => failure = Some(String::from_utf8_lossy(&body).replace('\0', " ")),
            b'R' if body != [0; 4] => return Err(Error::other("the server asks for a password")),
            b'Z' => return failure.map_or(Ok(rows), |text| Err(Error::other(text))),
            _ => {}
        }
        if let (b'E', Some(text)) = (head[0], &failure)
            && text.starts_with("SFATAL")
        {
            return Err(Error::new(ErrorKind::ConnectionRefused, text.clone()));
        }
    }
}

/// The text of the first column of a data row: a count, then a length and that many bytes for each column.
fn first_column(row: &[u8]) -> Option<String> {
    let length = u32::from_be_bytes(row.get(2..6)?.try_into().ok()?);
    let value = row.get(6..6 + usize::try_from(length).ok()?)?;
    Some(String::from_utf8_lossy(value).into_owned())
}
