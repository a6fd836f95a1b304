"""XtalTrak's table and column names: the default mapping, and a site's own names over it.

The defaults are what one site's published code uses, never the truth: every name is configurable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from crystal_search.errors import SettingsError

_TABLES: dict[str, tuple[str, ...]] = {
    "I_INSPECTIONS": ("INSPECTID", "BARCODEID", "INSPECTNUMBER", "INSPECTDATE", "COL", "I_ROW", "SUBWELL"),
    "I_IMAGES": ("INSPECTID", "IMAGENAME"),
    "I_SCORES": ("SCOREID", "INSPECTID", "SCORE", "SCOREDATE", "IMAGENAME", "SCOREDBY"),
    "I_PLATE_INSPECTIONS": ("BARCODEID", "INSPECTNUMBER", "INSPECTDATE", "DROPVIEWCOUNT", "DROPSCORECOUNT"),
    "PLATES": ("PLATE_ID", "BARCODE", "PLATE_NAME", "SETUP_DATE", "PROJECT_ID"),
    "PROJECTS": ("PROJECT_ID", "NAME"),
    "PLATE_DROPS": ("FK_PLATE_ID", "FK_SAMPLE_ID"),
    "SAMPLES": ("SAMPLE_ID", "SAMPLE_NAME"),
    # our own: the view of the score table through which we write, with its columns
    "ARTSCORES_OWN": (),
    # our own: the view of people's rows through which the viewer writes under a person's name
    "PEOPLE_SCORES": (),
    # our own: numbers for SCOREID that the vendor's never reach; a sequence in Oracle, a table of one row in SQLite
    "ARTSCORE_SEQ": ("LAST_ID",),
}

#: Every name that a statement may use, as itself: tables ``I_SCORES``, columns ``I_SCORES.SCORE``.
DEFAULT_NAMES: Mapping[str, str] = MappingProxyType(
    {table: table for table in _TABLES} | {f"{table}.{column}": column for table, columns in _TABLES.items() for column in columns}
)

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def resolve_names(changes: Mapping[str, str]) -> Mapping[str, str]:
    """The defaults with a site's ``changes`` (``settings.xtaltrak.names``, whose values are valid identifiers) over them.

    Raises ``SettingsError`` with one line for each key that names no table or column of ours, and for a column with a schema.
    """
    mistakes = [f"xtaltrak.names: {key} is no table or column that we use" for key in sorted(changes.keys() - DEFAULT_NAMES.keys())]
    mistakes += [
        f"xtaltrak.names: {key} = {value!r}: a column's name holds no dot" for key, value in changes.items() if "." in key and "." in value
    ]
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    return MappingProxyType({**DEFAULT_NAMES, **changes})


def statement(dialect: str, name: str, names: Mapping[str, str]) -> str:
    """The SQL text of ``sql/<dialect>/<name>.sql`` with its placeholders filled in from ``names``.

    Raises ``SettingsError`` for a placeholder that is not in ``names``.
    """

    def fill(match: re.Match[str]) -> str:
        if match[1] not in names:
            raise SettingsError(f"sql/{dialect}/{name}.sql: unknown placeholder {match[0]}")
        return names[match[1]]

    return _PLACEHOLDER.sub(fill, _template(dialect, name))


@cache
def _template(dialect: str, name: str) -> str:
    return (Path(__file__).parent / "sql" / dialect / f"{name}.sql").read_text(encoding="utf-8").strip().removesuffix(";")
