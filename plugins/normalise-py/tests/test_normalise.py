"""The mapping in CPython, over bindings that componentize-py generates.

Run with the bindings, sdk/python and the plugin's folder on PYTHONPATH: `python -m unittest discover tests`.
"""

import json
import unittest

from componentize_py_types import Err
from wit_world.exports.mapping import Context, FieldType
from wit_world.imports.faults import FaultKind

import normalise
from app import Mapping
from tidegate import UNSET, Batch, Column, DataType, Direction, Trouble

CASES = {
    "text": [("  a \t\n b ", "a b"), ("", ""), ("Zoë  🎈", "Zoë 🎈")],
    "name": [
        (" ada  LOVELACE", "ada LOVELACE"),
        ("ANNE-MARIE O'NEIL", "Anne-Marie O'neil"),
        ("émile zola", "Émile Zola"),
        ("van der Berg", "van der Berg"),
        ("李小龍", "李小龍"),
    ],
    "email": [(" Ada@Example.ORG ", "ada@example.org"), ("", "")],
    "phone": [
        ("+44 (20) 7946-0018", "+442079460018"),
        ("0044 20 7946 0018", "+442079460018"),
        ("(00)44 20 7946 0018", "+442079460018"),
        ("020.7946.0018", "02079460018"),
        ("", ""),
    ],
}
REFUSED = {
    "email": ["ada", "@example.org", "ada@", "a@b@c", "a b@c"],
    "phone": ["call me", "12", "+1+2+3", "1234567890123456", "٠١٢٣"],
}


def context(fields, left=(), right=()):
    return Context(json.dumps({"fields": fields}), list(left), list(right))


class Kinds(unittest.TestCase):
    def test_each_kind_writes_one_form_and_leaves_it_alone(self):
        for kind, cases in CASES.items():
            for value, expected in cases:
                with self.subTest(kind=kind, value=value):
                    once = normalise.KINDS[kind](value)
                    self.assertEqual(once, expected)
                    self.assertEqual(normalise.KINDS[kind](once), once)

    def test_what_is_not_of_its_kind_is_refused_without_being_shown(self):
        for kind, values in REFUSED.items():
            for value in values:
                with self.subTest(kind=kind, value=value):
                    with self.assertRaises(Trouble) as raised:
                        normalise.KINDS[kind](value)
                    self.assertNotIn(value, raised.exception.message)


class Maps(unittest.TestCase):
    FIELDS = [
        {"left": "email", "right": "Email", "kind": "email"},
        {"left": "score", "right": "Score__c"},
    ]

    def test_a_batch_both_ways(self):
        batch = Batch.build(
            4,
            [
                Column.build("email", DataType.TEXT, ["A@B", None, UNSET, "nobody"]),
                Column.build("score", DataType.DECIMAL, ["1.50", "0", None, UNSET]),
                Column.build("other", DataType.BYTES, [b"x"] * 4),
            ],
        )
        mapped = Mapping().map_batch(
            context(self.FIELDS), Direction.LEFT_TO_RIGHT, batch.to_wit()
        )
        right = Batch(mapped.batch)
        self.assertEqual([column.name for column in right.columns], ["Email", "Score__c"])
        self.assertEqual(list(right.column("Email")), ["a@b", None, UNSET, UNSET])
        self.assertEqual(list(right.column("Score__c")), ["1.50", "0", None, UNSET])
        error = mapped.errors[0]
        self.assertEqual(
            (len(mapped.errors), error.row, error.field, error.rule, error.code),
            (1, 3, "email", "fields[0]", "not-an-email"),
        )
        back = Mapping().map_batch(
            context(self.FIELDS), Direction.RIGHT_TO_LEFT, right.to_wit()
        )
        records = list(Batch(back.batch).records())
        self.assertEqual(records[0], {"email": "a@b", "score": "1.50"})
        self.assertEqual(records[3], {})

    def test_every_type_survives_building_and_reading(self):
        values = {
            DataType.BOOLEAN: [True, None, False],
            DataType.INTEGER: [-(2**63), None, 2**63 - 1],
            DataType.FLOAT: [0.1, UNSET, -1e300],
            DataType.DECIMAL: ["-0.50", None, "7"],
            DataType.TEXT: ["", "🎈", UNSET],
            DataType.TIMESTAMP: [-1, 0, None],
            DataType.DATE: [-1, UNSET, 20000],
            DataType.BYTES: [b"\x00", b"", None],
            DataType.JSON: ["{}", None, "[1]"],
        }
        for data_type, expected in values.items():
            with self.subTest(data_type=data_type):
                column = Column.build("a", data_type, expected)
                self.assertEqual((list(column), column.data_type), (expected, data_type))
                self.assertEqual(len(column), 3)
        with self.assertRaises(TypeError):
            Column.build("a", DataType.INTEGER, [True])

    def test_describe_names_fields_and_every_mistake(self):
        rules = Mapping().describe(context(self.FIELDS))
        self.assertEqual(
            [(rule.inputs, rule.outputs) for rule in rules],
            [(["email"], ["Email"]), (["score"], ["Score__c"]), (["Email"], ["email"]), (["Score__c"], ["score"])],
        )
        wrong = [
            ([7, {"left": "a"}, {"left": "a", "right": "b", "kind": "x", "y": 1}], (), [
                "fields[0]: must be a table",
                "fields[1].right: must name a field",
                "fields[2].y: unknown",
                "fields[2].kind: must be one of copy, text",
            ]),
            ([{"left": "a", "right": "A", "kind": "name"}, {"left": "a", "right": "B"}, {"left": "c", "right": "C"}],
             [FieldType("a", DataType.INTEGER, True, None, None)], [
                "fields[0].kind: `a` is integer, not text",
                "fields[1].left: `a` is named by fields[0] already",
                "fields[2].left: the left side has no field `c`",
            ]),
            ([], (), ["fields: must be a list"]),
        ]
        for fields, left, mistakes in wrong:
            with self.subTest(fields=fields):
                with self.assertRaises(Err) as raised:
                    Mapping().describe(context(fields, left))
                fault = raised.exception.value
                self.assertEqual(fault.kind, FaultKind.CONFIG)
                lines = fault.message.splitlines()
                self.assertEqual(len(lines), len(mistakes), lines)
                for line, mistake in zip(lines, mistakes):
                    self.assertTrue(line.startswith(mistake), line)


if __name__ == "__main__":
    unittest.main()
