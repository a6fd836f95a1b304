"""Making a digest: files first, then the mail, then the note that it was told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crystal_search.atomic import atomic_file, write_atomically
from crystal_search.digest_memory import read_told, write_told
from crystal_search.errors import TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.ledger.results import utc_now
from crystal_search.services.alone import only_instance
from crystal_search.settings import Settings
from finalizer.digest.found import FoundCrystal, batches_to_tell, crystals, told_after
from finalizer.digest.mail import send
from finalizer.digest.text import subject, text_of, write_csv


@dataclass(frozen=True, slots=True)
class Made:
    """How many crystals a digest tells of, its subject, and its text file; None where there was nothing to tell."""

    crystals: int
    subject: str
    file: Path | None


def make_digest(settings: Settings, ledger: Ledger, now: datetime) -> Made:
    """Tell of the crystals that came back since the last digest; ``now`` is local time.

    Killed between the mail and its note, the next digest tells the same again: rather twice than never.
    Raises ``TryAgainLater`` when the mail server, the disk or the ledger is away, or another digest is being made.
    """
    with only_instance(settings.paths.state, "digest"):
        try:
            return _make(settings, ledger, now)
        except OSError as error:
            raise TryAgainLater(f"{error.filename}: can not be read or written ({error.strerror}); try again later") from error


def _make(settings: Settings, ledger: Ledger, now: datetime) -> Made:
    told = read_told(settings.digest_memory)
    utc = utc_now()
    with ledger.read() as connection:
        to_tell = batches_to_tell(connection, told, utc)
        after = told_after(connection, told, to_tell, utc, now)
    csv_file = settings.digest_folder / f"{now:%Y-%m-%d_%H%M%S}.csv"
    with atomic_file(csv_file) as file:
        summary = write_csv(file, _crystals(settings, ledger, to_tell), settings.results, settings.digest)
    if not summary.count:
        csv_file.unlink()
        write_told(settings.digest_memory, after)
        return Made(0, "no new crystals", None)
    text_file = csv_file.with_suffix(".txt")
    text = text_of(summary, settings.results, settings.digest, csv_file)
    write_atomically(text_file, text.encode())
    try:
        if settings.digest.to:
            send(settings.digest, subject(summary), text, csv_file)
        write_told(settings.digest_memory, after)
    except TryAgainLater:  # the next attempt writes its own
        csv_file.unlink()
        text_file.unlink()
        raise
    return Made(summary.count, subject(summary), text_file)


def show_digest(settings: Settings, ledger: Ledger, since: datetime | None) -> str:
    """The text of the digest that would be made, or of one about what ended after ``since`` (UTC); nothing is sent or noted."""
    told = read_told(settings.digest_memory)
    with ledger.read() as connection:
        to_tell = batches_to_tell(connection, told, utc_now(), since)
    with Path(os.devnull).open("wb") as nowhere:
        summary = write_csv(nowhere, _crystals(settings, ledger, to_tell), settings.results, settings.digest)
    return text_of(summary, settings.results, settings.digest, None) if summary.count else "no new crystals\n"


def _crystals(settings: Settings, ledger: Ledger, numbers: list[int]) -> Iterator[FoundCrystal]:
    for number in numbers:
        with ledger.read() as connection:
            yield from crystals(connection, number, settings.digest.min_probability)
