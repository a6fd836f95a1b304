"""XtalTrak's table and column names: the default mapping, and a site's own names over it.

The defaults are what one site's published code uses, never the truth: every name is configurable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
    # no vendor's: what a site knows of wells and proteins, as a table or a view of this shape (docs/how-to/hits.md)
    "WELL_CONDITIONS": ("FK_PLATE_ID", "COL", "I_ROW", "CONDITION_TEXT"),
    "SAMPLE_FAMILIES": ("FK_SAMPLE_ID", "FAMILY"),
    # our own: the view of the score table through which we write, with its columns
    "ARTSCORES_OWN": (),
    # our own: numbers for SCOREID that the vendor's never reach; a sequence in Oracle, a table of one row in SQLite
    "ARTSCORE_SEQ": ("LAST_ID",),
    # our own: every ARTscore, the withheld ones too, with its regions and its picture where the settings ask for them
    "ARTSCORES": (
        *("BATCH", "INSPECTID", "IMAGENAME", "INSPECTDATE", "OUTCOME", "SCORE", "CLASSNAME", "PROBABILITY", "CRYSTALPROBABILITY"),
        *("MODEL", "MODELHASH", "DROPX0", "DROPY0", "DROPX1", "DROPY1", "BESTX0", "BESTY0", "BESTX1", "BESTY1"),
    ),
    "ARTSCORE_REGIONS": ("BATCH", "INSPECTID", "IMAGENAME", "PLACE", "CLASSNAME", "PROBABILITY", "X0", "Y0", "X1", "Y1"),
    "ARTSCORE_PICTURES": ("BATCH", "INSPECTID", "IMAGENAME", "PICTURE"),
    # our own: the view in which people's scores and ours stand beside each other, people's first
    "ARTSCORES_BOTH": (),
}

#: Every name that a statement may use, as itself: tables ``I_SCORES``, columns ``I_SCORES.SCORE``.
DEFAULT_NAMES: Mapping[str, str] = MappingProxyType(
    {table: table for table in _TABLES} | {f"{table}.{column}": column for table, columns in _TABLES.items() for column in columns}
)


#: Ours alone, and there only where the settings ask for them.
OWN_TABLES = ("ARTSCORES", "ARTSCORE_REGIONS", "ARTSCORE_PICTURES", "ARTSCORES_BOTH")


#: What only some sites have, by what ``settings.xtaltrak.details`` calls it.
DETAIL_TABLES = {"conditions": "WELL_CONDITIONS", "families": "SAMPLE_FAMILIES"}


def tables(details: Collection[str] = ()) -> tuple[str, ...]:
    """The keys of tables, views and the sequence, without columns, without ``OWN_TABLES``, and of ``DETAIL_TABLES`` those asked for."""
    left_out = {*OWN_TABLES, *(table for detail, table in DETAIL_TABLES.items() if detail not in details)}
    return tuple(key for key in _TABLES if key not in left_out)


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of a table that we use, by their default names."""
    return _TABLES[table]


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
