//! A thread's session: opened by its first operation, dropped by any error, opened again by the next.
//!
//! An operation that failed half-way stays active in its session and makes every later one fail with
//! CKR_OPERATION_ACTIVE, so a session does not survive an error. Handles do not survive a session.

use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::object::{ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::error::TokenError;
use crate::key::KeyRef;
use crate::object;
use crate::token::{Connection, Shared};

/// A thread's own way to the token.
pub struct TokenSession {
    shared: Arc<Shared>,
    seat: Arc<Seat>,
}

/// Where a thread's open session sits, so that a recovery can take it.
#[derive(Default)]
pub(crate) struct Seat(Mutex<Option<Open>>);

/// An open session and the handles that were found in it.
pub(crate) struct Open {
    pub(crate) session: Session,
    handles: Vec<(ObjectClass, KeyRef, ObjectHandle)>,
}

impl TokenSession {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let seat = Arc::new(Seat::default());
        shared.register(&seat);
        Self { shared, seat }
    }

    /// Runs one operation in the open session, which it opens where there is none. Any error costs
    /// the session.
    pub(crate) fn with<T>(
        &mut self,
        operation: impl FnOnce(&mut Open, &Connection) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let state = self.shared.state();
        let connection = state.connection()?;
        let mut seat = self.seat.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Always read-write: the version object is written, and some tokens refuse to mix.
        let open = match seat.as_mut() {
            Some(open) => open,
            None => {
                let session = connection.context.open_rw_session(connection.slot)?;
                seat.insert(Open { session, handles: Vec::new() })
            }
        };
        let result = operation(open, connection);
        if result.is_err() {
            *seat = None;
        }
        result
    }
}

impl Drop for TokenSession {
    fn drop(&mut self) {
        // Closing is a call into the module: not while it is being restarted.
        let _state = self.shared.state();
        self.seat.vacate();
    }
}

impl Seat {
    pub(crate) fn vacate(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Open {
    /// The handle of one of a key's objects, found once per session by class, label and CKA_ID.
    pub(crate) fn handle(&mut self, class: ObjectClass, key: &KeyRef) -> Result<ObjectHandle, TokenError> {
        let known = self.handles.iter().find(|(of, known, _)| *of == class && known == key);
        if let Some((_, _, handle)) = known {
            return Ok(*handle);
        }
        let handle = object::one(&self.session, class, &key.label, Some(&key.id))?;
        self.handles.push((class, key.clone(), handle));
        Ok(handle)
    }
}
