//! One table from a row's error to what the host should do with the row.

use tidegate_sdk::{Advice, OperationKind, Refusal};

use crate::answer::VendorError;

/// What a row was to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) operation: OperationKind,
    /// The field that an upsert goes by.
    pub(crate) key: Option<&'a str>,
}

/// The refusal of a row. The first error speaks for it, and one that a person must mend outweighs those
/// that pass by themselves.
pub(crate) fn refusal(errors: &[VendorError], attempt: Attempt<'_>) -> Option<Refusal> {
    let speaker = errors
        .iter()
        .find(|error| advice(error, attempt) == Advice::Park)
        .or(errors.first())?;
    Some(Refusal {
        code: speaker.code.clone(),
        message: speaker.message.clone(),
        fields: speaker.fields.clone(),
        advice: advice(speaker, attempt),
    })
}

fn advice(error: &VendorError, attempt: Attempt<'_>) -> Advice {
    let names_target = !matches!(
        attempt.operation,
        OperationKind::Create | OperationKind::Upsert
    );
    match error.code.as_str() {
        // The row's transaction was undone; nothing is wrong with the row itself.
        "UNABLE_TO_LOCK_ROW"
        | "SERVER_UNAVAILABLE"
        | "ALL_OR_NONE_OPERATION_ROLLED_BACK"
        | "PROCESSING_HALTED"
        | "QUERY_TIMEOUT"
        | "REQUEST_RUNNING_TOO_LONG"
        | "REQUEST_LIMIT_EXCEEDED" => Advice::Retry,
        "ENTITY_IS_DELETED" => Advice::Gone,
        // Not in the recycle bin: it lives, or it is no more.
        "UNDELETE_FAILED" => Advice::Gone,
        // Under a create or upsert these speak of the object, the key field or a lookup's target.
        "NOT_FOUND" if names_target => Advice::Gone,
        "INVALID_CROSS_REFERENCE_KEY" if names_target && error.fields.is_empty() => Advice::Gone,
        "DUPLICATE_VALUE" if is_duplicate_key(error, attempt) => Advice::Adopt,
        // Validation rules, missing rights, wrong values, duplicate rules, and whatever is not known here:
        // the same row will be refused again.
        _ => Advice::Park,
    }
}

/// Whether the value that exists already is the row's own key, and not that of another unique field, which
/// the message names: `duplicate value found: Email__c duplicates value on record with id: 003...`.
fn is_duplicate_key(error: &VendorError, attempt: Attempt<'_>) -> bool {
    let Some(key) = attempt.key else {
        return false;
    };
    let named = error
        .message
        .strip_prefix("duplicate value found: ")
        .and_then(|rest| rest.split_once(" duplicates value"))
        .map(|(field, _)| field);
    match named {
        Some(field) if field != "<unknown>" => field.eq_ignore_ascii_case(key),
        _ => error.fields.is_empty() || error.fields.iter().any(|field| field == key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Option<&str> = Some("Tidegate_Id__c");

    #[test]
    fn every_error_has_its_advice() {
        use Advice::{Adopt, Gone, Park, Retry};
        use OperationKind::{Convert, Create, Delete, Merge, Restore, Update, Upsert};
        let own = "duplicate value found: Tidegate_Id__c duplicates value on record with id: 003000000000001";
        let other =
            "duplicate value found: Email__c duplicates value on record with id: 003000000000001";
        let unknown =
            "duplicate value found: <unknown> duplicates value on record with id: <unknown>";
        let cases: &[(&str, &str, &[&str], OperationKind, Advice)] = &[
            ("UNABLE_TO_LOCK_ROW", "", &[], Update, Retry),
            ("SERVER_UNAVAILABLE", "", &[], Upsert, Retry),
            ("ALL_OR_NONE_OPERATION_ROLLED_BACK", "", &[], Create, Retry),
            ("PROCESSING_HALTED", "", &[], Create, Retry),
            ("REQUEST_LIMIT_EXCEEDED", "", &[], Create, Retry),
            ("ENTITY_IS_DELETED", "", &[], Update, Gone),
            ("ENTITY_IS_DELETED", "", &[], Delete, Gone),
            ("NOT_FOUND", "", &[], Update, Gone),
            ("NOT_FOUND", "", &[], Delete, Gone),
            (
                "NOT_FOUND",
                "Provided external ID field does not exist",
                &[],
                Upsert,
                Park,
            ),
            (
                "INVALID_CROSS_REFERENCE_KEY",
                "invalid cross reference id",
                &[],
                Update,
                Gone,
            ),
            (
                "INVALID_CROSS_REFERENCE_KEY",
                "",
                &["AccountId"],
                Update,
                Park,
            ),
            ("INVALID_CROSS_REFERENCE_KEY", "", &[], Create, Park),
            ("ENTITY_IS_DELETED", "", &[], Merge, Gone),
            ("INVALID_CROSS_REFERENCE_KEY", "", &[], Convert, Gone),
            ("UNDELETE_FAILED", "", &[], Restore, Gone),
            ("DUPLICATE_VALUE", own, &[], Restore, Park),
            ("INVALID_STATUS", "", &[], Convert, Park),
            ("DUPLICATE_VALUE", own, &[], Upsert, Adopt),
            ("DUPLICATE_VALUE", unknown, &[], Upsert, Adopt),
            (
                "DUPLICATE_VALUE",
                "worded anew",
                &["Tidegate_Id__c"],
                Upsert,
                Adopt,
            ),
            ("DUPLICATE_VALUE", other, &[], Upsert, Park),
            (
                "DUPLICATE_VALUE",
                "worded anew",
                &["Email__c"],
                Upsert,
                Park,
            ),
            ("DUPLICATE_VALUE", own, &[], Update, Park),
            (
                "DUPLICATES_DETECTED",
                "Use one of these records?",
                &[],
                Create,
                Park,
            ),
            ("MALFORMED_ID", "", &["Id"], Update, Park),
            ("INVALID_FIELD", "", &[], Update, Park),
            ("REQUIRED_FIELD_MISSING", "", &["LastName"], Create, Park),
            ("STRING_TOO_LONG", "", &["Name"], Create, Park),
            ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "", &[], Update, Park),
            ("INSUFFICIENT_ACCESS_OR_READONLY", "", &[], Update, Park),
            (
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "",
                &["Name"],
                Create,
                Park,
            ),
            ("SOMETHING_NEW", "", &[], Update, Park),
        ];
        for (code, message, fields, operation, expected) in cases {
            let error = VendorError {
                code: (*code).to_owned(),
                message: (*message).to_owned(),
                fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            };
            let key = KEY.filter(|_| *operation == Upsert);
            let attempt = Attempt {
                operation: *operation,
                key,
            };
            assert_eq!(
                advice(&error, attempt),
                *expected,
                "{code} {message} {operation:?}"
            );
        }
    }

    #[test]
    fn what_needs_a_person_outweighs_what_passes() {
        let error = |code: &str| VendorError {
            code: code.to_owned(),
            message: String::new(),
            fields: Vec::new(),
        };
        let attempt = Attempt {
            operation: OperationKind::Update,
            key: None,
        };
        let both = [error("UNABLE_TO_LOCK_ROW"), error("STRING_TOO_LONG")];
        let found = refusal(&both, attempt).map(|refusal| (refusal.code, refusal.advice));
        assert_eq!(found, Some(("STRING_TOO_LONG".to_owned(), Advice::Park)));
        assert_eq!(refusal(&[], attempt), None);
    }
}
