//! Cells at stable places, linked into one list: joining, leaving from the middle and taking the first are all O(1).

/// The end of a list, and the list of free cells' end.
const NONE: usize = usize::MAX;

/// A cell and its neighbours in the list.
struct Node<T> {
    /// Bumped when the cell is freed, so that a key of an earlier user fits no more.
    generation: u64,
    value: Option<T>,
    before: usize,
    after: usize,
}

/// The name of one cell, until it is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: usize,
    generation: u64,
}

/// The cells. Memory is bounded by the most cells that were in use at once.
pub(super) struct Slab<T> {
    nodes: Vec<Node<T>>,
    free: usize,
    first: usize,
    last: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), free: NONE, first: NONE, last: NONE }
    }

    /// Puts a value at the end of the list.
    pub(super) fn push(&mut self, value: T) -> Key {
        let before = self.last;
        let index = if self.free == NONE {
            self.nodes.push(Node { generation: 0, value: Some(value), before, after: NONE });
            self.nodes.len() - 1
        } else {
            let index = self.free;
            let node = &mut self.nodes[index];
            self.free = node.after;
            (node.value, node.before, node.after) = (Some(value), before, NONE);
            index
        };
        match self.nodes.get_mut(before) {
            Some(node) => node.after = index,
            None => self.first = index,
        }
        self.last = index;
        Key { index, generation: self.nodes[index].generation }
    }

    /// The first cell of the list.
    pub(super) fn first(&self) -> Option<Key> {
        self.nodes.get(self.first).map(|node| Key { index: self.first, generation: node.generation })
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let node = self.nodes.get_mut(key.index).filter(|node| node.generation == key.generation)?;
        node.value.as_mut()
    }

    /// Every cell in use, in no order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.nodes.iter_mut().filter_map(|node| node.value.as_mut())
    }

    /// Takes the cell out of the list; it stays in use. For a cell that is in the list.
    pub(super) fn unlink(&mut self, key: Key) {
        let Node { before, after, .. } = self.nodes[key.index];
        match self.nodes.get_mut(before) {
            Some(node) => node.after = after,
            None => self.first = after,
        }
        match self.nodes.get_mut(after) {
            Some(node) => node.before = before,
            None => self.last = before,
        }
    }

    /// Ends the use of a cell that is not in the list.
    pub(super) fn free(&mut self, key: Key) -> Option<T> {
        let node = self.nodes.get_mut(key.index).filter(|node| node.generation == key.generation)?;
        node.generation += 1;
        node.after = self.free;
        self.free = key.index;
        node.value.take()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Push(u8),
        TakeFirst,
        /// Takes one from anywhere.
        Take(usize),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let one = prop_oneof![
            any::<u8>().prop_map(Operation::Push),
            Just(Operation::TakeFirst),
            any::<usize>().prop_map(Operation::Take)
        ];
        prop::collection::vec(one, 0..100)
    }

    /// Does the same to a plain list of values with their keys.
    fn apply(slab: &mut Slab<u8>, model: &mut Vec<(Key, u8)>, operation: &Operation) -> Option<(Key, u8)> {
        let place = match *operation {
            Operation::Push(value) => {
                model.push((slab.push(value), value));
                return None;
            }
            Operation::TakeFirst => 0,
            Operation::Take(place) => place % model.len().max(1),
        };
        (place < model.len()).then(|| model.remove(place))
    }

    proptest! {
        #[test]
        fn it_is_a_list_with_short_cuts(operations in operations()) {
            let (mut slab, mut model, mut most) = (Slab::new(), Vec::new(), 0);
            for operation in operations {
                if let Some((key, value)) = apply(&mut slab, &mut model, &operation) {
                    slab.unlink(key);
                    prop_assert_eq!(slab.free(key), Some(value));
                    prop_assert_eq!(slab.free(key), None, "once");
                    prop_assert!(slab.get_mut(key).is_none(), "a key of an earlier user fits no more");
                }
                most = most.max(model.len());
                prop_assert_eq!(slab.first(), model.first().map(|(key, _)| *key));
                prop_assert_eq!(slab.iter_mut().count(), model.len());
            }
            prop_assert!(slab.nodes.len() <= most, "memory is bounded by the most that were in use at once");
        }
    }
}
