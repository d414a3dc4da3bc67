"""What a mapping implements: `rules` and `map`.

Name your class `Mapping` in the module that plugin.toml calls `entry`; the component's exports are looked up by
that name. The host calls `describe` and `map_batch`, which read the config, call yours, and turn exceptions into
faults.
"""

import json
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.mapping import Direction, Mapped, RowError, Rule
from wit_world.imports.faults import Executed, Fault, FaultKind

from .records import Batch


class ConfigError(Exception):
    """Everything that is wrong with the config, each with its place: `fields[2].kind: ...`."""

    def __init__(self, mistakes):
        super().__init__("\n".join(mistakes))
        self.mistakes = list(mistakes)


class Trouble(Exception):
    """A value that can't be mapped: a stable code, and words that do not contain the value."""

    def __init__(self, code, message):
        super().__init__(code)
        self.code = code
        self.message = message


class Mapping(exports.Mapping):
    """Derive from it, and keep nothing between calls: each gets a fresh interpreter."""

    def rules(self, config, left, right):
        """The list of `Rule`s. `left` and `right` are the sides' `FieldType`s as far as they are known.

        Raises ConfigError with every mistake at once.
        """
        raise NotImplementedError

    def map(self, config, direction, batch):
        """The mapped columns, and the list of `RowError`s."""
        raise NotImplementedError

    def describe(self, context):
        return _answer(lambda: self.rules(_config(context), context.left, context.right))

    def map_batch(self, context, direction, batch):
        def mapped():
            config = _config(context)
            columns, errors = self.map(config, direction, Batch(batch))
            return Mapped(Batch.build(batch.rows, columns).to_wit(), errors)

        return _answer(mapped)


def _config(context):
    try:
        return json.loads(context.config)
    except ValueError as error:
        raise ConfigError([f"config: not JSON: {error.msg}"]) from error


def _answer(function):
    try:
        return function()
    except ConfigError as error:
        raise Err(_fault(FaultKind.CONFIG, "mapping-config", str(error))) from error
    except Exception as error:
        # The error's own text may quote a value, so only its name and place go out.
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = (
            f"the mapping failed with {type(error).__name__} in {place.filename.rsplit('/', 1)[-1]}, "
            f"line {place.lineno}; report this to its author"
        )
        raise Err(_fault(FaultKind.BROKEN, "mapping-failed", message)) from error


def _fault(kind, code, message):
    return Fault(kind, code, message, None, Executed.NO)


__all__ = ["ConfigError", "Direction", "Mapping", "RowError", "Rule", "Trouble"]
