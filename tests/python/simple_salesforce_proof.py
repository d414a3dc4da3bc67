"""Drives the Salesforce simulator with simple-salesforce, a client that knows nothing of it.

Usage: simple_salesforce_proof.py BASE_URL. Exits with 0 if the simulator passed for Salesforce in every respect.
The simulator needs the field Contact.Legacy_Id__c:text(40):external and a clock that stands still.
"""

import json
import sys
from datetime import datetime, timedelta, timezone

import requests
from simple_salesforce import (
    Salesforce,
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from loopback import session

BASE_URL = sys.argv[1]
APP = {"consumer_key": "simulated-client", "consumer_secret": "simulated-secret"}
USER = {"username": "integration@example.com", "password": "simulated-password"}
DAY_MS = 24 * 60 * 60 * 1000


def admin(method: str, path: str, **body):
    answer = requests.request(method, f"{BASE_URL}/_sim/{path}", json=body or None, timeout=30)
    answer.raise_for_status()
    return answer


def app() -> Salesforce:
    return Salesforce(session=session(BASE_URL), domain="acme.my", **APP)


def equal(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def refused(kind, code, call, *arguments, **options):
    """The call has to fail with this exception of the library and this code of Salesforce."""
    try:
        call(*arguments, **options)
    except kind as error:
        equal(error.content[0]["errorCode"], code)
        return error.content[0]
    raise AssertionError(f"no {kind.__name__}")


def logs_in():
    client = app()
    equal(client.query("SELECT Id FROM Organization")["totalSize"], 1)
    equal(client.is_sandbox(), True)
    with_password = Salesforce(session=session(BASE_URL), security_token="simulated-token", **USER)
    equal(with_password.query("SELECT count() FROM Contact")["totalSize"], 0)
    both = Salesforce(session=session(BASE_URL), **USER, **APP)
    equal(both.query("SELECT count() FROM Contact")["totalSize"], 0)
    for wrong, code in [
        ({"domain": "acme.my", **APP, "consumer_secret": "wrong"}, "invalid_client"),
        ({"domain": "acme.my", **APP, "consumer_key": "wrong"}, "invalid_client_id"),
        ({**USER, "security_token": "wrong"}, "INVALID_LOGIN"),
    ]:
        try:
            Salesforce(session=session(BASE_URL), **wrong)
        except SalesforceAuthenticationFailed as error:
            equal(error.code, code)
        else:
            raise AssertionError(f"{code} was let in")
    direct = Salesforce(
        session=session(BASE_URL), session_id="00Dxx!nonsense", instance_url="https://acme.my.salesforce.com"
    )
    refused(SalesforceExpiredSession, "INVALID_SESSION_ID", direct.query, "SELECT Id FROM Contact")


def describes():
    client = app()
    names = [described["name"] for described in client.describe()["sobjects"]]
    known = ["Account", "Case", "Contact", "Lead", "Opportunity", "Organization"]
    equal(sorted(names), known)
    fields = {field["name"]: field for field in client.Contact.describe()["fields"]}
    equal(fields["LastName"]["nillable"], False)
    equal((fields["Score__c"]["precision"], fields["Score__c"]["scale"]), (12, 2))
    equal(fields["Tidegate_Id__c"]["externalId"] and fields["Tidegate_Id__c"]["unique"], True)
    equal([value["value"] for value in fields["Status__c"]["picklistValues"]], ["new", "active", "paused", "closed"])


def writes_one_by_one():
    client = app()
    person = {
        "FirstName": "  Zoë ", "LastName": "O'Brien 🐙", "Email": "Zoe.Brien@Example.COM", "Birthdate": "1931-02-03",
        "MailingPostalCode": "00123", "Score__c": 1234567890.12, "Active__c": True, "Status__c": "active",
        "Joined__c": "2026-03-01T10:00:00.123+02:00", "Description": "",
    }
    created = client.Contact.create(person)
    equal(created["success"], True)
    contact = client.Contact.get(created["id"])
    equal(contact["FirstName"], "Zoë")
    equal(contact["LastName"], "O'Brien 🐙")
    equal(contact["Email"], "zoe.brien@example.com")
    equal(contact["Birthdate"], "1931-02-03")
    equal(contact["MailingPostalCode"], "00123")
    equal(contact["Score__c"], 1234567890.12)
    equal(contact["Joined__c"], "2026-03-01T08:00:00.123+0000")
    equal(contact["Description"], None)
    equal(client.Contact.update(created["id"], {"Phone": "+44 20 7946 0000"}), 204)
    equal(client.Contact.get(created["id"][:15])["Phone"], "+44 20 7946 0000")
    equal(client.Contact.delete(created["id"]), 204)
    refused(SalesforceResourceNotFound, "ENTITY_IS_DELETED", client.Contact.get, created["id"])
    refused(SalesforceResourceNotFound, "NOT_FOUND", client.Contact.get, "003000000000000AAA")
    equal(client.query("SELECT Id FROM Contact")["totalSize"], 0)
    equal(client.query("SELECT Id FROM Contact WHERE IsDeleted = true", include_deleted=True)["totalSize"], 1)


def refuses_what_is_wrong():
    client = app()
    for fields, code in [
        ({"FirstName": "nameless"}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": "x" * 81}, "STRING_TOO_LONG"),
        ({"LastName": "a", "Email": "nowhere"}, "INVALID_EMAIL_ADDRESS"),
        ({"LastName": "a", "Status__c": "unheard-of"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ({"LastName": "a", "Score__c": 1e10}, "NUMBER_OUTSIDE_VALID_RANGE"),
        ({"LastName": "a", "Nowhere__c": 1}, "INVALID_FIELD"),
        ({"LastName": "a", "SystemModstamp": "2026-01-01T00:00:00Z"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"LastName": "a", "Birthdate": "03.02.1931"}, "JSON_PARSER_ERROR"),
        ({"LastName": "a", "AccountId": "001000000000000AAA"}, "INVALID_CROSS_REFERENCE_KEY"),
    ]:
        refused(SalesforceMalformedRequest, code, client.Contact.create, fields)
    equal(client.query("SELECT count() FROM Contact")["totalSize"], 0)
    refused(SalesforceMalformedRequest, "MALFORMED_QUERY", client.query, "SELECT Id FROM Contact WHERE")
    refused(SalesforceMalformedRequest, "INVALID_TYPE", client.query, "SELECT Id FROM Nothing")
    refused(SalesforceMalformedRequest, "INVALID_FIELD", client.query, "SELECT Nothing FROM Contact")


def upserts():
    client = app()
    key = "Tidegate_Id__c/person-7"
    equal(client.Contact.upsert(key, {"LastName": "first"}), 201)
    equal(client.Contact.upsert(key, {"LastName": "second"}), 200)
    contact = client.query("SELECT Id, LastName FROM Contact WHERE Tidegate_Id__c = 'PERSON-7'")["records"][0]
    equal(contact["LastName"], "second")
    equal(client.Contact.get_by_custom_id("Tidegate_Id__c", "Person-7")["Id"], contact["Id"])
    found = refused(
        SalesforceMalformedRequest, "DUPLICATE_VALUE", client.Contact.create,
        {"LastName": "third", "Tidegate_Id__c": "person-7"},
    )
    assert contact["Id"] in found["message"], found
    for _ in range(2):
        client.Contact.create({"LastName": "twin", "Legacy_Id__c": "twin"})
    try:
        client.Contact.upsert("Legacy_Id__c/twin", {"FirstName": "which"})
    except SalesforceMoreThanOneRecord as error:
        equal(len(error.content), 2)
    else:
        raise AssertionError("an ambiguous upsert went through")


def collects():
    client = app()
    rows = [
        {"attributes": {"type": "Contact"}, "LastName": "row" if place % 2 else None, "Tidegate_Id__c": f"c{place}"}
        for place in range(200)
    ]
    body = {"allOrNone": False, "records": rows}
    path = "composite/sobjects/Contact/Tidegate_Id__c"
    outcomes = client.restful(path, method="PATCH", data=json.dumps(body))
    equal([outcome["success"] for outcome in outcomes], [place % 2 == 1 for place in range(200)])
    equal(outcomes[0]["errors"][0]["statusCode"], "REQUIRED_FIELD_MISSING")
    outcomes = client.restful(path, method="PATCH", data=json.dumps({**body, "allOrNone": True}))
    equal(outcomes[1]["errors"][0]["statusCode"], "ALL_OR_NONE_OPERATION_ROLLED_BACK")
    body["records"].append(rows[1])
    refused(
        SalesforceMalformedRequest, "EXCEEDED_MAX_SIZE_REQUEST",
        client.restful, path, method="PATCH", data=json.dumps(body),
    )


def pages():
    client = app()
    for start in range(0, 2400, 200):
        rows = [{"attributes": {"type": "Account"}, "Name": f"account {start + n:05}"} for n in range(200)]
        client.restful("composite/sobjects", method="POST", data=json.dumps({"records": rows}))
    everything = client.query_all("SELECT Id, Name FROM Account ORDER BY Name")
    equal([r["Name"] for r in everything["records"]], [f"account {n:05}" for n in range(2400)])
    hint = {"Sforce-Query-Options": "batchSize=200"}
    stamps = [
        (r["SystemModstamp"], r["Id"])
        for r in client.query_all_iter("SELECT Id, SystemModstamp FROM Account ORDER BY SystemModstamp, Id", headers=hint)
    ]
    equal(len(set(stamps)), 2400)
    equal(stamps, sorted(stamps))
    first = client.query("SELECT Id FROM Account", headers=hint)
    equal((len(first["records"]), first["done"], first["totalSize"]), (200, False, 2400))
    admin("POST", "cursors/expire")
    refused(
        SalesforceMalformedRequest, "INVALID_QUERY_LOCATOR",
        client.query_more, first["nextRecordsUrl"], identifier_is_url=True,
    )


def feeds():
    client = app()
    now = datetime.fromtimestamp(admin("GET", "clock").json()["now_ms"] / 1000, timezone.utc)
    kept = client.Contact.create({"LastName": "kept"})["id"]
    gone = client.Contact.create({"LastName": "gone"})["id"]
    client.Contact.delete(gone)
    window = (now - timedelta(minutes=10), now + timedelta(minutes=10))
    updated = client.Contact.updated(*window)
    assert kept in updated["ids"] and gone not in updated["ids"], updated
    deleted = client.Contact.deleted(*window)
    assert gone in [record["id"] for record in deleted["deletedRecords"]], deleted


def bulk_loads():
    client = app()
    people = [{"LastName": f"bulk {n}" if n % 100 else "", "Tidegate_Id__c": f"b{n}"} for n in range(1000)]
    jobs = client.bulk2.Contact.upsert(records=people, external_id_field="Tidegate_Id__c", batch_size=400, wait=0)
    equal([(job["numberRecordsTotal"], job["numberRecordsFailed"]) for job in jobs], [(400, 4), (400, 4), (200, 2)])
    handler = client.bulk2.Contact
    failed = [line for job in jobs for line in handler.get_failed_records(job["job_id"]).splitlines()[1:]]
    equal(len(failed), 10)
    assert all("REQUIRED_FIELD_MISSING" in line for line in failed), failed
    written = [line for job in jobs for line in handler.get_successful_records(job["job_id"]).splitlines()[1:]]
    equal(len(written), 990)
    pages = client.bulk2.Contact.query("SELECT Tidegate_Id__c FROM Contact WHERE LastName LIKE 'bulk %'", max_records=400, wait=0)
    read = [page.splitlines()[1:] for page in pages]
    equal([len(rows) for rows in read], [400, 400, 190])
    equal(len({row for rows in read for row in rows}), 990)
    found = client.query("SELECT Id FROM Contact WHERE Tidegate_Id__c IN ('b1', 'b999')")["records"]
    jobs = client.bulk2.Contact.delete(records=[{"Id": record["Id"]} for record in found], wait=0)
    equal((jobs[0]["numberRecordsTotal"], jobs[0]["numberRecordsFailed"]), (2, 0))
    equal(client.query("SELECT Id FROM Contact WHERE Tidegate_Id__c IN ('b1', 'b999')")["totalSize"], 0)


def outlives_its_session():
    client = app()
    admin("POST", "sessions/expire")
    equal(client.query("SELECT Id FROM Organization")["totalSize"], 1)
    admin("POST", "grants/revoke")
    try:
        client.query("SELECT Id FROM Organization")
    except SalesforceAuthenticationFailed as error:
        equal(error.code, "invalid_grant")
    else:
        raise AssertionError("a revoked app was let in")
    admin("POST", "grants/restore")


def hits_the_limit():
    client = app()
    client.query("SELECT Id FROM Organization")
    used = client.api_usage["api-usage"].used
    admin("PUT", "limit", daily=used + 2)
    for more in (1, 2):
        client.query("SELECT Id FROM Organization")
        equal(tuple(client.api_usage["api-usage"]), (used + more, used + 2))
    error = refused(
        SalesforceRefusedRequest, "REQUEST_LIMIT_EXCEEDED", client.query, "SELECT Id FROM Organization"
    )
    equal(error["message"], "TotalRequests Limit exceeded.")
    admin("POST", "clock", advance_ms=DAY_MS)
    client.query("SELECT Id FROM Organization")
    equal(client.api_usage["api-usage"].used, 1)
    equal(admin("GET", "stats").json()["windows"]["daily"]["refused"], 1)


for part in [
    logs_in, describes, writes_one_by_one, refuses_what_is_wrong, upserts, collects, pages, feeds, bulk_loads,
    outlives_its_session, hits_the_limit,
]:
    part()
    print(f"simple-salesforce {part.__name__.replace('_', ' ')}")
