"""Features of your own, written down in a file.

.. code-block:: toml

    [[amounts]]
    name = "carts"
    event = "form_submitted"
    where = { form_id = "add_to_cart" }

    [[entities]]
    name = "user"
    key = ["user_id"]

    [[signals]]
    kind = "total"
    name = "carts_7d"
    entity = "user"
    amount = "carts"
    over_days = 7
    unit = "carts"
    range = [0.0, 500.0]
    owner = "shop team"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec

from bidloop.core.errors import ConfigurationError, closest
from bidloop.features.amounts import Amount
from bidloop.features.signal_sets import SignalSet
from bidloop.features.signals import Entity, Signal

TABLES = {"entities": tuple[Entity, ...], "amounts": tuple[Amount, ...], "signals": tuple[Signal, ...]}


def read_definitions(file: Path) -> SignalSet:
    """Read entities, amounts and signals from a TOML file.

    Raises
    ------
    ConfigurationError
        When there is no such file, it is no TOML, or something in it is misspelt: with its place and the closest known word.
    """
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"feature definitions {str(file)!r}: {error.strerror}",
            expected="a TOML file that can be read",
            remedy="Set features.definitions.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"feature definitions {str(file)!r}: {error}", expected="a TOML file") from error
    for name in tree:
        if name not in TABLES:
            raise ConfigurationError(
                f"[[{name}]] in {file}", expected=f"one of {', '.join(TABLES)}", remedy=closest(name, TABLES)
            )
    parts = {name: _converted(file, name, tree.get(name, []), kind) for name, kind in TABLES.items()}
    return SignalSet(**parts)


def _converted(file: Path, table: str, rows: object, kind: Any) -> Any:
    if not isinstance(rows, list):
        raise ConfigurationError(f"[{table}] in {file}", expected=f"[[{table}]], with two brackets, once for each")
    try:
        return msgspec.convert(rows, kind, strict=False)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        known = _known(table, said)
        found = said.partition("`")[2].partition("`")[0] or said.partition("'")[2].partition("'")[0]
        raise ConfigurationError(
            f"[[{table}]]{place.rstrip('`')} in {file}: {said}",
            expected=f"one of {', '.join(known)}" if known else "",
            remedy=closest(found, known),
        ) from error


def _known(table: str, said: str) -> list[str]:
    """What may stand where an unknown field or kind of signal was found; nothing where something else is wrong."""
    structs: tuple[Any, ...] = {"entities": (Entity,), "amounts": (Amount,), "signals": get_args(Signal)}[table]
    if "kind" in said or said.startswith("Invalid value"):
        return [struct.__struct_config__.tag for struct in structs]
    if "unknown field" not in said:
        return []
    return list(dict.fromkeys(name for struct in structs for name in struct.__struct_fields__))
