"""What a run found, as one document and as the tables that are printed from it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.machine import Machine
from benchmarks.scoring.jobs import Well, Wells
from benchmarks.scoring.wells import STAGES
from crystal_search.archives import ModelReference
from crystal_search.classes import BY_NAME

#: The way that all others are compared with.
REFERENCE = "batched-fp32"
WAYS = {
    "paper-mxnet": "Keras U-Net of 64 filters, chop by chop in MXNet",
    "paper-keras": "Keras U-Net of 64 filters, chop by chop in Keras",
    REFERENCE: "this project's U-Net, chops in batches of 8 in onnxruntime",
    "dense-fp32": "this project's U-Net, one pass over the drop in onnxruntime",
    "dense-int8": "the same with a chop network in int8",
}
#: Ways that take seconds or minutes a well.
SLOW = frozenset({"paper-mxnet", "paper-keras"})


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of wells with the reference's class and group, and the largest difference of a crystal probability."""

    same_class: float
    same_group: float
    crystal_difference: float

    @classmethod
    def of(cls, wells: Sequence[Well], reference: Sequence[Well]) -> Agreement:
        """Of as many wells as ``wells`` has, the same in both."""
        pairs = list(zip(wells, reference, strict=False))
        return cls(
            same_class=statistics.mean(one.class_name == other.class_name for one, other in pairs),
            same_group=statistics.mean(_group(one) == _group(other) for one, other in pairs),
            crystal_difference=max(abs(one.crystal_probability - other.crystal_probability) for one, other in pairs),
        )


def _group(well: Well) -> str | None:
    return BY_NAME[well.class_name].group if well.class_name else None


class WayResult(msgspec.Struct, frozen=True, kw_only=True):
    """One way on one number of threads: so many wells at once, the paper's ways one well on all of them.

    Seconds are medians a well, those of ``stages`` means: means add up; of wells scored at once each has its share.
    ``times_faster`` is the reference's time on the same wells and threads, divided by this way's. ``limit`` is the share of the
    chop network's time that its multiplications would take at the rate of sgemm: 1 can hardly be beaten in float32.
    """

    way: str
    threads: int
    left_out: str | None = None
    wells: int = 0
    seconds: float | None = None
    times_faster: float | None = None
    peak_mb: float | None = None
    agreement: Agreement | None = None
    stages: dict[str, float] = {}
    mean_seconds: float | None = None
    gmac: float | None = None
    limit: float | None = None
    model_weights: bool = True
    each: list[Well] = []

    @classmethod
    def of(cls, way: str, threads: int, found: Wells, reference: Wells | None, sgemm: float | None) -> WayResult:
        """``sgemm`` in GMAC/s; without a ``reference`` nothing is compared."""
        wells = found.wells
        seconds = sum(well.seconds for well in wells)
        same = reference.wells[: len(wells)] if reference else []
        stages = {stage: statistics.mean(well.stages[stage] for well in wells) for stage in STAGES}
        macs = [well.macs for well in wells if well.macs is not None]
        gmac = statistics.mean(macs) / 1e9 if len(macs) == len(wells) else None
        return cls(
            way=way,
            threads=threads,
            wells=len(wells),
            seconds=statistics.median(well.seconds for well in wells),
            times_faster=sum(well.seconds for well in same) / seconds if same else None,
            peak_mb=found.peak_bytes / 1e6 if found.peak_bytes else None,
            agreement=Agreement.of(wells, same) if same and found.model_weights else None,
            stages=stages,
            mean_seconds=seconds / len(wells),
            gmac=gmac,
            limit=gmac / sgemm / stages["network"] if gmac is not None and sgemm else None,
            model_weights=found.model_weights,
            each=wells,
        )


class SizeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A square drop: its side in px at the model's resolution, its windows, and the seconds of each way to classify them."""

    side: int
    windows: int
    seconds: dict[str, float]


class UnitRow(msgspec.Struct, frozen=True, kw_only=True):
    """A work unit through the volunteer's program, from its start to the result."""

    images: int
    seconds: float
    work_unit_mb: float
    result_mb: float


class AtOnceRow(msgspec.Struct, frozen=True, kw_only=True):
    """The client with so many images at a time and so many threads for each network."""

    at_once: int
    threads: int
    wells_a_second: float
    peak_mb: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. ``images_sha256`` is that of all images' bytes in their order; ``calibrated_on_same`` tells of int8.

    ``others_busy`` is how many processors other programs kept busy meanwhile.
    """

    date: str
    machine: Machine
    others_busy: float | None
    repeats: int
    model: ModelReference
    step: int
    window: int
    threshold: float
    images: int
    images_sha256: str
    failed: int
    no_drop: int
    median_windows: float
    median_size: tuple[float, float]
    ways: list[WayResult]
    sgemm: dict[int, float]
    int8_left_out: str | None
    int8_crops: int
    calibrated_on_same: bool
    sizes: list[SizeRow]
    sizes_threads: int
    units: list[UnitRow]
    units_threads: int
    at_once: list[AtOnceRow]


def lines(report: Report) -> Iterator[str]:
    """The report as tables."""
    yield from _head(report)
    yield from _ways(report)
    yield from _stages(report)
    yield from _limits(report)
    yield from _sizes(report)
    yield from _units(report)
    yield from _at_once(report)


def _number(number: float | None, digits: int = 2) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def threads_of(count: int) -> str:
    """``1 thread``, ``2 threads``."""
    return "1 thread" if count == 1 else f"{count} threads"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Columns as wide as they need to be, the first ``left`` to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width) for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _head(report: Report) -> Iterator[str]:
    machine = report.machine
    yield f"{machine.processor}, {machine.processors} processors, {machine.system}, Python {machine.python}"
    yield ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    if report.others_busy is not None and report.others_busy > 0.2:
        yield f"other programs kept {report.others_busy:.1f} processors busy meanwhile: do not trust the times"
    scored = report.images - report.failed - report.no_drop
    width, height = report.median_size
    yield (
        f"{report.images} images of {width:.0f} x {height:.0f} px: {scored} with a drop, {report.no_drop} without, "
        f"{report.failed} that can not be read; {report.median_windows:.0f} windows a drop (median)"
    )
    model = report.model
    yield f"model {model.name} ({model.sha256[:12]}), windows of {report.window} px every {report.step} px, threshold {report.threshold}"


def _ways(report: Report) -> Iterator[str]:
    yield f"\nseconds a well, from file to overlay (median; each well the best of {report.repeats}, with {REFERENCE} scored once)"
    yield f"scores against those of {REFERENCE}, which has the same windows"
    yield "peak memory is that of the whole process, libraries included"
    rows = []
    for way in report.ways:
        if way.left_out is None:
            agreement = way.agreement
            rows.append(
                (
                    way.way,
                    str(way.threads),
                    str(way.wells),
                    _number(way.seconds, 3),
                    _number(way.times_faster),
                    _number(way.peak_mb, 0),
                    _percent(agreement.same_class if agreement else None),
                    _percent(agreement.same_group if agreement else None),
                    _number(agreement.crystal_difference if agreement else None, 4),
                )
            )
        else:
            rows.append((way.way, str(way.threads), *("-" * 7)))
    head = ("way", "threads", "wells", "seconds", "times faster", "peak MB", "same class %", "same group %", "crystal prob. off by")
    yield from _table(head, rows)
    for name, words in WAYS.items():
        yield f"{name}: {words}"
    reasons = {(way.way, way.left_out) for way in report.ways if way.left_out}
    for name, reason in sorted(reasons, key=str):
        yield f"{name} was left out: {reason}"
    for name in sorted({way.way for way in report.ways if not way.model_weights}):
        yield f"{name}: its chop network has random weights, so that its scores say nothing"
    if any(way.way in SLOW and way.left_out is None for way in report.ways):
        yield "the U-Net of 64 filters has random weights: it is there for its time, the drops are those of the model's own"
    if report.int8_crops:
        where = "the images measured here" if report.calibrated_on_same else "other images than those measured here"
        yield f"int8 was calibrated on {report.int8_crops} crops of {where}" + (
            ", so its agreement is flattered" if report.calibrated_on_same else ""
        )


def _stages(report: Report) -> Iterator[str]:
    yield "\nmilliseconds of each stage (mean a well)"
    rows = [
        (way.way, str(way.threads), *(_number(1000 * way.stages[stage], 1) for stage in STAGES), _number(1000 * (way.mean_seconds or 0), 1))
        for way in report.ways
        if way.left_out is None
    ]
    yield from _table(("way", "threads", *STAGES, "all"), rows)


def _limits(report: Report) -> Iterator[str]:
    yield "\nthe chop network against this machine's rate of float32 matrix products (sgemm)"
    rows = []
    for way in report.ways:
        if way.gmac is not None and (rate := report.sgemm.get(way.threads)):
            least = way.gmac / rate
            rows.append(
                (
                    way.way,
                    str(way.threads),
                    _number(way.gmac),
                    _number(rate, 1),
                    _number(least, 3),
                    _number(way.stages["network"], 3),
                    _percent(way.limit),
                )
            )
    head = ("way", "threads", "GMAC a well", "sgemm GMAC/s", "seconds at that rate", "seconds measured", "share of the limit %")
    yield from _table(head, rows)


def _sizes(report: Report) -> Iterator[str]:
    yield f"\ncost against drop size: seconds to classify a square drop, {threads_of(report.sizes_threads)} (best of {report.repeats})"
    names = [name for name in WAYS if any(name in row.seconds for row in report.sizes)]
    rows = [(str(row.side), str(row.windows), *(_number(row.seconds.get(name), 3) for name in names)) for row in report.sizes]
    yield from _table(("side px", "windows", *names), rows, left=0)


def _units(report: Report) -> Iterator[str]:
    yield f"\nimages a work unit: the volunteer's program from its start to the result, {threads_of(report.units_threads)}"
    rows = [
        (
            str(row.images),
            _number(row.seconds),
            _number(row.seconds / row.images, 3),
            _number(row.work_unit_mb, 1),
            _number(row.result_mb, 1),
        )
        for row in report.units
    ]
    yield from _table(("images", "seconds", "seconds an image", "work unit MB", "result MB"), rows, left=0)


def _at_once(report: Report) -> Iterator[str]:
    yield "\nthreads: the client with several images at once"
    rows = [(str(row.at_once), str(row.threads), _number(row.wells_a_second), _number(row.peak_mb, 0)) for row in report.at_once]
    yield from _table(("images at once", "threads each", "wells a second", "peak MB"), rows, left=0)
