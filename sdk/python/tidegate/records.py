"""Records as columns: values in, values out.

Python's side of the interface's types: boolean is `bool`, integer and timestamp (microseconds since 1970) and
date (days since 1970) are `int`, float is `float`, text, decimal (`-?digits[.digits]`) and json are `str`, bytes are
`bytes`. `None` empties a field; `UNSET` leaves it alone.
"""

from wit_world.imports import records as wit
from wit_world.imports.records import DataType

_VALUE, _NULL, _UNSET = 0, 1, 2


class _Unset:
    """The field was not sent: leave it alone."""

    def __repr__(self):
        return "UNSET"

    def __bool__(self):
        return False


UNSET = _Unset()

_CASES = {
    DataType.BOOLEAN: wit.Values_Boolean,
    DataType.INTEGER: wit.Values_Integer,
    DataType.FLOAT: wit.Values_Float,
    DataType.DECIMAL: wit.Values_Decimal,
    DataType.TEXT: wit.Values_Text,
    DataType.TIMESTAMP: wit.Values_Timestamp,
    DataType.DATE: wit.Values_Date,
    DataType.BYTES: wit.Values_Bytes,
    DataType.JSON: wit.Values_Json,
}
_TYPES = {case: data_type for data_type, case in _CASES.items()}
_PACKED = (DataType.DECIMAL, DataType.TEXT, DataType.BYTES, DataType.JSON)


class Column:
    """One field of every record."""

    def __init__(self, column):
        self._column = column

    @classmethod
    def build(cls, name, data_type, values):
        """A column from Python values, `None` and `UNSET`; raises TypeError for a value of another type."""
        values = list(values)
        states = bytes(
            _NULL if value is None else _UNSET if value is UNSET else _VALUE
            for value in values
        )
        present = [None if state else value for state, value in zip(states, values)]
        held = _CASES[data_type](_pack(name, data_type, present))
        return cls(wit.Column(name, states if any(states) else b"", held))

    @property
    def name(self):
        return self._column.name

    @property
    def data_type(self):
        return _TYPES[type(self._column.values)]

    def renamed(self, name):
        """The same values under another name; nothing is copied or looked at."""
        return Column(wit.Column(name, self._column.states, self._column.values))

    def __len__(self):
        held = self._column.values.value
        return len(held.ends) if self.data_type in _PACKED else len(held)

    def __iter__(self):
        """The values in row order."""
        values = _unpack(self.data_type, self._column.values.value)
        states = self._column.states
        if not states:
            return values
        return (
            value if state == _VALUE else None if state == _NULL else UNSET
            for state, value in zip(states, values)
        )

    def to_wit(self):
        return self._column


class Batch:
    """Records of one object."""

    def __init__(self, batch):
        self.rows = batch.rows
        self._columns = {column.name: Column(column) for column in batch.columns}

    @classmethod
    def build(cls, rows, columns):
        """A batch from columns of `rows` values each."""
        batch = cls(wit.Batch(rows, []))
        for column in columns:
            if len(column) != rows:
                raise ValueError(f"column {column.name} has {len(column)} rows, not {rows}")
            if column.name in batch._columns:
                raise ValueError(f"column {column.name} appears twice")
            batch._columns[column.name] = column
        return batch

    def column(self, name):
        """The field's column, or None when the batch does not carry it."""
        return self._columns.get(name)

    @property
    def columns(self):
        return list(self._columns.values())

    def records(self):
        """The records in order, each a dict of the fields that were sent. Columns are quicker."""
        walks = [(name, iter(column)) for name, column in self._columns.items()]
        for _ in range(self.rows):
            fields = ((name, next(walk)) for name, walk in walks)
            yield {name: value for name, value in fields if value is not UNSET}

    def to_wit(self):
        return wit.Batch(self.rows, [column.to_wit() for column in self._columns.values()])


def _unpack(data_type, held):
    if data_type is DataType.BOOLEAN:
        return (value != 0 for value in held)
    if data_type not in _PACKED:
        return iter(held)
    if data_type is DataType.BYTES:
        return _spans(held)
    return (span.decode("utf-8") for span in _spans(held))


def _spans(packed):
    content, start = packed.bytes, 0
    for end in packed.ends:
        yield content[start:end]
        start = end


_EXPECTED = {
    DataType.BOOLEAN: bool,
    DataType.INTEGER: int,
    DataType.FLOAT: float,
    DataType.DECIMAL: str,
    DataType.TEXT: str,
    DataType.TIMESTAMP: int,
    DataType.DATE: int,
    DataType.BYTES: bytes,
    DataType.JSON: str,
}


def _pack(name, data_type, values):
    expected = _EXPECTED[data_type]
    for value in values:
        if value is not None and type(value) is not expected:
            raise TypeError(
                f"column {name} takes {expected.__name__}, not {type(value).__name__}"
            )
    if data_type is DataType.BOOLEAN:
        return bytes(1 if value else 0 for value in values)
    if data_type not in _PACKED:
        nothing = expected()
        return [nothing if value is None else value for value in values]
    spans = [
        b"" if value is None else value if data_type is DataType.BYTES else value.encode("utf-8")
        for value in values
    ]
    ends, end = [], 0
    for span in spans:
        end += len(span)
        ends.append(end)
    return wit.Packed(b"".join(spans), ends)
