"""``crystal-search benchmark viewer``: a plate's page with an empty and with a large archive behind it, and with many users."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec

from benchmarks.viewer.archive import add_archive, make_plate
from benchmarks.viewer.measure import browser_times, crowd, plate_times, serving
from crystal_search.atomic import write_atomically
from crystal_search.errors import UsageError
from crystal_search.settings import load_settings

_ROWS = (
    ("page", "the plate's page (HTML)"),
    ("data", "its data: 288 drops with both evaluations"),
    ("sheets_first", "all thumbnails, the first time (288 images of 5 megapixels)"),
    ("sheets", "all thumbnails, later"),
    ("drop", "one drop with its course"),
)


@click.command()
@click.option(
    "--images",
    default=200_000,
    show_default=True,
    type=click.IntRange(1),
    help="Rows of other images in the archive; 15666284 is the paper's.",
)
@click.option("--users", default=50, show_default=True, type=click.IntRange(1), help="Users who page at once.")
@click.option(
    "--repeats", default=15, show_default=True, type=click.IntRange(3), help="Times that each page is asked for; the median counts."
)
@click.option(
    "--work", type=click.Path(path_type=Path, file_okay=False), help="Make the databases here and keep them; else in a temporary folder."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write everything to this file.")
def viewer(images: int, users: int, repeats: int, work: Path | None, json_file: Path | None) -> None:
    """Measure the viewer's pages with an empty and a large archive behind them, and with many users at once.

    Times can be compared within one run only; leave the machine alone while it runs.
    """
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if (folder / "crystal-search.toml").exists():
            raise UsageError(f"{folder}: holds an earlier run; give --work another folder, or delete it")
        found = _measure(folder, images, users, repeats)
    for line in _lines(found):
        click.echo(line)
    if json_file:
        write_atomically(json_file, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def _measure(folder: Path, images: int, users: int, repeats: int) -> dict[str, Any]:
    file = folder / "crystal-search.toml"
    write_atomically(file, b'[paths]\nstate = "state"\nimages = "images"\n[viewer]\nthumbnails_ahead = false\n')
    settings = load_settings(file)
    click.echo("drawing a plate of 288 images", err=True)
    make_plate(settings)
    with serving(file) as (address, sign_in):
        empty = plate_times(address, sign_in, repeats)
    add_archive(settings, images, lambda line: click.echo(line, err=True))
    with serving(file) as (address, sign_in):
        large = plate_times(address, sign_in, repeats)
        many = crowd(address, sign_in, users, 3)
        browser = browser_times(address, sign_in)
    return {"images": images, "empty": empty, "archive": large, "crowd": many, "browser": browser}


def _lines(found: dict[str, Any]) -> list[str]:
    count = f"{found['images']:,}".replace(",", " ")
    lines = [f"{'seconds':58}  {'empty':>8}  {count + ' rows':>16}  {'ratio':>5}"]
    for key, title in _ROWS:
        before, after = found["empty"][key], found["archive"][key]
        ratio = "" if key == "sheets_first" else f"{after / before:5.2f}"  # the second time the thumbnails are there already
        lines.append(f"{title:58}  {before:8.3f}  {after:16.3f}  {ratio}")
    many = found["crowd"]
    spread = f"median {many['median']:.2f} s, p95 {many['p95']:.2f} s, {many['errors']} errors"
    lines.append(f"{many['users']} users at once, page + data + thumbnails: {spread}")
    if browser := found["browser"]:
        next_drop = f"the next drop {1000 * browser['next_drop']:.0f} ms"
        lines.append(f"Chromium's own clock: the plate with all thumbnails {browser['plate']:.2f} s, {next_drop}")
    else:
        lines.append("No browser was measured: it needs Chromium, and Playwright from the extra `dev`.")
    return lines
