//! The archive in Redis: each operation is one call of a script.

use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use redis::{FromRedisValue, Script, ScriptInvocation, Value};

use super::record::{
    ArchiveError, ArchiveKey, Archived, ArchivedNode, ArchivedResponse, NewResponse,
};
use crate::store::limits::StoreLimits;
use crate::store::redis::RedisLink;

/// Longest life of a response in progress. It ends before with the lease of its sidecar.
const RUNNING: Duration = Duration::from_secs(24 * 3600);

/// The archive.
#[derive(Debug)]
pub(super) struct RedisArchive {
    link: RedisLink,
    limits: StoreLimits,
    script: Script,
}

impl RedisArchive {
    pub(super) fn new(link: RedisLink, limits: StoreLimits) -> Self {
        Self {
            link,
            limits,
            script: Script::new(include_str!("responses.lua")),
        }
    }

    /// Stores a response, and evicts others beyond the limits.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn put(
        &self,
        key: ArchiveKey<'_>,
        response: &NewResponse,
    ) -> Result<(), ArchiveError> {
        let mut call = self.call("put", key);
        call.arg(response.document.as_ref())
            .arg(response.items.as_slice())
            .arg(response.input_len)
            .arg(u8::from(response.continuable))
            .arg(response.previous.as_deref().unwrap_or_default())
            .arg(self.ttl_ms())
            .arg(self.limits.responses.map_or(0, NonZeroUsize::get))
            .arg(self.limits.bytes);
        self.invoke(&call).await
    }

    /// Adds a response in progress, so that every sidecar can tell its state.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn begin(
        &self,
        key: ArchiveKey<'_>,
        document: &[u8],
    ) -> Result<(), ArchiveError> {
        let mut call = self.call("begin", key);
        call.arg(document)
            .arg(self.link.owner())
            .arg(RUNNING.as_millis());
        self.invoke(&call).await
    }

    /// Removes a response in progress that ends without being stored.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn end(&self, key: ArchiveKey<'_>) -> Result<(), ArchiveError> {
        self.invoke(&self.call("end", key)).await
    }

    /// Asks the sidecar that runs the response to cancel it.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn cancel(&self, key: ArchiveKey<'_>) -> Result<(), ArchiveError> {
        self.invoke(&self.call("cancel", key)).await
    }

    /// Whether a sidecar has asked to cancel the response.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn is_cancelled(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        self.invoke(&self.call("is_cancelled", key)).await
    }

    /// Returns a response with its conversation.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn get(&self, key: ArchiveKey<'_>) -> Result<Archived, ArchiveError> {
        let mut call = self.call("get", key);
        call.arg(self.ttl_ms());
        let fields: Vec<Value> = self.invoke(&call).await?;
        archived(fields).map_err(ArchiveError)
    }

    /// Whether a response can be retrieved.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn has(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        let mut call = self.call("exists", key);
        call.arg(self.ttl_ms());
        self.invoke(&call).await
    }

    /// Deletes a response. Returns false for one that is unknown or in progress.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(super) async fn delete(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        let answer: u8 = self.invoke(&self.call("delete", key)).await?;
        Ok(answer == 1)
    }

    fn call(&self, operation: &str, key: ArchiveKey<'_>) -> ScriptInvocation<'_> {
        let mut call = self.script.prepare_invoke();
        call.key("codex-edge:responses")
            .arg(operation)
            .arg(key.client)
            .arg(key.id);
        call
    }

    async fn invoke<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, ArchiveError> {
        let answer = self.link.invoke(call).await;
        answer.map_err(|error| {
            tracing::warn!(%error, "response archive call failed");
            ArchiveError(error.into())
        })
    }

    /// Returns the age at which a response expires; 0 for none.
    fn ttl_ms(&self) -> u64 {
        let age = self.limits.age.unwrap_or_default();
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A cause of an answer that cannot be read.
type ReadError = Box<dyn std::error::Error + Send + Sync>;

fn archived(fields: Vec<Value>) -> Result<Archived, ReadError> {
    let mut fields = fields.into_iter();
    let mut next = || -> Result<Option<Vec<u8>>, ReadError> {
        Ok(fields
            .next()
            .map(FromRedisValue::from_redis_value)
            .transpose()?)
    };
    let Some(kind) = next()? else {
        return Ok(Archived::Missing);
    };
    let document = Bytes::from(next()?.ok_or("an answer without a document")?);
    if kind == b"running" {
        return Ok(Archived::Running(document));
    }
    let continuable = next()?.is_some_and(|flag| flag == b"1");
    let mut nodes = Vec::new();
    while let (Some(id), Some(items), Some(input_len)) = (next()?, next()?, next()?) {
        nodes.push(ArchivedNode {
            id: String::from_utf8(id)?,
            items: serde_json::from_slice(&items)?,
            input_len: String::from_utf8(input_len)?.parse()?,
        });
    }
    Ok(Archived::Ended(ArchivedResponse {
        document,
        continuable,
        nodes,
    }))
}
