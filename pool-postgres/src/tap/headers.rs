//! Where one message ends and the next begins.

/// A type of one byte, and a length of four that counts itself.
const HEADER: usize = 5;

/// How much is kept of the beginning of a message, by its type.
pub(super) type Kept = [u16; 256];

/// One byte of each, but so much of these.
pub(super) const fn kept(looked_into: &[(u8, u16)]) -> Kept {
    let (mut kept, mut next) = ([1; 256], 0);
    while next < looked_into.len() {
        kept[looked_into[next].0 as usize] = looked_into[next].1;
        next += 1;
    }
    kept
}

static LEAST: Kept = kept(&[]);

/// Finds the headers in a stream of messages: a type of one byte, and a length of four that counts itself.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    /// The header of a message that has come in part, and what is kept of its body.
    begun: Vec<u8>,
    /// Bytes of the body still to come.
    body_left: u64,
    kept: &'static Kept,
}

impl Default for Headers {
    fn default() -> Self {
        Self::looking_into(&LEAST)
    }
}

impl Headers {
    /// Keeps so much of messages.
    pub(super) fn looking_into(kept: &'static Kept) -> Self {
        Self { begun: Vec::new(), body_left: 0, kept }
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
        if self.begun.is_empty() {
            return usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
        }
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
    pub(super) fn scan(&mut self, bytes: &[u8], mut on_message: impl FnMut(u8, &[u8])) {
        let mut bytes = self.finish(bytes, &mut on_message);
        while let Some((kept, left)) = self.measure(bytes) {
            on_message(bytes[0], &bytes[HEADER..kept]);
            bytes = self.skip(&bytes[kept..], left);
        }
        self.begun.extend_from_slice(bytes);
    }

    /// What follows the message that has come in part before.
    fn finish<'a>(&mut self, bytes: &'a [u8], on_message: &mut impl FnMut(u8, &[u8])) -> &'a [u8] {
        if self.begun.is_empty() { self.skip(bytes, self.body_left) } else { self.complete(bytes, on_message) }
    }

    /// What follows so much of a body.
    #[inline]
    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64) -> &'a [u8] {
        let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.body_left = left - skipped as u64;
        &bytes[skipped..]
    }

    /// Goes on with a message whose beginning has come in part.
    #[cold]
    fn complete<'a>(&mut self, mut bytes: &'a [u8], on_message: &mut impl FnMut(u8, &[u8])) -> &'a [u8] {
        loop {
            if let Some((kept, left)) = self.measure(&self.begun) {
                on_message(self.begun[0], &self.begun[HEADER..kept]);
                self.begun.clear();
                return self.skip(bytes, left);
            }
            let Some((next, rest)) = bytes.split_first() else { return bytes };
            self.begun.push(*next);
            bytes = rest;
        }
    }

    /// How much is kept of the message that begins these bytes, with its header, and how much of its body follows that; `None` if it is not all there.
    #[inline]
    fn measure(&self, bytes: &[u8]) -> Option<(usize, u64)> {
        let [kind, a, b, c, d, beginning @ ..] = bytes else { return None };
        let body = u64::from(u32::from_be_bytes([*a, *b, *c, *d]).saturating_sub(4));
        let most = u64::from(self.kept[usize::from(*kind)]);
        let kept = body.min(most);
        let is_there = beginning.len() as u64 >= kept;
        is_there.then(|| (HEADER + usize::try_from(kept).unwrap_or(usize::MAX), body - kept))
    }
}
