//! What goes back to a client where something went wrong, in Salesforce's shape.

use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use crate::answer::{Answer, Body};

/// An error of the whole call: an HTTP status and an array of one.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<String>,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    pub(crate) fn missing() -> Self {
        Self::new(404, "NOT_FOUND", "The requested resource does not exist")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "METHOD_NOT_ALLOWED",
            "HTTP Method not allowed on this resource",
        )
    }

    pub(crate) fn body(&self) -> Value {
        let mut error = json!({"message": self.message, "errorCode": self.code});
        if !self.fields.is_empty() {
            error["fields"] = json!(self.fields);
        }
        json!([error])
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Answer::json(error.status, error.body())
    }
}

/// What was wrong with one row; the rest of its call may have succeeded.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RowError {
    #[serde(rename = "statusCode")]
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<String>,
}

impl RowError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    pub(crate) fn field(code: &'static str, message: impl Into<String>, field: &str) -> Self {
        Self {
            fields: vec![field.to_owned()],
            ..Self::new(code, message)
        }
    }

    /// The same error as the answer to a call for one row.
    pub(crate) fn alone(self) -> ApiError {
        let status = match self.code {
            "ENTITY_IS_DELETED" | "NOT_FOUND" => 404,
            "INSUFFICIENT_ACCESS_OR_READONLY" => 403,
            _ => 400,
        };
        ApiError {
            status,
            code: self.code,
            message: self.message,
            fields: self.fields,
        }
    }
}

/// Why a row was not written: its own fault, or one that fails the whole call.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    Row(RowError),
    Call(ApiError),
}

impl From<RowError> for Refusal {
    fn from(error: RowError) -> Self {
        Self::Row(error)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Call(error)
    }
}

impl Refusal {
    /// As an error of the row, where there is no call that could fail as a whole.
    pub(crate) fn of_row(self) -> RowError {
        match self {
            Self::Row(error) => error,
            Self::Call(error) => RowError {
                code: match error.code {
                    "JSON_PARSER_ERROR" => "INVALID_TYPE_ON_FIELD_IN_RECORD",
                    code => code,
                },
                message: error.message,
                fields: error.fields,
            },
        }
    }

    pub(crate) fn alone(self) -> ApiError {
        match self {
            Self::Row(error) => error.alone(),
            Self::Call(error) => error,
        }
    }
}
