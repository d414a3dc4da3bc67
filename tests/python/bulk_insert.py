"""Fills an org from a database by simple-salesforce, as the library's description of its Bulk 2.0 support has it.

Usage: bulk_insert.py BASE_URL CLIENT_ID CLIENT_SECRET DATABASE QUERY JOBS. The query's columns are the fields of a Contact.
Prints a JSON object: records, failed, and cpu_s, the processor time of this process with its start.
"""

import json
import resource
import sqlite3
import sys

from simple_salesforce import Salesforce

from loopback import session


def main():
    base_url, client_id, secret, database, query, jobs = sys.argv[1:]
    client = Salesforce(session=session(base_url), domain="acme.my", consumer_key=client_id, consumer_secret=secret)
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    records = [dict(row) for row in connection.execute(query)]
    done = client.bulk2.Contact.insert(records=records, batch_size=10_000, concurrency=int(jobs))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "records": sum(job["numberRecordsTotal"] for job in done),
        "failed": sum(job["numberRecordsFailed"] for job in done),
        "cpu_s": used.ru_utime + used.ru_stime,
    }))


main()
