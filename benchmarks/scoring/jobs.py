"""What a measuring process is asked and what it answers. Each measurement has a process of its own: memory and threads are its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.machine import environment
from crystal_search.archives import PixelBox
from crystal_search.errors import EXIT_DONE, CrystalSearchError


class Job(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What all questions hold: a model folder, the step in px from window to window, paths of images, and threads."""

    model: str
    step: int
    images: list[str]
    threads: int


class FindDrops(Job, frozen=True, kw_only=True):
    """Where the model's own drop finder sees drops: every way gets these boxes."""


class Quantise(Job, frozen=True, kw_only=True):
    """Write the chop network in int8 to ``file``, calibrated on the images."""

    file: str


class ScoreWells(Job, frozen=True, kw_only=True):
    """Score the images, of which ``boxes`` are the drops in px, by the way of that name, each ``repeats`` times.

    ``int8`` is the file of ``Quantise``.
    """

    way: str
    boxes: list[PixelBox]
    repeats: int = 1
    int8: str | None = None


class ScoreSizes(ScoreWells, frozen=True, kw_only=True):
    """Only classify the first image, once for each of the boxes."""


class ScoreAtOnce(Job, frozen=True, kw_only=True):
    """Score the images with the client, ``at_once`` of them at a time."""

    at_once: int


class Multiply(Job, frozen=True, kw_only=True):
    """The rate of sgemm."""


AnyJob = FindDrops | Quantise | ScoreWells | ScoreSizes | ScoreAtOnce | Multiply


class FoundDrop(msgspec.Struct, frozen=True, kw_only=True):
    """An image's drop, None where there is none, or why the image ``failed``.

    ``box`` is in px of what the client decodes, which is ``size`` large, of an image of ``file_size`` px.
    """

    box: PixelBox | None = None
    size: tuple[int, int] = (0, 0)
    file_size: tuple[int, int] = (0, 0)
    failed: str | None = None


class Well(msgspec.Struct, frozen=True, kw_only=True):
    """One well scored one way, the fastest of its repeats.

    ``seconds`` from file to overlay, ``stages`` the seconds of each stage, ``macs`` those of the chop network.
    ``class_name`` is None where no window reaches the threshold.
    """

    seconds: float
    stages: dict[str, float]
    windows: int
    class_name: str | None
    crystal_probability: float
    macs: int | None = None


class Wells(msgspec.Struct, frozen=True, kw_only=True):
    """What a way made of the wells, the most memory its process held, and whether its weights are the model's."""

    wells: list[Well]
    peak_bytes: int
    model_weights: bool = True


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """Windows of one box, and the seconds of the fastest repeat."""

    windows: int
    seconds: float


class AtOnce(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds for all images, and the most memory the process held."""

    seconds: float
    peak_bytes: int


class LeftOut(CrystalSearchError):
    """This measurement can not be made here; the message says why in one line."""


_AnswerT = TypeVar("_AnswerT")


def ask(job: AnyJob, kind: type[_AnswerT]) -> _AnswerT:
    """The answer to ``job`` from a process of its own. Raises ``LeftOut`` with the reason where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "job.json", Path(folder) / "answer.json"
        question.write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", "benchmarks.scoring.child", str(question), str(answer)]
        done = subprocess.run(command, env=environment(job.threads), capture_output=True, text=True, errors="replace", check=False)
        if done.returncode < 0:
            raise LeftOut(f"its process was ended by signal {-done.returncode}: is there enough memory?")
        if done.returncode != EXIT_DONE or not answer.exists():
            raise LeftOut((done.stderr.strip() or f"its process ended with {done.returncode}").splitlines()[-1])
        return msgspec.json.decode(answer.read_bytes(), type=kind)
