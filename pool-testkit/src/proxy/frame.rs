//! Where one message of PostgreSQL ends and the next begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::toxic::Direction;

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    kind: u8,
    number: u64,
    bytes: Vec<u8>,
}

impl Frame {
    /// In the place of a type: the message that begins a session, which has none.
    pub const STARTUP: u8 = 0;
    /// In the place of a type: the client asks for encryption.
    pub const ENCRYPTION_REQUEST: u8 = 1;
    /// In the place of a type: the client asks for a query of another session to be cancelled.
    pub const CANCEL_REQUEST: u8 = 2;
    /// In the place of a type: the one byte that answers a request for encryption.
    pub const ENCRYPTION_ANSWER: u8 = 3;

    /// Its type, or one of the above.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The how manieth of its type it is, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What comes after its type and length.
    pub fn body(&self) -> &[u8] {
        let header = match self.kind {
            Self::ENCRYPTION_ANSWER => 0,
            _ => 4 + usize::from(self.is_typed()),
        };
        &self.bytes[header..]
    }

    pub(super) fn is_typed(&self) -> bool {
        self.kind > Self::ENCRYPTION_ANSWER
    }

    pub(super) fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }
}

/// The bytes of a message.
///
/// # Panics
///
/// If it is longer than a message can be.
#[allow(clippy::expect_used)] // tests do not write gigabytes by hand
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a message that fits").to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// How far a connection has come, seen from both directions.
#[derive(Debug, Default)]
pub(super) struct Phase(AtomicU8);

impl Phase {
    /// The client's next message has no type.
    const STARTUP: u8 = 0;
    /// The server's next byte says whether there will be encryption.
    const ANSWER: u8 = 1;
    /// All messages have types.
    const TYPED: u8 = 2;
    /// Nothing can be told apart any more.
    const OPAQUE: u8 = 3;

    // Both directions of a connection belong to one task.
    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Relaxed);
    }
}

/// What was found in the bytes that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Frame(Frame),
    /// Nobody knows what.
    Raw(Vec<u8>),
}

/// The messages of one direction.
#[derive(Debug)]
pub(super) struct Frames {
    direction: Direction,
    phase: Arc<Phase>,
    pending: Vec<u8>,
}

/// Longer than any in a test.
const LONGEST: u32 = 64 << 20;
/// Of the messages without a type that are no start-up.
const CODES: [(u32, u8); 3] = [
    (80_877_102, Frame::CANCEL_REQUEST),
    (80_877_103, Frame::ENCRYPTION_REQUEST),
    (80_877_104, Frame::ENCRYPTION_REQUEST),
];

impl Frames {
    pub(super) fn new(direction: Direction, phase: Arc<Phase>) -> Self {
        Self { direction, phase, pending: Vec::new() }
    }

    /// Adds bytes that have come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next message, if all of it has come.
    pub(super) fn next(&mut self) -> Option<Piece> {
        let phase = self.phase.get();
        if self.pending.is_empty() {
            None
        } else if phase == Phase::OPAQUE {
            Some(Piece::Raw(self.rest()))
        } else if self.direction == Direction::ToServer && phase != Phase::TYPED {
            self.untyped()
        } else if self.direction == Direction::ToClient && phase == Phase::ANSWER && self.pending[0] != b'E' {
            Some(self.answer())
        } else {
            self.typed()
        }
    }

    /// What has come of a message that will never be complete.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    fn answer(&mut self) -> Piece {
        self.phase.set(if self.pending[0] == b'N' { Phase::STARTUP } else { Phase::OPAQUE });
        self.cut(Frame::ENCRYPTION_ANSWER, 1)
    }

    fn typed(&mut self) -> Option<Piece> {
        let length = self.number_at(1)?;
        self.whole(length, 1).then(|| self.cut(self.pending[0], length as usize + 1)).or_else(|| self.give_up(length))
    }

    fn untyped(&mut self) -> Option<Piece> {
        let (length, code) = (self.number_at(0)?, self.number_at(4)?);
        if !self.whole(length, 0) {
            return self.give_up(length);
        }
        let kind = CODES.iter().find(|(known, _)| *known == code).map_or(Frame::STARTUP, |(_, kind)| *kind);
        match kind {
            Frame::ENCRYPTION_REQUEST => self.phase.set(Phase::ANSWER),
            _ => self.phase.set(Phase::TYPED),
        }
        Some(self.cut(kind, length as usize))
    }

    fn whole(&self, length: u32, before: usize) -> bool {
        (4..=LONGEST).contains(&length) && self.pending.len() >= length as usize + before
    }

    /// This is not PostgreSQL: everything passes as it is from now on.
    fn give_up(&mut self, length: u32) -> Option<Piece> {
        if (4..=LONGEST).contains(&length) {
            return None;
        }
        self.phase.set(Phase::OPAQUE);
        Some(Piece::Raw(self.rest()))
    }

    fn cut(&mut self, kind: u8, length: usize) -> Piece {
        let rest = self.pending.split_off(length);
        let bytes = std::mem::replace(&mut self.pending, rest);
        Piece::Frame(Frame { kind, number: 0, bytes })
    }

    fn number_at(&self, offset: usize) -> Option<u32> {
        let bytes = self.pending.get(offset..offset + 4)?;
        bytes.try_into().ok().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Both {
        phase: Arc<Phase>,
        sides: [Frames; 2],
    }

    impl Both {
        fn new() -> Self {
            let phase = Arc::<Phase>::default();
            let sides = Direction::BOTH.map(|direction| Frames::new(direction, Arc::clone(&phase)));
            Self { phase, sides }
        }

        /// The types of the messages that are found, `?` for what is none, with the bytes coming one by one.
        fn kinds(&mut self, direction: Direction, bytes: &[u8]) -> Vec<u8> {
            let side = &mut self.sides[direction.index()];
            let mut kinds = Vec::new();
            for byte in bytes {
                side.push(&[*byte]);
                while let Some(piece) = side.next() {
                    kinds.push(match piece {
                        Piece::Frame(frame) => frame.kind,
                        Piece::Raw(_) => b'?',
                    });
                }
            }
            kinds
        }
    }

    fn untyped(code: u32, body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], &code.to_be_bytes(), body].concat()
    }

    #[test]
    fn messages_are_found_wherever_the_bytes_are_split() {
        let mut both = Both::new();
        assert_eq!(both.kinds(Direction::ToServer, &untyped(80_877_103, b"")), [Frame::ENCRYPTION_REQUEST]);
        assert_eq!(both.kinds(Direction::ToClient, b"N"), [Frame::ENCRYPTION_ANSWER]);
        assert_eq!(both.kinds(Direction::ToServer, &untyped(196_608, b"user\0a\0\0")), [Frame::STARTUP]);
        let answer = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        assert_eq!(both.kinds(Direction::ToClient, &answer), b"RZ");
        let request = [message(b'P', b"SELECT\0"), message(b'S', b"")].concat();
        assert_eq!(both.kinds(Direction::ToServer, &request), b"PS");
    }

    #[test]
    fn what_is_encrypted_passes_as_it_is() {
        let mut both = Both::new();
        both.kinds(Direction::ToServer, &untyped(80_877_104, b""));
        assert_eq!(both.kinds(Direction::ToClient, b"Gx"), [Frame::ENCRYPTION_ANSWER, b'?']);
        assert_eq!(both.kinds(Direction::ToServer, b"x"), b"?");
        assert_eq!(both.phase.get(), Phase::OPAQUE);
    }

    #[test]
    fn an_old_server_answers_a_request_for_encryption_with_an_error() {
        let mut both = Both::new();
        both.kinds(Direction::ToServer, &untyped(80_877_103, b""));
        assert_eq!(both.kinds(Direction::ToClient, &message(b'E', b"SFATAL\0\0")), b"E");
    }

    #[test]
    fn a_cancellation_and_what_is_no_message_are_told_apart() {
        assert_eq!(Both::new().kinds(Direction::ToServer, &untyped(80_877_102, &[0; 8])), [Frame::CANCEL_REQUEST]);
        let mut both = Both::new();
        assert_eq!(both.kinds(Direction::ToServer, b"GET / HTTP/1.1"), b"???????", "from the eighth byte on");
        let mut frames = Frames::new(Direction::ToClient, Arc::default());
        frames.push(&message(b'D', b"123")[..7]);
        assert_eq!((frames.next(), frames.rest().len()), (None, 7));
    }

    #[test]
    fn a_frame_knows_its_parts() {
        let typed = Frame { kind: b'Z', number: 1, bytes: message(b'Z', b"I") };
        assert_eq!((typed.body(), typed.bytes().len(), typed.clone().numbered(7).number()), (&b"I"[..], 6, 7));
        let untyped = Frame { kind: Frame::STARTUP, number: 1, bytes: untyped(196_608, b"x") };
        assert_eq!(untyped.body().last(), Some(&b'x'));
        assert_eq!(Frame { kind: Frame::ENCRYPTION_ANSWER, number: 1, bytes: vec![b'S'] }.body(), b"S");
    }
}
