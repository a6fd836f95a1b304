"""Whether the mapping fits the database: tables, columns, their types, and what our account may do with them."""

from __future__ import annotations

from collections.abc import Iterator

from crystal_search import settings
from crystal_search.doctor.dictionary import Column, Dictionary, Place
from crystal_search.doctor.findings import Finding, error, ok, warning
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.names import columns_of, tables

#: Without these nothing works; the others serve data sets, families and listings.
REQUIRED = ("I_INSPECTIONS", "I_IMAGES", "I_SCORES", "ARTSCORES_OWN", "ARTSCORE_SEQ")
SCORE_TABLE = ("I_SCORES", "ARTSCORES_OWN")
_OURS = {
    "ARTSCORES_OWN": "the view through which we write: the DBA runs docs/how-to/oracle-dba.sql",
    "ARTSCORE_SEQ": "our own numbers: the DBA runs docs/how-to/oracle-dba.sql",
}
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
_DATES = frozenset({"INSPECTDATE", "SCOREDATE", "SETUP_DATE"})
_TEXTS = frozenset(
    {"BARCODEID", "BARCODE", "IMAGENAME", "SCORE", "SCOREDBY", "PLATE_NAME", "NAME", "SAMPLE_NAME", "CONDITION_TEXT", "FAMILY"}
)
#: What a type has to begin with. A column of dates holds ISO text in SQLite.
_FIT = {
    "number": ("NUMBER", "INTEGER", "FLOAT", "BINARY_"),
    "text": ("VARCHAR", "CHAR", "NVARCHAR", "NCHAR", "TEXT"),
    "date": ("DATE", "TIMESTAMP", "TEXT"),
}


def mapping(section: settings.XtalTrak, xtaltrak: XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """Every table and column of the mapping, against the dictionary."""
    good = 0
    mapped = tables(section.details or ())
    for key in mapped:
        place = dictionary.place(key)
        if place is None and key == "ARTSCORES_OWN" and not dictionary.is_oracle:
            continue  # made when it is needed
        if place is None:
            yield _missing(key, xtaltrak.names[key])
            continue
        findings = list(_columns(xtaltrak, dictionary, key, place))
        good += not findings
        yield from findings
    yield ok("mapping", f"{good} of {len(mapped)} tables and views are as the mapping says")


def own_tables(asked: settings.Finalizer, xtaltrak: XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """The tables of ours that the settings ask for (rule 7): there, with their columns, and ours to fill and to empty."""
    wanted = {"ARTSCORES": asked.own_table, "ARTSCORE_REGIONS": asked.regions, "ARTSCORE_PICTURES": asked.pictures == "database"}
    if not dictionary.is_oracle or not any(wanted.values()):
        return
    for key in (key for key, on in wanted.items() if on):
        place = dictionary.place(key)
        if place is None:
            yield error("own tables", f"{xtaltrak.names[key]} is not there, or our account has no grant on it", _DBA_SCRIPT)
            continue
        found = dictionary.columns(place)
        if lacking := ", ".join(name for column in columns_of(key) if (name := xtaltrak.names[f"{key}.{column}"]) not in found):
            yield error("own tables", f"{place} has no column {lacking}", _DBA_SCRIPT)
        if missing := ", ".join(sorted({"SELECT", "INSERT", "DELETE"} - dictionary.privileges(place))):
            yield error("own tables", f"our account lacks {missing} on {place}", f"the DBA runs: GRANT {missing} ON {place} TO our account")


_DBA_SCRIPT = "`crystal-search dba-script` prints what makes it; or leave it out in [finalizer]"


def _missing(key: str, name: str) -> Finding:
    what = f"{name} (for {key}) is not there, or our account has no grant on it"
    if key in _OURS:
        return error("mapping", what, _OURS[key], forbids_writing=True)
    if key in REQUIRED:
        return error("mapping", what, f"set xtaltrak.names {key}, or the DBA grants SELECT on it", forbids_writing=True)
    return warning("mapping", what, f"only listings, hits and data sets by protein need it: set xtaltrak.names {key}, or leave it")


def _columns(xtaltrak: XtalTrak, dictionary: Dictionary, key: str, place: Place) -> Iterator[Finding]:
    if key == "ARTSCORE_SEQ" and dictionary.is_oracle:
        return
    found = dictionary.columns(place)
    wanted = columns_of("I_SCORES") if key == "ARTSCORES_OWN" else columns_of(key)
    table = "I_SCORES" if key == "ARTSCORES_OWN" else key
    for column in wanted:
        name = xtaltrak.names[f"{table}.{column}"]
        if name not in found:
            forbids = key in REQUIRED
            remedy = f"set xtaltrak.names {table}.{column}; it has {', '.join(sorted(found)) or 'no columns that we see'}"
            yield error("mapping", f"{place} has no column {name}", remedy, forbids_writing=forbids)
        elif key != "ARTSCORES_OWN":
            yield from _type(key, column, place, found[name])


def _type(key: str, column: str, place: Place, found: Column) -> Iterator[Finding]:
    kind = "date" if column in _DATES else "text" if column in _TEXTS else "number"
    if not found.type.startswith(_FIT[kind]):
        yield error(
            "mapping", f"{place}.{found.name} is a {found.type}, not a {kind}", "map the right column", forbids_writing=key in REQUIRED
        )
    elif found.type in ("CHAR", "NCHAR") and (column != "SCORE" or found.length != 2):
        yield error(
            "mapping",
            f"{place}.{found.name} is {found.type}({found.length}): its values end with blanks, and compare with nothing that we know",
            "map a column or view with VARCHAR2, such as RTRIM(column)",
            forbids_writing=key in REQUIRED,
        )


def grants(section: settings.XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """What our account may do: read, and write our own view only (write-back rule 2)."""
    if not dictionary.is_oracle:
        yield ok("grants", "SQLite knows none: who can write the file can write all of it")
        return
    places = {key: place for key in tables(section.details or ()) if (place := dictionary.place(key))}
    findings = [finding for key, place in places.items() for finding in _grants_on(key, place, dictionary.privileges(place))]
    yield from findings or [ok("grants", "our account may do what it needs, and no more")]


def _grants_on(key: str, place: Place, may: frozenset[str]) -> Iterator[Finding]:
    needed = {"SELECT", *_WRITES} if key == "ARTSCORES_OWN" else {"SELECT"}
    if key not in SCORE_TABLE and "READ" in may:  # locking the score table takes SELECT
        needed = set()
    if missing := ", ".join(sorted(needed - may)):
        remedy = f"the DBA runs: GRANT {missing} ON {place} TO our account"
        yield error("grants", f"our account lacks {missing} on {place}", remedy, forbids_writing=key in REQUIRED)
    if key not in _OURS and (more := ", ".join(sorted(may & _WRITES))):
        remedy = "the DBA revokes it (docs/how-to/oracle-dba.sql), so that the database itself guards people's scores"
        yield warning("grants", f"our account may {more} on {place}, which it never needs", remedy)
