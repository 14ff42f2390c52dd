//! The notes in the ledger's file.

use rusqlite::{Connection, Error, params};

use super::note::{KnownNotes, Note};

/// Session ids that are kept, at about 100 bytes each; as many as a sidecar remembers.
const MAX_SESSIONS: i64 = 4096;

/// Models whose ratios are kept, which are more than Codex offers.
const MAX_RATIOS: i64 = 256;

/// The numbers of sessions grow with each one, so that the oldest are those with the smallest.
pub(in crate::store) const NOTE_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS sessions (
        number INTEGER PRIMARY KEY AUTOINCREMENT, conversation BLOB NOT NULL UNIQUE, session TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS ratios (
        model TEXT PRIMARY KEY, chars REAL NOT NULL, tokens REAL NOT NULL
    ) STRICT, WITHOUT ROWID;";

/// Removes the ratios beyond the limit; sessions are removed as others are written.
///
/// # Errors
/// The file cannot be written.
pub(in crate::store) fn trim_notes(connection: &Connection) -> Result<(), Error> {
    let trim = "DELETE FROM ratios WHERE model NOT IN (
                    SELECT model FROM ratios ORDER BY tokens DESC LIMIT ?1)";
    connection.execute(trim, [MAX_RATIOS])?;
    Ok(())
}

/// Returns the notes of the file.
///
/// # Errors
/// The file cannot be read.
pub(in crate::store) fn read_notes(connection: &Connection) -> Result<KnownNotes, Error> {
    let mut models = connection.prepare("SELECT model, chars, tokens FROM ratios")?;
    let ratios = models.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut oldest_first =
        connection.prepare("SELECT conversation, session FROM sessions ORDER BY number")?;
    let sessions = oldest_first.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(KnownNotes {
        ratios: ratios.collect::<Result<_, _>>()?,
        sessions: sessions.collect::<Result<_, _>>()?,
    })
}

/// Writes a note in the open transaction.
///
/// # Errors
/// The file cannot be written.
pub(in crate::store) fn write_note(connection: &Connection, note: &Note) -> Result<(), Error> {
    match note {
        Note::Ratio {
            model,
            chars,
            tokens,
        } => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO ratios (model, chars, tokens) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![model, chars, tokens])?,
        Note::Session {
            conversation,
            session,
        } => {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO sessions (conversation, session) VALUES (?1, ?2)",
                )?
                .execute(params![conversation, session])?;
            connection
                .prepare_cached("DELETE FROM sessions WHERE number <= ?1")?
                .execute([connection.last_insert_rowid() - MAX_SESSIONS])?
        }
        Note::Forgotten { conversation } => connection
            .prepare_cached("DELETE FROM sessions WHERE conversation = ?1")?
            .execute([conversation])?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: i64) -> Note {
        let mut conversation = [0; 16];
        conversation[..8].copy_from_slice(&number.to_le_bytes());
        Note::Session {
            conversation,
            session: number.to_string(),
        }
    }

    #[test]
    fn newest_sessions_are_kept() {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(NOTE_TABLES).unwrap();
        for number in 0..MAX_SESSIONS + 10 {
            write_note(&file, &session(number)).unwrap();
        }
        let known = read_notes(&file).unwrap().sessions;
        assert_eq!(known.len(), usize::try_from(MAX_SESSIONS).unwrap());
        assert_eq!(known.first().unwrap().1, "10", "the oldest that is left");
        let conversation = known[0].0;
        write_note(&file, &Note::Forgotten { conversation }).unwrap();
        assert_eq!(read_notes(&file).unwrap().sessions[0].1, "11");
    }

    #[test]
    fn ratios_beyond_the_limit_are_those_of_few_tokens() {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(NOTE_TABLES).unwrap();
        for number in 0..300_u32 {
            let note = Note::Ratio {
                model: number.to_string(),
                chars: 4.0,
                tokens: number.into(),
            };
            write_note(&file, &note).unwrap();
        }
        trim_notes(&file).unwrap();
        let ratios = read_notes(&file).unwrap().ratios;
        assert_eq!(ratios.len(), 256);
        assert!(ratios.iter().all(|(_, _, tokens)| *tokens >= 44.0));
    }
}
