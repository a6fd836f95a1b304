"""``crystal-search benchmark``: one command a benchmark."""

from __future__ import annotations

import click

from benchmarks.scoring.cli import scoring


@click.group()
def benchmark() -> None:
    """Measure what scoring costs on this machine."""


benchmark.add_command(scoring)
