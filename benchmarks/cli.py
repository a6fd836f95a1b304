"""``crystal-search benchmark``: one command a benchmark."""

from __future__ import annotations

import click

from benchmarks.archive.cli import archive
from benchmarks.scoring.cli import scoring
from benchmarks.viewer.cli import viewer


@click.group()
def benchmark() -> None:
    """Measure what scoring, keeping the books of it and looking cost on this machine."""


benchmark.add_command(scoring)
benchmark.add_command(archive)
benchmark.add_command(viewer)
