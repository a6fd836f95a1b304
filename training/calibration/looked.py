"""Images with a known group through the client's own code: every window's logits, kept in files so that a run can go on."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import msgspec
import numpy as np
from PIL import Image
from tqdm import tqdm

from client_app.classify import needed_size
from client_app.decode import decode_photo
from client_app.errors import one_line
from client_app.model import CalibrationSpec, FloatArray, Model, ModelSpec, load_model
from client_app.scales import scale_of
from crystal_search.atomic import atomic_file
from crystal_search.classes import BY_NAME, NAMES, Group
from training.evaluation.labels import LabelledImage
from training.synthetic import draw_well
from training.windows import image_logits


@dataclass(frozen=True, slots=True)
class Picture:
    """An opened image, as many px as the model needs, and what is true of it.

    ``empty``: there is no drop in it (group clear). ``um_per_px`` None: not known.
    """

    image: Image.Image
    group: Group
    empty: bool
    um_per_px: float | None


class Source(Protocol):
    """Something that can be opened for a model, in another process too. ``identity`` changes with anything that the picture depends on."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    def open(self, spec: ModelSpec) -> Picture: ...


@dataclass(frozen=True, slots=True)
class DrawnWell:
    """A drawn well. ``painter`` names the version of the sources that draw it."""

    seed: int
    painter: str

    @property
    def name(self) -> str:
        return f"drawn well {self.seed}"

    @property
    def identity(self) -> str:
        return f"{self.painter} {self.seed}"

    def open(self, spec: ModelSpec) -> Picture:
        drawn = draw_well(self.seed)
        group = Group.CLEAR if drawn.class_name is None else BY_NAME[drawn.class_name].group
        return Picture(Image.fromarray(drawn.image), group, drawn.class_name is None, drawn.um_per_px)


@dataclass(frozen=True, slots=True)
class LabFile:
    """A lab's image with the group that people give it."""

    path: Path
    group: Group
    empty: bool
    um_per_px: float | None

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        status = self.path.stat()
        return f"{self.path.resolve()} {status.st_size} {status.st_mtime_ns} {self.group} {self.empty} {self.um_per_px}"

    def open(self, spec: ModelSpec) -> Picture:
        photo = decode_photo(self.path.read_bytes(), needed_size(spec, self.um_per_px))
        return Picture(photo.pixels, self.group, self.empty, self.um_per_px * photo.reduced if self.um_per_px else None)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the network says about an image: ``logits`` (windows, 13), None where no drop was found; ``group`` and ``empty`` are true."""

    group: Group
    empty: bool
    logits: FloatArray | None


def lab_file(image: LabelledImage, folder: Path) -> LabFile:
    """A labelled image in ``folder``, which need not be there. Raises ``UsageError`` where its scale makes no sense."""
    said = image.consensus.judgement
    return LabFile(folder / image.image, said.group, said.empty, scale_of(image.um_per_px, image.image))


def look_at(folder: Path, sources: Sequence[Source], work: Path, workers: int) -> list[Looked | None]:
    """What the model in ``folder`` says about each source, in their order, with a progress bar; None for one that failed.

    What is done is kept in ``work`` for the same images and networks, whatever calibration and threshold the model has; a run that was
    stopped goes on there. One image that can not be read costs one line on the terminal, not the run.
    """
    kept = work / networks_identity(load_model(folder))
    kept.mkdir(parents=True, exist_ok=True)
    looked: list[Looked | None] = []
    with _mapping(workers) as mapped:
        for answer in tqdm(mapped(partial(_look, folder, kept), sources), total=len(sources), unit="image", disable=None):
            if isinstance(answer, str):
                tqdm.write(f"left out: {answer}", file=sys.stderr)
            looked.append(answer if isinstance(answer, Looked) else None)
    return looked


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterator[Looked | str]]]:
    """``map`` on so many processes, or in this one."""
    if workers == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield pool.imap


def networks_identity(model: Model) -> str:
    """A name for all that the logits depend on: the networks and how they are used, not the model's calibration and threshold."""
    plain = msgspec.structs.replace(model.spec, name="any", threshold=0.0, calibration=CalibrationSpec(temperature=1.0))
    return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()[:16]


@cache
def _model(folder: Path) -> Model:
    return load_model(folder, threads=1)


def _look(folder: Path, kept: Path, source: Source) -> Looked | str:
    try:
        path = kept / f"{hashlib.sha256(source.identity.encode()).hexdigest()[:32]}.npz"
        if (known := _read(path)) is not None:
            return known
        picture = source.open(_model(folder).spec)
        looked = Looked(picture.group, picture.empty, image_logits(_model(folder), picture.image, picture.um_per_px))
    except Exception as error:  # whatever is wrong with an image, the others go on
        return f"{source.name}: {one_line(error)}"
    _keep(path, looked)
    return looked


def _read(path: Path) -> Looked | None:
    try:
        with np.load(path) as file:
            logits = file["logits"]
            return Looked(Group(str(file["group"])), bool(file["empty"]), logits if len(logits) else None)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None  # not there, or damaged: it is made again


def _keep(path: Path, looked: Looked) -> None:
    logits = np.empty((0, len(NAMES)), dtype=np.float32) if looked.logits is None else looked.logits
    with atomic_file(path) as file:
        np.savez(file, logits=logits, group=np.array(str(looked.group)), empty=np.array(looked.empty))


def processors() -> int:
    """How many processors this program may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
