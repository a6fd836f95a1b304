"""What is attacked, each with the inputs for it, and what it may do with them: answer, or refuse with an error of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
from tiny_model import chop_network, drop_network, model_toml, write_model

from client_app.checkpoint import Checkpoint
from client_app.decode import decode_image
from client_app.errors import ImageError
from client_app.image import Wish, score_image
from client_app.model import Model, load_model, read_spec
from crystal_search.archives import (
    Manifest,
    Status,
    check_results,
    open_work_unit,
    overlay_sizes,
    read_overlay,
    read_results,
    sha256_hex,
)

from .damage import Chance
from .damaged_archives import IDS, damaged_checkpoint, damaged_results, damaged_work_unit, manifest
from .damaged_images import damaged_image
from .damaged_texts import damaged_toml

_KEY = "work unit, model and version"
#: A reason that begins so is a foreign error, caught at the last moment.
_FOREIGN = re.compile(r"[A-Za-z]+: ")
_PLACE = "input"


@dataclass(frozen=True)
class Target:
    """``share`` in thousandths of all inputs; ``make`` draws one; ``attack`` gives it to the program, in a folder of its own."""

    name: str
    share: int
    make: Callable[[Chance], bytes]
    attack: Callable[[bytes, Path], object]


def _decode(content: bytes, _: Path) -> None:
    try:
        image = decode_image(content)
    except ImageError as error:
        _refuse_floods(str(error))
        raise
    assert image.mode in ("L", "RGB")
    assert min(image.size) > 0


@cache
def _model(folder: Path) -> Model:
    return load_model(write_model(folder / "model"))


def _score(content: bytes, folder: Path) -> None:
    result, overlay = score_image(_model(folder), Wish(16, 0.85, 5, frozenset({"all"})), "0" * 32, lambda: content, None)
    assert (overlay is None) == (result.status is Status.FAILED)
    assert not _FOREIGN.match(result.reason or ""), result.reason
    _refuse_floods(result.reason or "")
    if result.status is Status.FAILED:
        raise ImageError(str(result.reason))


def _refuse_floods(reason: str) -> None:
    """The inputs are small: no image that the client reads may need more than the ceiling that the driver sets."""
    assert "memory" not in reason, "more memory than any image may need"


def _written(content: bytes, folder: Path) -> Path:
    path = folder / _PLACE
    path.write_bytes(content)
    return path


def _open_work_unit(content: bytes, folder: Path) -> None:
    with open_work_unit(_written(content, folder)) as unit:
        for image in unit.manifest.images:
            assert sha256_hex(unit.read_image(image)) == image.sha256


def _read_results(content: bytes, folder: Path) -> None:
    path = _written(content, folder)
    answers = read_results(path)
    for image in answers.images:
        read_overlay(path, image.id)
    overlay_sizes(path)
    check_results(answers, msgspec.convert(manifest([b"", b""]), Manifest))


def _load_checkpoint(content: bytes, folder: Path) -> None:
    (folder / f"{IDS[0]}.checkpoint").write_bytes(content)
    kept = Checkpoint(folder, _KEY).load(IDS[0])
    assert kept is None or kept[0].id == IDS[0]


TARGETS = (
    Target("decode_image", 450, damaged_image, _decode),
    Target("score_image", 150, damaged_image, _score),
    Target("open_work_unit, read_image", 160, damaged_work_unit, _open_work_unit),
    Target("read_results, read_overlay, check_results", 160, damaged_results, _read_results),
    Target("Checkpoint.load", 40, lambda chance: damaged_checkpoint(chance, _KEY), _load_checkpoint),
    Target(
        "read_spec of model.toml",
        40,
        lambda chance: damaged_toml(chance, model_toml(drop_network(), chop_network())),
        lambda content, folder: read_spec(content, folder),
    ),
)
assert sum(target.share for target in TARGETS) == 1000
