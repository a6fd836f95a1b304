"""``python -m benchmarks.scoring.child JOB.json ANSWER.json``: one measurement in a process of its own."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from benchmarks.machine import peak_bytes, sgemm_rate
from benchmarks.scoring.jobs import (
    AnyJob,
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
    Well,
    Wells,
)
from benchmarks.scoring.macs import macs_of_runs
from benchmarks.scoring.wells import CHOPS, Counting, Way, one_at_a_time, opened, score_well, whole
from client_app.classify import calibrated, drop_logits, window_logits
from client_app.dense import dense_logits
from client_app.drop import find_drop
from client_app.image import Wish, score_image
from client_app.model import FloatArray, Model, Network, load_model
from crystal_search.errors import EXIT_DONE, CrystalSearchError
from crystal_search.geometry import Box
from training.int8 import crops_of, quantise


def way_of(job: ScoreWells, model: Model) -> Way:
    """The way that ``job`` names, its network on one thread if it is one of ours. Raises ``LeftOut`` where it can not be gone here."""
    spec = model.spec.chops
    content = Path(job.model, spec.file).read_bytes()
    if job.way in _PAPER:
        return _paper_way(job.way, model, content)
    if job.way == "dense-int8":
        if job.int8 is None:
            raise LeftOut("there is no int8 network")
        content = Path(job.int8).read_bytes()
    network = Counting(content, 1)
    if job.way == "batched-fp32":

        def sweep(_: Network, *rest: Any) -> FloatArray:
            return window_logits(network, *rest)
    elif not spec.dense_exact:
        raise LeftOut("the dense pass is not exact with this model")
    else:

        def sweep(_: Network, *rest: Any) -> FloatArray:
            return dense_logits(spec, network, *rest)

    return Way(partial(find_drop, model), sweep, network)


_PAPER = {"paper-mxnet": "mxnet_chops", "paper-keras": "keras_chops"}


def _paper_way(name: str, model: Model, content: bytes) -> Way:
    if importlib.util.find_spec("keras") is None:
        raise LeftOut("Keras is not installed")
    from benchmarks.scoring import paper

    answer, model_weights = getattr(paper, _PAPER[name])(model.spec.chops, content)
    return Way(paper.unet_finder(), one_at_a_time(answer), model_weights=model_weights)


def find_drops(job: FindDrops) -> list[FoundDrop]:
    model, found = load_model(Path(job.model), job.threads), []
    for path in map(Path, job.images):
        try:
            photo = opened(model, path)
            drop = find_drop(model, photo.pixels.convert("L"))
            found.append(
                FoundDrop(box=drop.box.as_tuple() if drop else None, size=photo.pixels.size, file_size=(photo.width, photo.height))
            )
        except OSError as error:
            found.append(FoundDrop(failed=error.strerror or type(error).__name__))
        except CrystalSearchError as error:
            found.append(FoundDrop(failed=str(error)))
    return found


def quantise_network(job: Quantise) -> int:
    """How many crops the int8 network is calibrated on."""
    model = load_model(Path(job.model), job.threads)
    crops = crops_of(model, [partial(_pixels, model, Path(path)) for path in job.images], job.step)
    if not crops:
        raise LeftOut("no drop is found in any image to calibrate int8 on")
    quantise(Path(job.model, model.spec.chops.file).read_bytes(), crops, Path(job.file))
    return len(crops)


def _pixels(model: Model, path: Path) -> Image.Image:
    return opened(model, path).pixels


def score_wells(job: ScoreWells) -> Wells:
    """Every well, the fastest of its repeats: what other programs did meanwhile says nothing about a way.

    Ours score as many wells at once as there are threads, as the client does, and times are divided by that; the paper's one well on all
    threads. The first well is scored once more before, for whatever a library does at its first call.
    """
    at_once = 1 if job.way in _PAPER else job.threads
    model = load_model(Path(job.model), job.threads // at_once)
    way = way_of(job, model)
    todo = [(Path(path), Box(*box)) for path, box in zip(job.images, job.boxes, strict=True)]

    def score(well: tuple[Path, Box]) -> tuple[Well, list[tuple[int, ...]]]:
        if way.counted:
            way.counted.shapes.clear()
        scored = score_well(model, way, *well, job.step)
        return scored, list(way.counted.shapes) if way.counted else []

    score(todo[0])
    with ThreadPoolExecutor(at_once) as pool:
        tries = [list(pool.map(score, todo)) for _ in range(job.repeats)]
    wells = [_shared(min((well for well, _ in of_one), key=lambda well: well.seconds), at_once) for of_one in zip(*tries, strict=True)]
    peak = peak_bytes()  # before anything is loaded that only counts
    if way.counted:
        wells = _with_macs(job, model, wells, [shapes for _, shapes in tries[0]])
    return Wells(wells=wells, peak_bytes=peak, model_weights=way.model_weights)


def _shared(well: Well, at_once: int) -> Well:
    """A well that was scored beside others took its share of the time."""
    stages = {stage: seconds / at_once for stage, seconds in well.stages.items()}
    return msgspec.structs.replace(well, seconds=well.seconds / at_once, stages=stages)


def _with_macs(job: ScoreWells, model: Model, wells: list[Well], runs: list[list[tuple[int, ...]]]) -> list[Well]:
    """The wells with what their networks multiply on inputs of these shapes; unchanged where the package onnx is missing."""
    float32 = Path(job.model, model.spec.chops.file).read_bytes()  # the int8 network has the same convolutions
    try:
        macs = iter(macs_of_runs(float32, [shape for shapes in runs for shape in shapes]))
    except ImportError:
        return wells
    return [msgspec.structs.replace(well, macs=sum(next(macs) for _ in shapes)) for well, shapes in zip(wells, runs, strict=True)]


def score_sizes(job: ScoreSizes) -> list[Sized]:
    model = load_model(Path(job.model), job.threads)
    way = way_of(job, model)
    luminance = opened(model, Path(job.images[0])).pixels.convert("L")

    def classify(box: Box) -> int:
        boxes, logits = drop_logits(model, luminance, whole(box), None, job.step, way.sweep)
        calibrated(logits, model.spec.calibration)
        return len(boxes)

    sized = []
    for box in [Box(*corners) for corners in job.boxes]:
        windows = classify(box)
        seconds = [_seconds(partial(classify, box)) for _ in range(job.repeats)]
        sized.append(Sized(windows=windows, seconds=min(seconds)))
    return sized


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def score_at_once(job: ScoreAtOnce) -> AtOnce:
    model = load_model(Path(job.model), job.threads)
    wish = Wish(job.step, model.spec.threshold, CHOPS, frozenset({"all"}))

    def score(path: str) -> None:
        score_image(model, wish, "", Path(path).read_bytes, None)

    with ThreadPoolExecutor(job.at_once) as pool:
        list(pool.map(score, job.images[: job.at_once]))
        seconds = _seconds(lambda: list(pool.map(score, job.images)))
    return AtOnce(seconds=seconds, peak_bytes=peak_bytes())


def answer(job: AnyJob) -> object:
    """The answer to any job, as ``benchmarks.scoring.jobs`` describes it."""
    match job:
        case FindDrops():
            return find_drops(job)
        case Quantise():
            return quantise_network(job)
        case ScoreSizes():
            return score_sizes(job)
        case ScoreWells():
            return score_wells(job)
        case ScoreAtOnce():
            return score_at_once(job)
        case Multiply():
            return sgemm_rate()


def main(arguments: list[str]) -> int:
    """Answer one job; an error of ours is one line on standard error."""
    try:
        job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=AnyJob)
        Path(arguments[1]).write_bytes(msgspec.json.encode(answer(job)))
    except CrystalSearchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
