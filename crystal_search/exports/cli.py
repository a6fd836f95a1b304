"""``crystal-search export``."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from crystal_search.atomic import atomic_file
from crystal_search.errors import EXIT_DONE, UsageError
from crystal_search.exports.scores import Writer, ispyb_writer, write_csv, write_json
from crystal_search.ledger import open_existing_ledger
from crystal_search.ledger.all_scores import all_scores
from crystal_search.settings import load_settings

_log = logging.getLogger("export")


@contextmanager
def text_output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that takes its name when the block has ended well. Raises ``UsageError``.

    Whoever reads standard output may close it before the end, as ``head`` does.
    """
    if path is None:
        try:
            yield sys.stdout
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(EXIT_DONE) from None
        return
    try:
        with atomic_file(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            yield text
            text.flush()
            text.detach()
    except OSError as error:
        raise UsageError(f"{error.filename}: can not be written ({error.strerror})") from error


@click.group()
def export() -> None:
    """Give what the ledger holds to other programs."""


@export.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--format", "kind", type=click.Choice(["csv", "json", "ispyb"]), default="csv", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file [default: standard output].")
@click.option("--plate", help="Only the plate with this barcode.")
@click.option("--schema", default="CrystalSearch", show_default=True, help="ispyb: name of the automatic score schema, 25 characters.")
def scores(settings_file: Path | None, kind: str, out: Path | None, plate: str | None, schema: str) -> None:
    """Every score of every pass, withheld ones too: docs/how-to/adapters.md has the columns."""
    if not 1 <= len(schema) <= 25:
        raise UsageError("--schema: ISPyB takes 25 characters at most")
    settings = load_settings(settings_file)
    writers: dict[str, Writer] = {"csv": write_csv, "json": write_json, "ispyb": ispyb_writer(settings.paths.images, schema)}
    with open_existing_ledger(settings.ledger_url) as ledger, text_output(out) as file:
        count = writers[kind](file, all_scores(ledger, plate))
    _log.info("%d images", count)
