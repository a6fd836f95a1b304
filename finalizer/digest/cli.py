"""``crystal-search digest``, and the digest in the finalizer's loop."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from crystal_search.digest_memory import is_due, read_told
from crystal_search.errors import CrystalSearchError, UsageError
from crystal_search.ledger import Ledger, open_existing_ledger
from crystal_search.settings import Settings, load_settings
from finalizer.digest.make import make_digest, show_digest

_log = logging.getLogger(__name__)

#: A mail server that is away is asked again after this time; the scores do not wait for it.
_RETRY_SECONDS = 600.0


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--show", is_flag=True, help="Print the text only: no file, no mail, and the next digest tells it again.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="With --show: what ended since that day instead of what is new.")
def digest(settings_file: Path | None, show: bool, since: datetime | None) -> None:
    """Tell of the crystals that came back since the last digest: as files, and by mail to digest.to."""
    if since and not show:
        raise UsageError("--since goes with --show: a digest that is sent tells what is new")
    settings = load_settings(settings_file)
    with open_existing_ledger(settings.ledger_url) as ledger:
        if show:
            click.echo(show_digest(settings, ledger, since and since.astimezone(UTC).replace(tzinfo=None)), nl=False)
            return
        made = make_digest(settings, ledger, datetime.now())
    click.echo(f"{made.subject}: {made.file}" if made.file else made.subject)


class DailyDigest:
    """The digest in a service's loop. What hinders it is logged once, and tried again later; it ends no round."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._not_before = 0.0
        self._told = ""

    def if_due(self, ledger: Ledger) -> None:
        """Make today's digest, if it is time."""
        hour = self._settings.digest.hour
        if hour is None or time.monotonic() < self._not_before:
            return
        now = datetime.now()
        try:
            told = read_told(self._settings.digest_memory)
            if is_due(now, told.at if told else None, hour):
                _log.info("digest: %s", make_digest(self._settings, ledger, now).subject)
                self._told = ""
        except CrystalSearchError as error:
            if str(error) != self._told:
                _log.warning("%s", error)
            self._told = str(error)
            self._not_before = time.monotonic() + _RETRY_SECONDS
