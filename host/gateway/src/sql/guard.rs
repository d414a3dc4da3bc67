//! What a plugin's statement may do to an SQLite database, decided while it is compiled.
//!
//! Everything is refused that is not listed here. So `ATTACH` (and with it `VACUUM INTO`), extensions,
//! virtual tables, temporary objects, transaction control and every pragma that changes something are out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::Access;

/// Pragmas that only tell. All but the first six are allowed without an argument only.
const PRAGMAS_WITH_ARGUMENT: [&str; 6] = [
    "table_info",
    "table_xinfo",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
];
const PRAGMAS: [&str; 7] = [
    "table_list",
    "data_version",
    "schema_version",
    "user_version",
    "application_id",
    "encoding",
    "journal_mode",
];

/// Functions that reach outside the database.
const FUNCTIONS_REFUSED: [&str; 2] = ["load_extension", "fts3_tokenizer"];

/// The watch over one connection. The host's own statements pass while it is stood down.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    on_duty: Arc<AtomicBool>,
    refused: Arc<Mutex<Option<String>>>,
}

impl Guard {
    pub(super) fn post(connection: &mut Connection, access: Access) -> rusqlite::Result<Self> {
        let guard = Self {
            on_duty: Arc::new(AtomicBool::new(false)),
            refused: Arc::new(Mutex::new(None)),
        };
        let watch = guard.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            watch.judge(access, &context)
        }))?;
        Ok(guard)
    }

    /// Runs a plugin's statement under guard.
    pub(super) fn guarded<T>(&self, run: impl FnOnce() -> T) -> T {
        self.on_duty.store(true, Ordering::Relaxed);
        let result = run();
        self.on_duty.store(false, Ordering::Relaxed);
        result
    }

    /// What was refused last, in a word or two.
    pub(super) fn take_refused(&self) -> Option<String> {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn judge(&self, access: Access, context: &AuthContext<'_>) -> Authorization {
        if !self.on_duty.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        match refusal(access, context) {
            None => Authorization::Allow,
            Some(what) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
                Authorization::Deny
            }
        }
    }
}

fn refusal(access: Access, context: &AuthContext<'_>) -> Option<String> {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => None,
        AuthAction::Function { function_name } => FUNCTIONS_REFUSED
            .iter()
            .any(|name| function_name.eq_ignore_ascii_case(name))
            .then(|| format!("the function {function_name}")),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            let is = |name: &&str| pragma_name.eq_ignore_ascii_case(name);
            let allowed = PRAGMAS_WITH_ARGUMENT.iter().any(is)
                || (PRAGMAS.iter().any(is) && pragma_value.is_none());
            (!allowed).then(|| format!("the pragma {pragma_name}"))
        }
        AuthAction::Insert { .. }
        | AuthAction::Update { .. }
        | AuthAction::Delete { .. }
        | AuthAction::CreateTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::Reindex { .. } => {
            (access == Access::Read).then(|| "a change inside fetch-batch".to_owned())
        }
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Some("ATTACH, DETACH or VACUUM".to_owned())
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Some("transaction control, which is the host's".to_owned())
        }
        AuthAction::CreateVtable { .. } | AuthAction::DropVtable { .. } => {
            Some("a virtual table".to_owned())
        }
        AuthAction::AlterTable { .. } => Some("ALTER TABLE".to_owned()),
        AuthAction::Analyze { .. } => Some("ANALYZE".to_owned()),
        _ => Some("a view, a temporary object or something newer".to_owned()),
    }
}
