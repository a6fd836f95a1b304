"""What a run found, as one document and as the table that is printed from it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from benchmarks.machine import Machine

STAGES = ("fill", "generator", "results", "finalizer", "import")


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A stage over one part of the archive: its rows from ``first`` on (counted from 0), elapsed and processor seconds."""

    stage: str
    first: int
    rows: int
    seconds: float
    processor_seconds: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, as far as the run has come. Sizes are in bytes.

    ``first_look_seconds`` is how long a new real-time search took that found nothing in the whole archive; ``real_time_seconds`` how
    long a new image waited, in the middle of a turn of archive work, until it was in the grid's queue.
    """

    date: str
    machine: Machine
    stand_ins: str
    images: int
    images_per_work_unit: int
    page: int
    rows_per_transaction: int
    spans: list[Span]
    written: int = 0
    withheld_drops: int = 0
    first_look_seconds: float | None = None
    real_time_seconds: float | None = None
    total_seconds: float = 0.0
    others_busy: float | None = None
    peak_bytes: int = 0
    xtaltrak_bytes: int = 0
    ledger_bytes: int = 0
    finished: bool = False


def parts(report: Report, stage: str) -> tuple[Span, Span, Span] | None:
    """The first, the middle and the last part of a stage; None when it has not begun."""
    spans = [span for span in report.spans if span.stage == stage]
    return (spans[0], spans[len(spans) // 2], spans[-1]) if spans else None


def rate(span: Span) -> float:
    """Rows a second."""
    return span.rows / span.seconds


def lines(report: Report) -> Iterator[str]:
    """The report as a table."""
    machine = report.machine
    yield f"{machine.processor}, {machine.processors} processors, {machine.system}, Python {machine.python}; {report.date}"
    yield (
        f"{report.images} images, {report.images_per_work_unit} a work unit, pages of {report.page}, "
        f"{report.rows_per_transaction} rows a lock"
    )
    yield "one process, stage after stage, a part at a time"
    yield report.stand_ins
    if report.others_busy is not None and report.others_busy > 0.2:
        yield f"other programs kept {report.others_busy:.1f} processors busy meanwhile"
    yield f"\n{'rows a second':<14}{'first':>10}{'middle':>10}{'last':>10}{'last/first':>12}{'us a row':>10}"
    for stage in STAGES:
        if found := parts(report, stage):
            first, middle, last = map(rate, found)
            spans = [span for span in report.spans if span.stage == stage]
            mean = 1e6 * sum(span.seconds for span in spans) / sum(span.rows for span in spans)
            yield f"{stage:<14}{first:>10.0f}{middle:>10.0f}{last:>10.0f}{last / first:>12.2f}{mean:>10.1f}"
    first_part = report.spans[0].rows if report.spans else 0
    yield f"first, middle, last: parts of {first_part} rows"
    if report.first_look_seconds is not None:
        yield f"a new real-time search over the whole archive that finds nothing: {report.first_look_seconds:.1f} s, once"
    if report.real_time_seconds is not None:
        yield f"a new image, queued while archive work runs: after {report.real_time_seconds:.1f} s"
    yield f"{report.written} scores written, {report.withheld_drops} drops scored by a person meanwhile"
    yield (
        f"in all {report.total_seconds / 60:.1f} minutes, peak memory {report.peak_bytes / 1e6:.0f} MB, "
        f"XtalTrak {report.xtaltrak_bytes / 1e9:.2f} GB, ledger {report.ledger_bytes / 1e9:.2f} GB"
    )
    if not report.finished:
        yield "stopped before the end"
