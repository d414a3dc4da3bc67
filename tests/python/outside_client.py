"""Another application in the same org: edits contacts by simple-salesforce while a sync runs.

Usage: outside_client.py BASE_URL SEED EDITS. Prints a JSON object a line for each change that Salesforce confirmed:
op (create, update or delete), id, and the fields it wrote. The choice of edits follows from the seed and from
the contacts that are there at the start. A row that Salesforce refuses is printed with op "refused" and its code.
"""

import json
import random
import sys

from simple_salesforce import Salesforce, SalesforceError

from loopback import session

STATUSES = ["new", "active", "paused", "closed"]
NAMES = ["Ångström", "Nguyễn", "O'Neill", "名前", "José 🐟", "de la Cruz", "Zażółć", "Smith"]


def edit(dice: random.Random) -> dict:
    """Some of the fields that another application would touch, never the key that others own."""
    choices = {
        "FirstName": lambda: dice.choice(NAMES),
        "LastName": lambda: f"{dice.choice(NAMES)} {dice.randrange(10_000)}",
        "Phone": lambda: dice.choice([None, f"0{dice.randrange(10**9):09}"]),
        "MailingPostalCode": lambda: f"{dice.randrange(100_000):05}",
        "Description": lambda: dice.choice([None, "note ", "“quoted”, with a comma\nand a second line"]),
        "Score__c": lambda: dice.choice([None, dice.randrange(-10**6, 10**6) / 100]),
        "Active__c": lambda: dice.random() < 0.5,
        "Status__c": lambda: dice.choice(STATUSES),
        "Birthdate": lambda: f"{dice.randrange(1900, 2020)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}",
    }
    names = dice.sample(sorted(choices), dice.randrange(1, 4))
    return {name: choices[name]() for name in names}


def change(client: Salesforce, dice: random.Random, ids: list) -> dict:
    draw = dice.random()
    if draw < 0.1 or not ids:
        fields = {**edit(dice), "LastName": f"Outside {dice.randrange(10**9)}"}
        created = client.Contact.create(fields)["id"]
        ids.append(created)
        return {"op": "create", "id": created, "fields": fields}
    if draw < 0.15:
        gone = ids.pop(dice.randrange(len(ids)))
        client.Contact.delete(gone)
        return {"op": "delete", "id": gone, "fields": {}}
    chosen, fields = dice.choice(ids), edit(dice)
    client.Contact.update(chosen, fields)
    return {"op": "update", "id": chosen, "fields": fields}


def main():
    base_url, seed, edits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    dice = random.Random(seed)
    client = Salesforce(
        session=session(base_url), domain="acme.my", client_id="outside",
        consumer_key="simulated-client", consumer_secret="simulated-secret",
    )
    client.session.headers["Sforce-Call-Options"] = "client=outside"
    ids = [record["Id"] for record in client.query_all_iter("SELECT Id FROM Contact ORDER BY Id")]
    for _ in range(edits):
        try:
            done = change(client, dice, ids)
        except SalesforceError as error:
            content = error.content
            code = content[0].get("errorCode") if isinstance(content, list) else None
            done = {"op": "refused", "status": error.status, "code": code}
        print(json.dumps(done), flush=True)


main()
