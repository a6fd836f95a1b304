"""Stages measured, and the documents that say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.archive.report import Span


class Measured:
    """Collects the spans of one process."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    @contextmanager
    def span(self, stage: str, first: int) -> Iterator[list[int]]:
        """Measures its block, which appends how many rows it had; one that was stopped appends nothing and is left out."""
        rows: list[int] = []
        begun, processor = time.monotonic(), time.process_time()
        yield rows
        seconds, processor = time.monotonic() - begun, time.process_time() - processor
        if rows:
            self.spans.append(Span(stage=stage, first=first, rows=sum(rows), seconds=seconds, processor_seconds=processor))


def line(span: Span) -> str:
    """For people who watch."""
    us = 1e6 * span.seconds / max(1, span.rows)
    return f"{span.stage}: rows {span.first} to {span.first + span.rows}, {span.rows / span.seconds:.0f} rows/s, {us:.1f} us a row"
