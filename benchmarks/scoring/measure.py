"""The whole measurement: finds the drops, runs every way on every number of threads, and collects the report."""

from __future__ import annotations

import datetime
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from benchmarks.machine import Others, environment, machine, processors
from benchmarks.scoring.jobs import (
    AtOnce,
    FindDrops,
    FoundDrop,
    LeftOut,
    Multiply,
    Quantise,
    ScoreAtOnce,
    ScoreSizes,
    ScoreWells,
    Sized,
    Wells,
    ask,
)
from benchmarks.scoring.report import REFERENCE, SLOW, WAYS, AtOnceRow, Report, SizeRow, UnitRow, WayResult, threads_of
from client_app.model import Model
from client_app.preprocess import working_size
from crystal_search.archives import (
    FORMAT_VERSION,
    MAX_WORK_UNIT_BYTES,
    Manifest,
    PixelBox,
    WorkImage,
    random_id,
    sha256_hex,
    write_work_unit,
)
from crystal_search.errors import EXIT_DONE, CrystalSearchError, UsageError

#: Images a work unit, 64 being the most there may be.
UNITS = (1, 4, 16, 64)
#: Sides of square drops as shares of the image's shorter side.
SIDES = (0.2, 0.4, 0.6, 0.8, 1.0)
_SIZED = (REFERENCE, "dense-fp32", "dense-int8")
_SUFFIXES = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".tif": "tif", ".tiff": "tif"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. ``calibrate_on`` is empty where int8 is calibrated on ``images``; ``say`` gets a line a measurement."""

    model: Model
    folder: Path
    images: Sequence[Path]
    calibrate_on: Sequence[Path]
    step: int
    threads: Sequence[int]
    slow_wells: int
    repeats: int
    say: Callable[[str], None]


def measure(plan: Plan) -> Report:
    """Measure all of it, one process after the other.

    A way that can not be gone here is left out with its reason. Raises ``UsageError`` where no image has a drop, and
    ``CrystalSearchError`` with one line where anything else fails.
    """
    others = Others()
    plan.say("looking for drops")
    found = ask(FindDrops(**_common(plan, plan.images, max(plan.threads))), list[FoundDrop])
    for path, drop in zip(plan.images, found, strict=True):
        if drop.failed:
            plan.say(f"{path.name}: {drop.failed}")
    wells = [(path, drop.box) for path, drop in zip(plan.images, found, strict=True) if drop.box]
    if not wells:
        raise UsageError(f"the model finds no drop in any of the {len(found)} images: there is nothing to measure")
    with tempfile.TemporaryDirectory() as folder:
        int8, int8_crops, int8_left_out = _int8(plan, Path(folder) / "int8.onnx")
        sgemm = {threads: ask(Multiply(**_common(plan, [], threads)), float) for threads in plan.threads}
        ways = _ways(plan, wells, int8, int8_left_out, sgemm)
        sizes = _sizes(plan, wells[0][0], next(drop.size for drop in found if drop.box), int8)
        units = _units(plan, Path(folder), [path for path, drop in zip(plan.images, found, strict=True) if not drop.failed])
        at_once = _at_once(plan, [path for path, _ in wells])
    spec = plan.model.spec
    reference = next((way for way in ways if way.way == REFERENCE and way.each), None)
    read = [drop for drop in found if not drop.failed]
    return Report(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine(),
        others_busy=others.busy(),
        repeats=plan.repeats,
        model=plan.model.reference,
        step=plan.step,
        window=spec.chops.window,
        threshold=spec.threshold,
        images=len(found),
        images_sha256=_digest(plan.images),
        failed=len(found) - len(read),
        no_drop=len(read) - len(wells),
        median_windows=statistics.median(well.windows for well in reference.each) if reference else 0.0,
        median_size=(statistics.median(drop.file_size[0] for drop in read), statistics.median(drop.file_size[1] for drop in read)),
        ways=ways,
        sgemm=sgemm,
        int8_left_out=int8_left_out,
        int8_crops=int8_crops,
        calibrated_on_same=not plan.calibrate_on,
        sizes=sizes,
        sizes_threads=1,
        units=units,
        units_threads=min(plan.threads),
        at_once=at_once,
    )


class _Common(TypedDict):
    """What every job holds."""

    model: str
    step: int
    images: list[str]
    threads: int


def _common(plan: Plan, images: Sequence[Path], threads: int) -> _Common:
    return {"model": str(plan.folder), "step": plan.step, "images": [str(path) for path in images], "threads": threads}


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _int8(plan: Plan, file: Path) -> tuple[str | None, int, str | None]:
    """The int8 network's file and the crops it was calibrated on, or why there is none."""
    plan.say("making the int8 network")
    try:
        crops = ask(Quantise(**_common(plan, plan.calibrate_on or plan.images, max(plan.threads)), file=str(file)), int)
    except LeftOut as error:
        return None, 0, str(error)
    return str(file), crops, None


def _ways(
    plan: Plan, wells: Sequence[tuple[Path, PixelBox]], int8: str | None, int8_left_out: str | None, sgemm: dict[int, float]
) -> list[WayResult]:
    """Every way on every number of threads, in the order of ``WAYS``; the reference goes first, others are compared with it."""
    results = []
    for threads in plan.threads:
        reference: Wells | None = None
        of_way: dict[str, WayResult] = {}
        for way in (REFERENCE, *(way for way in WAYS if way != REFERENCE)):
            plan.say(f"{way}, {threads_of(threads)}")
            chosen = wells[: plan.slow_wells] if way in SLOW else wells
            paths, boxes = [path for path, _ in chosen], [box for _, box in chosen]
            job = ScoreWells(
                **_common(plan, paths, threads), way=way, boxes=boxes, int8=int8, repeats=1 if way == REFERENCE else plan.repeats
            )
            try:
                if way == "dense-int8" and int8_left_out:
                    raise LeftOut(int8_left_out)
                answer = ask(job, Wells)
            except LeftOut as error:
                of_way[way] = WayResult(way=way, threads=threads, left_out=str(error))
                continue
            if way == REFERENCE:
                reference = answer
            of_way[way] = WayResult.of(way, threads, answer, reference, sgemm.get(threads))
        results += [of_way[way] for way in WAYS]
    return results


def _sizes(plan: Plan, image: Path, size: tuple[int, int], int8: str | None) -> list[SizeRow]:
    """Square drops in the middle of one image."""
    plan.say("drop sizes")
    boxes = [square(size, share) for share in SIDES]
    threads = 1
    sized: dict[str, list[Sized]] = {}
    for way in _SIZED:
        job = ScoreSizes(**_common(plan, [image], threads), way=way, boxes=boxes, int8=int8, repeats=plan.repeats)
        try:
            sized[way] = ask(job, list[Sized])
        except LeftOut:
            continue  # said where the ways are compared
    spec = plan.model.spec
    width, _ = working_size(*size, None, spec.um_per_px, spec.image_width)
    return [
        SizeRow(
            side=round((box[2] - box[0]) * width / size[0]),
            windows=next(iter(sized.values()))[number].windows,
            seconds={way: rows[number].seconds for way, rows in sized.items()},
        )
        for number, box in enumerate(boxes)
        if sized
    ]


def square(size: tuple[int, int], share: float) -> PixelBox:
    """A square in the middle of an image of ``size`` px (width, height), its side that ``share`` of the shorter side.

    >>> square((200, 100), 0.5)
    (75, 25, 125, 75)
    """
    side = max(1, round(min(size) * share))
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side


def _units(plan: Plan, folder: Path, images: Sequence[Path]) -> list[UnitRow]:
    """Work units of several sizes, as far as there are images and as an archive may hold."""
    rows = []
    threads = min(plan.threads)
    counts = sorted({min(count, len(images)) for count in UNITS})
    for count in counts:
        plan.say(f"images a work unit: {count}")
        unit, out = folder / f"in_{count}.zip", folder / f"out_{count}.zip"
        if not _write_unit(plan, unit, images[:count]):
            break
        command = [sys.executable, "-m", "client_app", str(unit), str(out), "--model", str(plan.folder), "--nthreads", str(threads)]
        start = time.perf_counter()
        done = subprocess.run(command, env=environment(threads), capture_output=True, text=True, errors="replace", check=False)
        seconds = time.perf_counter() - start
        if done.returncode != EXIT_DONE:
            raise CrystalSearchError(
                f"a work unit of {count} images was not scored: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
            )
        rows.append(UnitRow(images=count, seconds=seconds, work_unit_mb=unit.stat().st_size / 1e6, result_mb=out.stat().st_size / 1e6))
    return rows


def _write_unit(plan: Plan, path: Path, images: Sequence[Path]) -> bool:
    """Whether the images fit into one work unit, which is then written."""
    contents = {f"{random_id()}.{_SUFFIXES.get(image.suffix.lower(), 'jpg')}": image.read_bytes() for image in images}
    if sum(map(len, contents.values())) > MAX_WORK_UNIT_BYTES:
        return False
    work = [WorkImage(id=name.partition(".")[0], file=name, sha256=sha256_hex(content)) for name, content in contents.items()]
    manifest = Manifest(
        format_version=FORMAT_VERSION, name=f"wu_benchmark_{len(images)}", model=plan.model.reference, step=plan.step, images=work
    )
    write_work_unit(path, manifest, contents)
    return True


def _at_once(plan: Plan, images: Sequence[Path]) -> list[AtOnceRow]:
    """The machine's processors shared out: one image on one, one image on all, an image on each."""
    rows = []
    every = processors()
    for at_once, threads in dict.fromkeys([(1, 1), (1, every), (every, 1)]):
        plan.say(f"{at_once} images at once, {threads_of(threads)} each")
        job = ScoreAtOnce(**_common(plan, images, threads), at_once=at_once)
        answer = ask(job, AtOnce)
        peak = answer.peak_bytes / 1e6 if answer.peak_bytes else None
        rows.append(AtOnceRow(at_once=at_once, threads=threads, wells_a_second=len(images) / answer.seconds, peak_mb=peak))
    return rows
