//! The client with running agents. Agents are processes of one user: where the sandbox hides no files, those of several clients
//! could read each other's folders while both run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::AgentClients;
use crate::turn::TurnError;

/// The places of agent turns: of one client at a time, or of any.
#[derive(Debug)]
pub(in crate::codex) struct AgentPlaces {
    /// Whether agents of all clients may run together.
    are_shared: bool,
    occupied: Arc<Mutex<Option<Occupied>>>,
}

/// The client that has places, and their number.
#[derive(Debug)]
struct Occupied {
    client: Box<str>,
    turns: usize,
}

/// A place of one agent turn. Dropping it leaves the place.
#[derive(Debug)]
pub(in crate::codex) struct AgentPlace(Arc<Mutex<Option<Occupied>>>);

impl AgentPlaces {
    /// Returns the places, with `hides_files` if agents cannot read each other's files.
    pub(in crate::codex) fn new(clients: AgentClients, hides_files: bool) -> Self {
        Self {
            are_shared: match clients {
                AgentClients::Auto => hides_files,
                AgentClients::One => false,
                AgentClients::Any => true,
            },
            occupied: Arc::default(),
        }
    }

    /// Takes a place for a turn of `client`.
    ///
    /// # Errors
    /// Agents of another client run.
    pub(in crate::codex) fn enter(&self, client: &str) -> Result<AgentPlace, TurnError> {
        // Agents of all clients may run together if all are those of one.
        let client = if self.are_shared { "" } else { client };
        let mut occupied = lock(&self.occupied);
        let place = occupied.get_or_insert_with(|| Occupied {
            client: client.into(),
            turns: 0,
        });
        if *place.client != *client {
            return Err(TurnError::AgentsBusy);
        }
        place.turns += 1;
        Ok(AgentPlace(Arc::clone(&self.occupied)))
    }
}

impl Drop for AgentPlace {
    fn drop(&mut self) {
        let mut occupied = lock(&self.0);
        if let Some(place) = &mut *occupied {
            place.turns -= 1;
        }
        occupied.take_if(|place| place.turns == 0);
    }
}

fn lock(occupied: &Mutex<Option<Occupied>>) -> MutexGuard<'_, Option<Occupied>> {
    occupied.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_at_a_time_has_places() {
        let places = AgentPlaces::new(AgentClients::One, true);
        let first = places.enter("a").unwrap();
        let second = places.enter("a").unwrap();
        drop(first);
        assert_eq!(places.enter("b").err(), Some(TurnError::AgentsBusy));
        drop(second);
        let other = places.enter("b").unwrap();
        assert!(places.enter("a").is_err());
        drop(other);
        assert!(places.enter("a").is_ok());
    }

    #[test]
    fn agents_of_any_client_run_together_where_that_is_safe_or_allowed() {
        for (clients, hides_files, are_shared) in [
            (AgentClients::Auto, true, true),
            (AgentClients::Auto, false, false),
            (AgentClients::Any, false, true),
        ] {
            let places = AgentPlaces::new(clients, hides_files);
            let _first = places.enter("a").unwrap();
            assert_eq!(places.enter("b").is_ok(), are_shared, "{clients:?}");
        }
    }
}
