"""``crystal-search benchmark``: one command a benchmark."""

from __future__ import annotations

import click

from benchmarks.archive.cli import archive
from benchmarks.scoring.cli import scoring


@click.group()
def benchmark() -> None:
    """Measure what scoring, and keeping the books of it, costs on this machine."""


benchmark.add_command(scoring)
benchmark.add_command(archive)
