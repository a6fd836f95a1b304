"""``crystal-search plan``: machines, days and disk, from the seconds that an image takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import click
import msgspec

from crystal_search.atomic import write_atomically
from crystal_search.errors import TryAgainLater, UsageError
from crystal_search.extras import missing
from crystal_search.planning.capacity import ARCHIVE_IMAGES, CRYSTAL_SHARE, OVERLAY_BYTES, RESULT_BYTES, Plan, Platform, Sizes, make_plan
from crystal_search.planning.measured import Measured, measure
from crystal_search.planning.tables import count_text, plan_text

_FILE = click.Path(dir_okay=False, path_type=Path)

_PLATFORM = {
    "imagers": "Imagers, which share the incubators' plates.",
    "incubators": "Incubators.",
    "plates_per_incubator": "Plates in a full incubator.",
    "inspections": "Inspections of a plate.",
    "days": "Days over which they are spread.",
    "wells": "Wells of a plate: 24, 96, 384, 1536.",
    "drops": "Drops in a well; each is an image.",
    "imaging_seconds": "Seconds an imager needs for an image: the standard rate.",
}


def _platform_options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each field of :class:`Platform`."""
    for field in reversed(fields(Platform)):
        option = f"--{field.name.replace('_', '-')}"
        command = click.option(option, default=field.default, show_default=True, help=_PLATFORM[field.name])(command)
    return command


@click.command()
@click.option("--seconds-per-well", type=float, help="Seconds in which one machine scores an image (a well with one drop).")
@click.option("--results", type=click.Path(path_type=Path), help="Measure seconds and bytes in this results folder of the assimilator.")
@_platform_options
@click.option("--images", default=ARCHIVE_IMAGES, show_default=True, help="Images to score; the default is the paper's archive.")
@click.option("--machines", type=int, multiple=True, default=(1, 10, 30, 100, 300), show_default=True, help="Tell the days for so many.")
@click.option("--by", metavar="YYYY-MM-DD", help="Tell the machines that finish before this day.")
@click.option("--result-bytes", type=float, help=f"Bytes of a result without its overlay. [default: measured, or {RESULT_BYTES:g}]")
@click.option("--overlay-bytes", type=float, help=f"Bytes of an overlay. [default: measured, or {OVERLAY_BYTES:g}]")
@click.option("--crystal-share", type=float, help=f"Share of the images that are crystals. [default: measured, or {CRYSTAL_SHARE:g}]")
@click.option("--json", "json_file", type=_FILE, help="Write all numbers to this file.")
@click.option("--plot", "plot_file", type=_FILE, help="Write a plot (PNG) of days against machines to this file.")
def plan(
    seconds_per_well: float | None,
    results: Path | None,
    images: int,
    machines: tuple[int, ...],
    by: str | None,
    result_bytes: float | None,
    overlay_bytes: float | None,
    crystal_share: float | None,
    json_file: Path | None,
    plot_file: Path | None,
    **platform: Any,
) -> None:
    """Tell how many machines keep up with the imagers, how long an archive takes, and the disk for its results.

    Give --seconds-per-well, or --results to measure it; what is given goes before what is measured. Numbers of machines are rounded up.
    """
    measured = measure(results) if results else None
    seconds = seconds_per_well if seconds_per_well is not None else measured.seconds if measured else None
    if seconds is None:
        raise UsageError("how fast is the program? Give --seconds-per-well SECONDS, or --results FOLDER to measure it")
    given = {"result_bytes": result_bytes, "overlay_bytes": overlay_bytes, "crystal_share": crystal_share}
    try:
        sizes = replace(_sizes(measured), **{name: value for name, value in given.items() if value is not None})
        made = make_plan(seconds, Platform(**platform), sizes, images, machines, _today(), _day(by) if by is not None else None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    _write(made, measured, json_file, plot_file)
    click.echo(_where_from(seconds, measured, measured is not None and seconds_per_well is None))
    click.echo(f"\n{plan_text(made)}")
    for file in filter(None, (json_file, plot_file)):
        click.echo(str(file))


def _today() -> date:
    return date.today()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"by {text}: not a day such as 2027-03-01") from error


def _sizes(measured: Measured | None) -> Sizes:
    """Measured sizes; the defaults for what was not measured."""
    if measured is None:
        return Sizes()
    return Sizes(measured.result_bytes, measured.overlay_bytes or OVERLAY_BYTES, measured.crystal_share)


def _where_from(seconds: float, measured: Measured | None, seconds_measured: bool) -> str:
    lines = [f"An image takes one machine {seconds:.4g} s" + ("." if seconds_measured else ", as given.")]
    if measured:
        images, archives = count_text(measured.images, "image"), count_text(measured.archives, "result")
        lines += [
            f"Measured on {images} in {archives} of {', '.join(measured.models)}:",
            f"mean {measured.seconds:.4g} s, median {measured.median_seconds:.4g} s.",
        ]
    return "\n".join(lines)


def _write(made: Plan, measured: Measured | None, json_file: Path | None, plot_file: Path | None) -> None:
    """The files that were asked for. Raises ``SettingsError`` without matplotlib, ``TryAgainLater`` where a file can not be written."""
    contents: dict[Path, bytes] = {}
    if plot_file:
        try:
            from crystal_search.planning.plot import png
        except ModuleNotFoundError as error:
            raise missing("--plot", "matplotlib") from error
        contents[plot_file] = png(made)
    if json_file:
        document = msgspec.to_builtins(made) | {"measured": msgspec.to_builtins(measured)}
        contents[json_file] = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    for file, content in contents.items():
        try:
            write_atomically(file, content)
        except OSError as error:
            raise TryAgainLater(f"can not write {file} ({error.strerror})") from error
