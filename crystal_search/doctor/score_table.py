"""Whether scores may be written: triggers, keys, the view, numbers, codes and dates of the score table (write-back rule 6)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from crystal_search import settings
from crystal_search.doctor.dictionary import Dictionary, Place
from crystal_search.doctor.findings import Finding, error, ok, warning
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.names import columns_of

#: How many of people's newest scores are looked at.
NEWEST = 200_000
#: How many codes that nobody of ours knows are shown.
_SHOWN = 8


def triggers(section: settings.XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """A trigger may change what we write, or other rows when we do."""
    for key in ("I_SCORES", "ARTSCORES_OWN") if dictionary.is_oracle else ("I_SCORES",):
        if (place := dictionary.place(key)) is None:
            continue
        found = dictionary.triggers(place)
        if found is None:
            what = f"our account can not see whether {place} has triggers"
            yield error("triggers", what, f"the DBA runs: GRANT SELECT ON SYS.DBA_TRIGGERS TO {dictionary.user}", forbids_writing=True)
            continue
        unknown = [name for name in found if name not in section.known_triggers]
        for name in unknown:
            remedy = f'see what it does; if it leaves other rows alone: xtaltrak.known_triggers = ["{name}"]'
            yield error("triggers", f"{place} has a trigger that we do not know: {name}", remedy, forbids_writing=True)
        if not unknown:
            yield ok("triggers", f"{place}: {', '.join(found) + ', known' if found else 'none'}")


def keys(xtaltrak: XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """A key on the image without the scorer: our row would keep a person's out."""
    if (place := dictionary.place("I_SCORES")) is None:
        return
    harmless = {xtaltrak.names["I_SCORES.SCOREID"], xtaltrak.names["I_SCORES.SCOREDBY"]}
    bad: dict[frozenset[str], str] = {}  # a key and its index are one
    for name, columns in dictionary.unique_keys(place).items():
        if not columns & harmless:
            bad.setdefault(columns, name)
    for columns, name in bad.items():
        same = ", ".join(sorted(columns))
        what = f"{place}: {name} lets only one row have the same {same}, whoever scores: ours would keep a person's out"
        yield error("keys", what, "the DBA adds the scorer to that key, or ARTscores stay in our own table", forbids_writing=True)
    if not bad:
        yield ok("keys", f"{place}: no key keeps a person's score out beside ours")


def required_columns(xtaltrak: XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """A column that has to be given and that we do not know would refuse every row of ours."""
    if (place := dictionary.place("I_SCORES")) is None:
        return
    ours = {xtaltrak.names[f"I_SCORES.{column}"] for column in columns_of("I_SCORES")}
    for column in dictionary.columns(place).values():
        if column.required and column.name not in ours:
            what = f"{place}.{column.name} has to be given a value, and we know none"
            yield error("columns", what, "the DBA gives it a default", forbids_writing=True)


def own_view(xtaltrak: XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """The database's own wall around people's rows (write-back rule 2)."""
    place = dictionary.place("ARTSCORES_OWN")
    if place is None or not dictionary.is_oracle:
        return
    remedy = "the DBA makes it as docs/how-to/oracle-dba.sql says, for the scorer of xtaltrak.scorer"
    view = dictionary.view(place)
    if view is None:
        yield error("view", f"{place} is no view: nothing but our own statements would guard people's scores", remedy, forbids_writing=True)
    elif "'" + xtaltrak.scorer.replace("'", "''") + "'" not in view.text:
        yield error("view", f"{place} is not made for our scorer {xtaltrak.scorer!r}", remedy, forbids_writing=True)
    elif not view.has_check_option:
        yield error("view", f"{place} lacks WITH CHECK OPTION", remedy, forbids_writing=True)
    else:
        yield ok("view", f"{place} shows and takes rows of {xtaltrak.scorer} only")


def numbers(xtaltrak: XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """Our numbers for SCOREID are never the vendor's, and fit into the column."""
    place = dictionary.place("ARTSCORE_SEQ")
    scores = dictionary.place("I_SCORES")
    if place is None or scores is None or (sequence := dictionary.sequence(place)) is None:
        return
    ((largest,),) = xtaltrak.query("doctor_last_score")
    column = dictionary.columns(scores).get(xtaltrak.names["I_SCORES.SCOREID"])
    remedy = "the DBA makes the sequence anew with a start far above (docs/how-to/oracle-dba.sql)"
    if sequence.step < 1:
        yield error("numbers", f"{place} counts down", remedy, forbids_writing=True)
    elif largest is not None and int(largest) >= sequence.next_number:
        yield error(
            "numbers", f"{place} gives {sequence.next_number} next, {scores} has numbers up to {largest}", remedy, forbids_writing=True
        )
    elif column is not None and column.digits is not None and sequence.next_number >= 10**column.digits:
        yield error(
            "numbers", f"{place} gives {sequence.next_number} next, {scores} takes {column.digits} digits", remedy, forbids_writing=True
        )
    else:
        yield ok("numbers", f"{place} gives {sequence.next_number} next, {scores} has numbers up to {largest or 0}")


def codes(section: settings.XtalTrak, xtaltrak: XtalTrak, dictionary: Dictionary) -> Iterator[Finding]:
    """Our codes fit the column and its rules, and people use codes that we know."""
    if (place := dictionary.place("I_SCORES")) is None:
        return
    ours = section.score_codes.all
    column = dictionary.columns(place).get(xtaltrak.names["I_SCORES.SCORE"])
    remedy = "set xtaltrak.codes: the site's code for each class"
    findings: list[Finding] = []
    if column is not None and column.length is not None and (long := [code for code in ours if len(code) > column.length]):
        what = f"{place}.{column.name} takes {column.length} characters, and our codes {', '.join(long)} are longer"
        findings.append(error("codes", what, remedy, forbids_writing=True))
    if column is not None:
        findings += _allowed(dictionary, place, column.name, ours, remedy)
    if mixed := section.score_codes.mixed:
        findings.append(warning("codes", f"classes of different groups share the score {', '.join(mixed)}", remedy))
    used = {("" if code is None else str(code).strip()): int(count) for code, count in xtaltrak.query("doctor_codes", _newest(xtaltrak))}
    used.pop("", None)
    known = {code for code in used if section.score_codes.is_known(code)}
    if unknown := sorted(used.keys() - known, key=lambda code: -used[code]):
        what = f"people use codes that no class of ours has: {', '.join(f'{code} ({used[code]})' for code in unknown[:_SHOWN])}"
        if known:
            findings.append(warning("codes", what, f"{remedy}; what stays unknown protects its drop all the same"))
        else:
            findings.append(error("codes", f"{what}, and none of ours", remedy, forbids_writing=True))
    yield from findings or [ok("codes", f"people's newest scores use {', '.join(sorted(used)) or 'none yet'}; we write {', '.join(ours)}")]


def _allowed(dictionary: Dictionary, place: Place, column: str, ours: list[str], remedy: str) -> Iterator[Finding]:
    """What the column's own rules say of our codes, as far as that can be read."""
    for rule in dictionary.rules(place):
        if rule.column != column:
            continue
        if rule.condition is None:
            what = f"{place}.{column} takes only what another table has ({rule.name})"
            yield warning("codes", what, f"see that {', '.join(ours)} are in it, else: {remedy}")
        elif (listed := _in_list(rule.condition)) and (strange := [code for code in ours if code not in listed]):
            what = f"{place}.{column} takes only {', '.join(sorted(listed))} ({rule.name}), not {', '.join(strange)}"
            yield error("codes", what, remedy, forbids_writing=True)


def _in_list(condition: str) -> set[str]:
    """The items of a condition that is one IN list of texts; empty for any other.

    >>> sorted(_in_list("SCORE IN ('01', '23')"))
    ['01', '23']
    """
    found = re.fullmatch(r"\(?\s*\"?[A-Z0-9_$#]+\"?\s+IN\s*\(((?:\s*'[^']*'\s*,?)+)\)\s*\)?", condition.strip(), re.IGNORECASE)
    return set(re.findall(r"'([^']*)'", found[1])) if found else set()


def dates(section: settings.XtalTrak, xtaltrak: XtalTrak) -> Iterator[Finding]:
    """Ours are dated to the inspection, so that a person's is newer: if theirs have dates, and later ones (P28)."""
    ((seen, without, early),) = xtaltrak.query("doctor_dates", _newest(xtaltrak))
    remedy = "a viewer that shows the newest date would show ours; if it does not go by dates: xtaltrak.accept_dates = true"
    odd = [f"{count} {what}" for count, what in ((without, "have no date"), (early, "are not dated after their inspection")) if count]
    if not odd:
        yield ok("dates", f"people's newest {seen} scores are dated after their inspections")
    elif section.accept_dates:
        yield ok("dates", f"of people's newest {seen} scores {' and '.join(odd)}; accepted (xtaltrak.accept_dates)")
    else:
        yield error("dates", f"of people's newest {seen} scores {' and '.join(odd)}", remedy, forbids_writing=True)


def _newest(xtaltrak: XtalTrak) -> dict[str, str | int]:
    return {"scorer": xtaltrak.scorer, "max_rows": NEWEST}
