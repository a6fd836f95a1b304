"""All checks in order, and the few that whoever writes scores asks first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from crystal_search import settings
from crystal_search.doctor import images, score_table, tables, viewer_account
from crystal_search.doctor.dictionary import Dictionary
from crystal_search.doctor.findings import Finding, Severity, error, ok, warning
from crystal_search.errors import CrystalSearchError, TryAgainLater
from crystal_search.xtaltrak import XtalTrak, open_xtaltrak

_Check = tuple[str, Callable[[], Iterator[Finding]]]


def examine(configured: settings.Settings) -> list[Finding]:
    """Everything that can be looked at; what can not be asked is a finding of its own, and nothing is changed."""
    section = configured.xtaltrak
    findings = _run(
        [
            ("password", lambda: _password_file(section.password_file)),
            ("password", lambda: _password_file(configured.viewer.password_file)),
            ("image root", lambda: images.image_root(configured.paths.images)),
        ]
    )
    try:
        xtaltrak = open_xtaltrak(section)
    except CrystalSearchError as failure:
        return [*findings, *_failed("connection", failure)]
    with xtaltrak:
        findings += examine_database(section, xtaltrak, configured.paths.images)
        own = ("own tables", lambda: tables.own_tables(configured.finalizer, xtaltrak, Dictionary(xtaltrak)))
        if not any(found.severity is Severity.AWAY for found in findings):
            findings += _run([own])
    return findings + list(viewer_account.viewer_account(section, configured.viewer))


def examine_database(section: settings.XtalTrak, xtaltrak: XtalTrak, image_root: Path) -> list[Finding]:
    """What an open XtalTrak tells. It ends with the first sign that the database has gone."""
    dictionary = Dictionary(xtaltrak)
    return _run(
        [
            ("connection", lambda: iter([ok("connection", xtaltrak.version)])),
            *_before_writing(section, xtaltrak, dictionary),
            ("images", lambda: images.sample(xtaltrak, image_root)),
        ]
    )


def what_forbids_writing(section: settings.XtalTrak, xtaltrak: XtalTrak) -> list[Finding]:
    """The findings because of which no score may be written now; raises ``TryAgainLater`` when the database is away."""
    found = _run(_before_writing(section, xtaltrak, Dictionary(xtaltrak)))
    if away := next((finding for finding in found if finding.severity is Severity.AWAY), None):
        raise TryAgainLater(away.what)
    return [finding for finding in found if finding.forbids_writing]


def _before_writing(section: settings.XtalTrak, xtaltrak: XtalTrak, dictionary: Dictionary) -> list[_Check]:
    return [
        ("mapping", lambda: tables.mapping(section, xtaltrak, dictionary)),
        ("grants", lambda: tables.grants(section, dictionary)),
        ("triggers", lambda: score_table.triggers(section, dictionary)),
        ("keys", lambda: score_table.keys(xtaltrak, dictionary)),
        ("columns", lambda: score_table.required_columns(xtaltrak, dictionary)),
        ("view", lambda: score_table.own_view(xtaltrak, dictionary)),
        ("numbers", lambda: score_table.numbers(xtaltrak, dictionary)),
        ("codes", lambda: score_table.codes(section, xtaltrak, dictionary)),
        ("dates", lambda: score_table.dates(section, xtaltrak)),
    ]


def _run(checks: list[_Check]) -> list[Finding]:
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except CrystalSearchError as failure:
            findings += _failed(name, failure)
            if isinstance(failure, TryAgainLater):
                break
    return findings


def _failed(check: str, failure: CrystalSearchError) -> list[Finding]:
    """A check that could not be made forbids writing: nobody knows."""
    if isinstance(failure, TryAgainLater):
        return [Finding(check, Severity.AWAY, str(failure), "come again when it is back", forbids_writing=True)]
    return [error(check, line, "see the line itself", forbids_writing=True) for line in str(failure).splitlines()]


def _password_file(path: Path | None) -> Iterator[Finding]:
    if path is not None and path.exists() and path.stat().st_mode & 0o077:
        yield warning("password", f"{path}: others than its owner may read it", f"chmod 600 {path}")
