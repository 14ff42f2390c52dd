//! A CODEX_HOME with a login, and the sidecar's options for it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::SidecarOptions;

use super::service::LoginService;

/// An unsigned token (RFC 7519, section 6) of a ChatGPT Plus plan that expired in 2020.
pub(super) const EXPIRED: &str = "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20iLCJleHAiOjE2MDAwMDAwMDAsImh0dHBzOi8vYXBpLm9wZW5haS5jb20vYXV0aCI6eyJjaGF0Z3B0X3BsYW5fdHlwZSI6InBsdXMiLCJjaGF0Z3B0X2FjY291bnRfaWQiOiJhY2NvdW50In19.c2ln";

/// The same token until 2100.
pub(crate) const RENEWED: &str = "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20iLCJleHAiOjQxMDI0NDQ4MDAsImh0dHBzOi8vYXBpLm9wZW5haS5jb20vYXV0aCI6eyJjaGF0Z3B0X3BsYW5fdHlwZSI6InBsdXMiLCJjaGF0Z3B0X2FjY291bnRfaWQiOiJhY2NvdW50In19.c2ln";

/// The name of the login file in CODEX_HOME.
pub(super) const LOGIN: &str = "auth.json";

const WRITABLE: &str = "the test folder is writable";

/// A CODEX_HOME whose provider uses the login.
pub(super) struct LoginHome(TempDir);

impl LoginHome {
    /// A home without a login. Codex sends what it would send to ChatGPT to `service`.
    pub(super) fn new(model: &ScriptedModel, service: &LoginService) -> Self {
        let folder = tempfile::tempdir().expect(WRITABLE);
        let config = format!(
            "chatgpt_base_url = \"{}/backend-api\"\n\
             [model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{}\"\n\
             wire_api = \"responses\"\nrequires_openai_auth = true\n",
            service.url(),
            model.base_url()
        );
        fs::write(folder.path().join("config.toml"), config).expect(WRITABLE);
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn login_file(&self) -> PathBuf {
        self.path().join(LOGIN)
    }

    /// Replaces the login as Codex does: a new file that is renamed.
    pub(super) fn log_in(&self, login: &Value) {
        let new = self.path().join("new.json");
        fs::write(&new, login.to_string()).expect(WRITABLE);
        fs::rename(new, self.login_file()).expect(WRITABLE);
    }

    /// The options of a sidecar with this home, whose children use `service` instead of OpenAI's.
    pub(super) fn options(&self, model: &ScriptedModel, service: &LoginService) -> SidecarOptions {
        let variables = [
            ("CODEX_REFRESH_TOKEN_URL_OVERRIDE", "/oauth/token"),
            ("CODEX_AUTHAPI_BASE_URL", ""),
        ];
        let options = SidecarOptions::new(model)
            .env("CODEX_HOME", &self.path().to_string_lossy())
            .env(
                "CODEX_ENV_PASSTHROUGH",
                &variables.map(|(name, _)| name).join(","),
            );
        variables
            .into_iter()
            .fold(options, |options, (name, path)| {
                options.env(name, &format!("{}{path}", service.url()))
            })
    }
}

/// The login of a ChatGPT plan.
pub(crate) fn chatgpt(token: &str, refresh_token: &str, last_refresh: &str) -> Value {
    json!({
        "auth_mode": "chatgpt", "OPENAI_API_KEY": null, "tokens": tokens(token, refresh_token),
        "last_refresh": last_refresh,
    })
}

/// The tokens of a ChatGPT plan, as the token service returns them.
pub(super) fn tokens(token: &str, refresh_token: &str) -> Value {
    json!({"id_token": token, "access_token": token, "refresh_token": refresh_token, "account_id": "account"})
}
