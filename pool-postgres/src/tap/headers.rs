//! Where one message ends and the next begins.

/// A type of one byte, and a length of four that counts itself.
const HEADER: usize = 5;

/// Finds the headers in a stream of messages: a type of one byte, and a length of four that counts itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    /// The header of a message that has come in part, and what is kept of its body.
    begun: Vec<u8>,
    /// Bytes of the body still to come.
    body_left: u64,
    /// The types of the messages that are looked into, and how much is kept of each. Of the others one byte is.
    looked_into: &'static [(u8, u64)],
}

impl Headers {
    /// Keeps the beginnings of messages of these types.
    pub(super) fn looking_into(looked_into: &'static [(u8, u64)]) -> Self {
        Self { looked_into, ..Self::default() }
    }

    /// How many bytes are to come of the message that has begun, as far as that is known.
    pub(super) fn outstanding(&self) -> u64 {
        match self.begun[..] {
            [_, a, b, c, d, ..] => u64::from(u32::from_be_bytes([a, b, c, d])),
            _ => self.body_left,
        }
    }

    /// Whether the next byte begins a message.
    pub(super) fn is_at_border(&self) -> bool {
        self.begun.is_empty() && self.body_left == 0
    }

    /// Where in these bytes the first message begins.
    pub(super) fn border(&self, bytes: &[u8]) -> usize {
        let mut ahead = self.clone();
        let inside = |byte: &&u8| {
            let inside = !ahead.is_at_border();
            ahead.scan(std::slice::from_ref(byte), |_, _| {});
            inside
        };
        bytes.iter().take_while(inside).count()
    }

    /// Calls `on_message` with the type and the beginning of the body of each message once that is there: its first byte, if it has one, or more if it is looked into. Nothing is
    /// copied but what comes in part.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut on_message: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            if !self.begun.is_empty() {
                bytes = self.complete(bytes, &mut on_message);
            } else if self.body_left > 0 {
                let skip = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
                self.body_left -= skip as u64;
                bytes = &bytes[skip..];
            } else if let Some((kept, left)) = self.measure(bytes) {
                on_message(bytes[0], &bytes[HEADER..kept]);
                self.body_left = left;
                bytes = &bytes[kept..];
            } else {
                self.begun.push(bytes[0]);
                bytes = &bytes[1..];
            }
        }
    }

    /// Goes on with a message that has come in part.
    fn complete<'a>(&mut self, mut bytes: &'a [u8], on_message: &mut impl FnMut(u8, &[u8])) -> &'a [u8] {
        loop {
            if let Some((kept, left)) = self.measure(&self.begun) {
                on_message(self.begun[0], &self.begun[HEADER..kept]);
                self.body_left = left;
                self.begun.clear();
                return bytes;
            }
            let Some((next, rest)) = bytes.split_first() else { return bytes };
            self.begun.push(*next);
            bytes = rest;
        }
    }

    /// How much is kept of the message that begins these bytes, with its header, and how much of its body follows that; `None` if it is not all there.
    fn measure(&self, bytes: &[u8]) -> Option<(usize, u64)> {
        let [kind, a, b, c, d, beginning @ ..] = bytes else { return None };
        let body = u64::from(u32::from_be_bytes([*a, *b, *c, *d]).saturating_sub(4));
        let most = self.looked_into.iter().find(|(looked_into, _)| looked_into == kind).map_or(1, |(_, most)| *most);
        let kept = body.min(most);
        let is_there = beginning.len() as u64 >= kept;
        is_there.then(|| (HEADER + usize::try_from(kept).unwrap_or(usize::MAX), body - kept))
    }
}
