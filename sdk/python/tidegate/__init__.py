"""What a mapping written in Python imports.

`Mapping` is the class to derive from, `Batch`, `Column` and `UNSET` are what it reads and makes,
`ConfigError` and `RowError` are how it says no. The generated bindings (`wit_world`) stay below; an author never
sees an offset or a state byte.
"""

from .mapping import ConfigError, Mapping, RowError, Rule, Trouble
from .records import UNSET, Batch, Column, DataType
from wit_world.exports.mapping import Direction, FieldType

__all__ = [
    "UNSET",
    "Batch",
    "Column",
    "ConfigError",
    "DataType",
    "Direction",
    "FieldType",
    "Mapping",
    "RowError",
    "Rule",
    "Trouble",
]
