"""``crystal-search benchmark``: one command a benchmark."""

from __future__ import annotations

import click

from benchmarks.scoring.cli import scoring
from benchmarks.viewer.cli import viewer


@click.group()
def benchmark() -> None:
    """Measure what scoring and looking cost on this machine."""


benchmark.add_command(scoring)
benchmark.add_command(viewer)
