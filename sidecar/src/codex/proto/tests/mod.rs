//! Tests of the session.

mod transcripts;
