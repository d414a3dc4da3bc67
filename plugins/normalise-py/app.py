"""A mapping that copies fields and normalises some of them, the same way in both directions."""

import tidegate
from tidegate import UNSET, Column, ConfigError, DataType, Direction, RowError, Rule, Trouble

import normalise

COPY = "copy"


class Mapping(tidegate.Mapping):
    def rules(self, config, left, right):
        fields = read(config, left, right)
        return [
            Rule(direction, [ends[0]], [ends[1]])
            for direction in (Direction.LEFT_TO_RIGHT, Direction.RIGHT_TO_LEFT)
            for ends in (towards(direction, field) for field in fields)
        ]

    def map(self, config, direction, batch):
        columns, errors = [], []
        for index, field in enumerate(read(config, [], [])):
            source, target = towards(direction, field)
            column = batch.column(source)
            if column is None:
                continue
            kind = field.get("kind", COPY)
            if kind != COPY:
                column = normalised(column, normalise.KINDS[kind], f"fields[{index}]", errors)
            columns.append(column.renamed(target))
        return columns, errors


def towards(direction, field):
    """The field's name on the side that is read, and on the side that is written."""
    if direction == Direction.LEFT_TO_RIGHT:
        return field["left"], field["right"]
    return field["right"], field["left"]


def normalised(column, change, place, errors):
    def one(row, value):
        if value is None or value is UNSET:
            return value
        try:
            if column.data_type is not DataType.TEXT:
                kind = column.data_type.name.lower()
                raise Trouble("not-text", f"only text can be normalised, not {kind}")
            return change(value)
        except Trouble as trouble:
            errors.append(RowError(row, column.name, place, trouble.code, trouble.message))
            return UNSET

    values = [one(row, value) for row, value in enumerate(column)]
    return Column.build(column.name, DataType.TEXT, values)


def read(config, left, right):
    """The config's fields; raises ConfigError with every mistake."""
    fields = config.get("fields") if isinstance(config, dict) else None
    if not isinstance(fields, list) or not fields:
        raise ConfigError(["fields: must be a list with one field or more"])
    mistakes = []
    for index, field in enumerate(fields):
        mistakes += mistakes_of(field, f"fields[{index}]")
    if not mistakes:
        for side, known in (("left", left), ("right", right)):
            mistakes += mistakes_among(fields, side, {field.name: field for field in known})
    if mistakes:
        raise ConfigError(mistakes)
    return fields


def mistakes_of(field, place):
    if not isinstance(field, dict):
        yield f"{place}: must be a table"
        return
    for key in field.keys() - {"left", "right", "kind"}:
        yield f"{place}.{key}: unknown; left, right and kind are known"
    for side in ("left", "right"):
        name = field.get(side)
        if not isinstance(name, str) or not name:
            yield f"{place}.{side}: must name a field"
    kind = field.get("kind", COPY)
    if kind != COPY and (not isinstance(kind, str) or kind not in normalise.KINDS):
        yield f"{place}.kind: must be one of {', '.join([COPY, *normalise.KINDS])}"


def mistakes_among(fields, side, known):
    seen = {}
    for index, field in enumerate(fields):
        name, place = field[side], f"fields[{index}].{side}"
        if name in seen:
            yield f"{place}: `{name}` is named by fields[{seen[name]}] already"
        seen.setdefault(name, index)
        if not known:
            continue
        if name not in known:
            yield f"{place}: the {side} side has no field `{name}`"
        elif field.get("kind", COPY) != COPY and known[name].data_type is not DataType.TEXT:
            yield f"fields[{index}].kind: `{name}` is {known[name].data_type.name.lower()}, not text"
