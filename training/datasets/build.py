"""A data set in a folder: shards of chops for training, validation and test, and ``dataset.json``, which says what they are made of.

Shards have the form that training/shards.py loads. A shard is written whole or not at all, so that a build can be killed at any
moment and started again: shards that are there are kept, as long as images and settings are the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from client_app.errors import one_line
from client_app.model import Model, load_model
from crystal_search.atomic import PARTIAL_SUFFIX, atomic_file, write_atomically
from crystal_search.classes import NAMES
from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from crystal_search.service import Stop
from training.datasets.cut import Chops, chop_side, cut
from training.datasets.rules import Rules
from training.datasets.scored_image import ImageFile, ScoredImage
from training.datasets.split import PARTS, SHARES, split_plates

_log = logging.getLogger("dataset")

DATASET_JSON, PLAN_JSON = "dataset.json", "plan.json"
#: Raised when the same images would give other chops.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """How a data set shall be made."""

    seed: int = 1
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    rules: Rules = field(default_factory=Rules)
    images_per_shard: int = 32


class ImageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one image. ``problem``: why it gave nothing, empty where it did; ``chops`` by training class."""

    name: str
    source: str
    plate: str
    class_name: str
    uv: bool
    no_drop: bool
    in_drop: int
    chops: dict[str, int]
    problem: str


class ShardReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the images of one shard, and the SHA-256 of its npz file."""

    part: str
    sha256: str
    images: list[ImageReport]


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to be made; picklable."""

    path: Path
    part: str
    images: tuple[ScoredImage, ...]


def build(images: Sequence[ScoredImage], model_folder: Path, out: Path, wish: Wish, workers: int, stop: Stop) -> list[ShardReport]:
    """Make every shard in ``out`` that is not there yet, and return the reports of all.

    Raises ``UsageError`` where there are no images or ``out`` holds another data set, ``TryAgainLater`` when it was stopped or the disk
    is full; what is finished then stays.
    """
    if not images:
        raise UsageError("no scored image is left: there is nothing to make a data set of")
    model = load_model(model_folder)
    jobs = plan(images, out, wish)
    _claim(out, _key(jobs, model, wish))
    reports: dict[Path, ShardReport] = {}
    with logging_redirect_tqdm(), tqdm(total=len(images), desc="cutting chops", unit="image", mininterval=1) as bar:
        missing = []
        for job in jobs:
            if there := read_report(job.path):
                reports[job.path] = there
                bar.update(len(job.images))
            else:
                missing.append(job)
        for job, report in _made(missing, model, model_folder, wish.rules, workers, stop, bar):
            reports[job.path] = report
            for image in report.images:
                if image.problem:
                    _log.warning("left out %s: %s", image.name, image.problem)
    return [reports[job.path] for job in jobs]


def plan(images: Sequence[ScoredImage], out: Path, wish: Wish) -> list[Job]:
    """The shards of a data set: the same for the same images in any order. Images of all plates of a part are mixed."""
    parts = split_plates([(image.plate, image.class_name) for image in images], wish.seed, wish.shares)

    def order(image: ScoredImage) -> tuple[str, str, str]:
        return hashlib.sha256(f"{wish.seed}\n{image.source}\n{image.name}".encode()).hexdigest(), image.source, image.name

    jobs = []
    for part in PARTS:
        members = sorted((image for image in images if parts[image.plate] == part), key=order)
        for start in range(0, len(members), wish.images_per_shard):
            chosen = tuple(members[start : start + wish.images_per_shard])
            jobs.append(Job(out / part / f"{start:09d}.npz", part, chosen))
    return jobs


def _key(jobs: Iterable[Job], model: Model, wish: Wish) -> str:
    """SHA-256 of everything that the chops depend on; files count by size and time of change."""

    def stamp(file: ImageFile | None) -> list[Any] | None:
        if file is None:
            return None
        try:
            state = file.path.stat()
        except OSError:
            return [file.start, file.length]
        return [file.start, file.length, state.st_size, state.st_mtime_ns]

    digest = hashlib.sha256(repr((FORMAT, model.reference.sha256, chop_side(model, wish.rules), wish)).encode())
    for job in jobs:
        for image in job.images:
            facts = {**asdict(image), "image": stamp(image.image), "uv": stamp(image.uv), "part": job.part}
            digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def _claim(out: Path, key: str) -> None:
    """Make ``out`` the folder of this very data set, without what a killed build left."""
    file = out / PLAN_JSON
    try:
        if file.exists():
            if json.loads(file.read_bytes()).get("key") != key:
                raise UsageError(f"{out} holds a data set of other images or settings: name another folder with --out, or delete this one")
        elif out.exists() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty and holds no data set: name another folder with --out")
        for part in PARTS:
            (out / part).mkdir(parents=True, exist_ok=True)
            for leftover in (out / part).glob(f".*{PARTIAL_SUFFIX}"):
                leftover.unlink(missing_ok=True)
        write_atomically(file, json.dumps({"format": FORMAT, "key": key}).encode())
    except ValueError as error:
        raise UsageError(f"{file} is damaged ({one_line(error)}): delete {out} and start again") from error
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error


def read_report(shard: Path) -> ShardReport | None:
    """The report of a finished shard; None where the shard is not there or does not match its report."""
    try:
        report = msgspec.json.decode(shard.with_suffix(".json").read_bytes(), type=ShardReport)
        with shard.open("rb") as file:
            return report if hashlib.file_digest(file, "sha256").hexdigest() == report.sha256 else None
    except (OSError, msgspec.DecodeError):
        return None


# ---- making shards ------------------------------------------------------------------------------------------------


def _made(
    jobs: Sequence[Job], model: Model, model_folder: Path, rules: Rules, workers: int, stop: Stop, bar: Any
) -> Iterator[tuple[Job, ShardReport]]:
    """The shards as they are made, in order; in this process with one worker, else in processes of their own."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, make_shard(model, rules, stop, job, bar.update)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(jobs)), _start_worker, (model_folder,)) as pool:
        results = [pool.apply_async(_work, (rules, job)) for job in jobs]
        for job, result in zip(jobs, results, strict=True):
            while not result.ready():
                result.wait(0.2)
                if stop.is_set():
                    raise _stopped()
            yield job, result.get()
            bar.update(len(job.images))


_model: Model


def _start_worker(model_folder: Path) -> None:
    global _model
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends us
    _model = load_model(model_folder)


def _work(rules: Rules, job: Job) -> ShardReport:
    return make_shard(_model, rules, Stop(), job, lambda _: None)


def make_shard(model: Model, rules: Rules, stop: Stop, job: Job, done: Any) -> ShardReport:
    """Cut the images of a shard and write it; whatever goes wrong with one image stays with it.

    Raises ``TryAgainLater`` when asked to stop and when the disk is full.
    """
    parts: list[Chops] = []
    places: list[int] = []
    reports = []
    for place, image in enumerate(job.images):
        if stop.is_set():
            raise _stopped()
        chops, fate = cut_alone(model, image, rules)
        reports.append(fate)
        if chops is not None:
            parts.append(chops)
            places += [place] * len(chops.labels)
        done(1)
    side = chop_side(model, rules)
    contents: dict[str, Any] = {
        "painter": np.array(f"photographs, {model.reference.name} {model.reference.sha256[:12]}"),
        "pixels": np.concatenate([np.zeros((0, side, side), np.uint8), *(chops.pixels for chops in parts)]),
        "labels": np.concatenate([np.zeros(0, np.uint8), *(chops.labels for chops in parts)]),
        "image": np.array([f"{job.path.stem}/{place}" for place in places], "U24"),
    }
    try:
        with atomic_file(job.path) as file:
            np.savez(file, **contents)
        with job.path.open("rb") as file:
            report = ShardReport(part=job.part, sha256=hashlib.file_digest(file, "sha256").hexdigest(), images=reports)
        write_atomically(job.path.with_suffix(".json"), msgspec.json.encode(report))
    except OSError as error:
        raise TryAgainLater(f"can not write to {job.path.parent} ({error.strerror})") from error
    return report


def cut_alone(model: Model, image: ScoredImage, rules: Rules) -> tuple[Chops | None, ImageReport]:
    """The chops of an image and what is to be said of it; None and one line why where anything goes wrong."""
    chops, problem = None, ""
    try:
        chops = cut(model, image, rules)
    except CrystalSearchError as error:
        problem = str(error)
    except MemoryError:
        problem = "not enough memory for this image"
    except Exception as error:  # onnxruntime's errors share no base class, and one bad image must not lose the others
        problem = one_line(error)
    return chops, ImageReport(
        name=image.name,
        source=image.source,
        plate=image.plate,
        class_name=image.class_name,
        uv=image.uv is not None,
        no_drop=chops is not None and not chops.drop,
        in_drop=chops.in_drop if chops else 0,
        chops={NAMES[label]: count for label, count in sorted(Counter(map(int, chops.labels)).items())} if chops else {},
        problem=problem,
    )


def _stopped() -> TryAgainLater:
    return TryAgainLater("stopped by a signal: finished shards are kept, start the same command again to go on")
