"""A mapping to start from: a postcode that one side writes behind its country and the other does not."""

import tidegate
from tidegate import UNSET, Column, DataType, Direction, RowError, Rule, Trouble


class Mapping(tidegate.Mapping):
    def rules(self, config, left, right):
        return [
            Rule(Direction.LEFT_TO_RIGHT, [config["left"]], [config["right"]]),
            Rule(Direction.RIGHT_TO_LEFT, [config["right"]], [config["left"]]),
        ]

    def map(self, config, direction, batch):
        source, target = config["left"], config["right"]
        if direction == Direction.RIGHT_TO_LEFT:
            source, target = target, source
        column, errors = batch.column(source), []
        if column is None:
            return [], errors
        prefix = config["country"] + "-"

        def one(row, value):
            if value is None or value is UNSET:
                return value
            try:
                return changed(value, direction, prefix)
            except Trouble as trouble:
                errors.append(RowError(row, source, "country", trouble.code, trouble.message))
                return UNSET

        values = [one(row, value) for row, value in enumerate(column)]
        return [Column.build(target, DataType.TEXT, values)], errors


def changed(value, direction, prefix):
    """A message names what is wrong, never the value."""
    if not isinstance(value, str):
        raise Trouble("not-text", "a postcode must be text")
    if direction == Direction.LEFT_TO_RIGHT:
        return prefix + value
    if not value.startswith(prefix):
        raise Trouble("other-country", "this postcode is of another country")
    return value.removeprefix(prefix)
