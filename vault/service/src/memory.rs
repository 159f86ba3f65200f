//! Where data encryption keys live: pages that are not swapped out, wiped when dropped.
//!
//! Whether the kernel allowed the lock is reported ([`Room::protection`]), not assumed.

use zeroize::Zeroize;

const KEYS_PER_PAGE: usize = 4096 / 32;

#[repr(C, align(4096))]
struct Page([[u8; 32]; KEYS_PER_PAGE]);

impl Drop for Page {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A growing set of 32-octet keys.
#[derive(Default)]
pub(crate) struct Room {
    // Boxed, so that a page keeps its address when the list grows.
    pages: Vec<Box<Page>>,
    used: usize,
    refused: bool,
}

/// Where in the room a key stands.
#[derive(Clone, Copy)]
pub(crate) struct Slot(usize);

impl Room {
    /// Copies a key in.
    pub(crate) fn put(&mut self, key: &[u8; 32]) -> Slot {
        if self.used == self.pages.len() * KEYS_PER_PAGE {
            let mut page = Box::new(Page([[0; 32]; KEYS_PER_PAGE]));
            self.refused |= !lock(&mut page);
            self.pages.push(page);
        }
        let slot = Slot(self.used);
        self.pages[slot.0 / KEYS_PER_PAGE].0[slot.0 % KEYS_PER_PAGE] = *key;
        self.used += 1;
        slot
    }

    /// The key that was put there.
    pub(crate) fn key(&self, slot: Slot) -> &[u8; 32] {
        &self.pages[slot.0 / KEYS_PER_PAGE].0[slot.0 % KEYS_PER_PAGE]
    }

    /// `mlock`, or `not locked` where a page could not be.
    pub(crate) fn protection(&self) -> &'static str {
        if self.refused { "not locked" } else { "mlock" }
    }
}

#[expect(unsafe_code, reason = "mlock has no safe form; the range is one page that we own")]
fn lock(page: &mut Page) -> bool {
    let start = std::ptr::from_mut(page).cast();
    // SAFETY: the range is exactly the page that `page` borrows. Locking changes no content.
    unsafe { rustix::mm::mlock(start, size_of::<Page>()) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_where_they_were_put_while_the_room_grows() {
        let mut room = Room::default();
        let key = |n: usize| [u8::try_from(n % 251).expect("below 256"); 32];
        let slots: Vec<_> = (0..1000).map(|n| room.put(&key(n))).collect();
        for (n, slot) in slots.into_iter().enumerate() {
            assert_eq!(room.key(slot), &key(n));
        }
    }
}
