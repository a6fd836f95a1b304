"""The account through which the viewer writes people's scores into Oracle (write-back rule 8): that it may do this, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from crystal_search import settings
from crystal_search.doctor.dictionary import Dictionary, Place
from crystal_search.doctor.findings import Finding, Severity, error, ok, warning
from crystal_search.errors import CrystalSearchError, TryAgainLater
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.person_rows import open_for_people

_CHECK = "viewer"
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
#: What it needs and may have, by the key of the mapping; the reads that `dba-script --viewer` grants beside these do no harm.
_NEEDS = {
    "PEOPLE_SCORES": frozenset({"INSERT", "DELETE"}),
    "I_SCORES": frozenset({"SELECT"}),
    "I_IMAGES": frozenset({"SELECT"}),
    "ARTSCORE_SEQ": frozenset({"SELECT"}),
    "ARTSCORES_OWN": frozenset[str](),
    "ARTSCORES": frozenset[str](),
}
_REMEDY = "the DBA runs what `crystal-search dba-script --viewer` adds at its end"


def viewer_account(section: settings.XtalTrak, viewer: settings.Viewer) -> Iterator[Finding]:
    """Everything about that account, over a connection of its own; nothing where nobody scores in the viewer, or not into Oracle.

    None of it forbids ARTscores to be written: that is another account's matter.
    """
    if section.dialect != "oracle" or not (viewer.scoring or viewer.user):
        return
    try:
        with open_for_people(section, viewer) as xtaltrak:
            findings = list(account_findings(xtaltrak))
    except TryAgainLater as failure:
        findings = [Finding(_CHECK, Severity.AWAY, str(failure), "come again when it is back")]
    except CrystalSearchError as failure:
        findings = [error(_CHECK, line, "see the line itself") for line in str(failure).splitlines()]
    yield from findings or [ok(_CHECK, f"{viewer.user} may add and take back people's scores, and nothing else")]


def account_findings(xtaltrak: XtalTrak) -> Iterator[Finding]:
    """What is wrong with the account of an open connection and with its view."""
    dictionary = Dictionary(xtaltrak)
    for key, needed in _NEEDS.items():
        place = dictionary.place(key)
        if place is not None:
            yield from _grants(dictionary, place, needed)
        elif needed:
            yield error(_CHECK, f"{xtaltrak.names[key]} is not there, or {dictionary.user} has no grant on it", _REMEDY)
    if (view := dictionary.place("PEOPLE_SCORES")) is not None:
        yield from _view(xtaltrak, dictionary, view)


def _grants(dictionary: Dictionary, place: Place, needed: frozenset[str]) -> Iterator[Finding]:
    may = dictionary.privileges(place)
    if missing := ", ".join(sorted(needed - may - ({"SELECT"} if "READ" in may else set()))):
        yield error(
            _CHECK, f"{dictionary.user} lacks {missing} on {place}", f"the DBA runs: GRANT {missing} ON {place} TO {dictionary.user}"
        )
    if more := ", ".join(sorted((may & _WRITES) - needed)):
        what = f"{dictionary.user} may {more} on {place}, which the viewer never needs"
        yield warning(_CHECK, what, f"the DBA runs: REVOKE {more} ON {place} FROM {dictionary.user}")


def _view(xtaltrak: XtalTrak, dictionary: Dictionary, place: Place) -> Iterator[Finding]:
    """The database's own wall around our scorer's rows, and those of nobody."""
    view = dictionary.view(place)
    if view is None:
        yield error(_CHECK, f"{place} is no view: nothing but our own statements would guard other rows", _REMEDY)
    elif "<> '" + xtaltrak.scorer.replace("'", "''") + "'" not in view.text:
        yield error(_CHECK, f"{place} does not leave out the rows of our scorer {xtaltrak.scorer!r}", _REMEDY)
    elif not view.has_check_option:
        yield error(_CHECK, f"{place} lacks WITH CHECK OPTION", _REMEDY)
