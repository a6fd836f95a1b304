"""``crystal-search benchmark archive``: the bookkeeping of a whole archive, stage by stage."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import click
import msgspec

from benchmarks.archive.report import Report, lines
from benchmarks.archive.run import Archive, Stopped
from crystal_search.atomic import write_atomically
from crystal_search.errors import EXIT_SOME_FAILED, SettingsError, UsageError
from crystal_search.service import collect_less_often, stopped_by_signals

#: What XtalTrak, the ledger and their journals take, in bytes an image.
_BYTES = 1_300


@click.command()
@click.option("--images", type=click.IntRange(300), default=200_000, show_default=True, help="Images in the archive.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write everything to this file, as it goes."
)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the databases grow; deleted at the end. [default: TMPDIR]"
)
def archive(images: int, json_file: Path | None, folder: Path | None) -> None:
    """Take an archive of so many images through work generator, results, finalizer and import.

    Files, pixels and clients are small stand-ins; databases and bookkeeping are real. It can be stopped at any time: what was
    measured until then is printed and in the file.
    """
    if json_file and not json_file.absolute().parent.is_dir():
        raise UsageError(f"{json_file}: there is no such folder to write to")
    if folder and not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    place = Path(tempfile.mkdtemp(prefix="crystal-search-archive-", dir=folder))
    free = shutil.disk_usage(place).free
    try:
        if free < images * _BYTES:
            raise UsageError(
                f"{place}: {images} images need {images * _BYTES / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; choose another --folder"
            )
        with stopped_by_signals() as stop:

            def save(report: Report) -> None:
                if json_file:
                    _write(json_file, report)

            run = Archive(place, images, stop, say=lambda line: click.echo(line, err=True), save=save)
            collect_less_often()  # as every service does
            logging.disable(logging.INFO)  # a line for each of half a million work units
            try:
                run.run()
            except Stopped:
                click.echo("stopped by a signal", err=True)
            finally:
                logging.disable(logging.NOTSET)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    for line in lines(run.report):
        click.echo(line)
    if not run.report.finished:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _write(path: Path, report: Report) -> None:
    try:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    except OSError as error:
        raise SettingsError(f"{path} can not be written ({error.strerror})") from error
