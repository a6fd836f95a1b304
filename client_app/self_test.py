"""``crystal-search-client --self-test``: a drawn well through the whole path, from a work unit to its result.

The picture is ``self_test.jpg``. What is expected of it lies beside the model in ``self-test.json`` and is written by
``python -m client_app.self_test MODEL_FOLDER`` whenever the model changes; a model without that file is tested for a sound run only.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from client_app.model import load_model
from client_app.model_folders import MODEL_TOML, default_model_folder
from client_app.run import run
from crystal_search.archives import (
    FORMAT_VERSION,
    ImageResult,
    Manifest,
    PixelBox,
    Probability,
    Results,
    Sha256,
    Status,
    WorkImage,
    check_results,
    random_id,
    read_overlay,
    read_results,
    sha256_hex,
    work_unit_name,
    write_work_unit,
)
from crystal_search.atomic import write_atomically
from crystal_search.errors import CrystalSearchError, UsageError

PICTURE = Path(__file__).resolve().parent / "self_test.jpg"
#: Drawn by ``training.synthetic``; its scale is not said, so that every model brings it to its own image width.
EXPECTED = "self-test.json"
#: Processors and providers add up in another order. Softmax turns the last digits of a logit into less than this.
PROBABILITY_TOLERANCE = 0.02
#: A pixel of the drop's mask that lies at the threshold moves the box by 1/128 of the image's longer side.
BOX_TOLERANCE_PX = 16


class SelfTestFailed(CrystalSearchError):
    """This computer does not get what it should; the message says what."""


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the model with this ``model.toml`` says of this picture."""

    model_sha256: Sha256
    picture_sha256: Sha256
    status: Status
    class_name: str | None
    crystal_probability: Probability
    drop_box: PixelBox


def self_test(model_folder: Path | None = None, threads: int = 1) -> str:
    """Score the picture with the model in ``model_folder`` (None: the default one) and compare; returns what to tell a person, in one line.

    Raises ``SelfTestFailed`` with one line for whatever goes wrong.
    """
    folder = model_folder or default_model_folder()
    try:
        results = _score(folder, threads)
        found, expected = results.images[0], _expected(folder, results)
        if problem := unsound(found) or (expected and difference(found, expected)):
            raise SelfTestFailed(problem)
    except CrystalSearchError as error:
        raise SelfTestFailed(f"self-test failed: {error}") from error
    said = f"model {results.model.name} ({results.model.sha256[:12]}), {found.class_name or found.status}"
    said += f", crystal probability {found.crystal_probability:.3f}, drop {found.drop_box}"
    said += f", {found.seconds:.2f} s with {results.runtime} on {results.provider}"
    return said if expected else f"{said}; sound, but {EXPECTED} is not beside this model, so the numbers were compared with nothing"


def unsound(found: ImageResult) -> str | None:
    """Why ``found`` can not be any model's result for a picture that shows a drop, or None."""
    if found.status is Status.FAILED:
        return f"the built-in picture was not scored: {found.reason}"
    if found.status is Status.NO_DROP:
        return "no drop was found in the built-in picture"
    return None


def difference(found: ImageResult, expected: Expected) -> str | None:
    """What ``found`` (with a drop) and ``expected`` disagree in beyond the tolerances, or None."""
    if (found.status, found.class_name) != (expected.status, expected.class_name):
        return f"{found.class_name or found.status} instead of {expected.class_name or expected.status}"
    if abs((found.crystal_probability or 0.0) - expected.crystal_probability) > PROBABILITY_TOLERANCE:
        return f"crystal probability {found.crystal_probability} instead of {expected.crystal_probability}"
    if max(abs(a - b) for a, b in zip(found.drop_box or (0, 0, 0, 0), expected.drop_box, strict=True)) > BOX_TOLERANCE_PX:
        return f"drop {found.drop_box} instead of {expected.drop_box}"
    return None


def write_expected(folder: Path) -> Path:
    """Score the picture here and keep the result in the model's folder as what every other computer is expected to get."""
    results = _score(folder, threads=1)
    found = results.images[0]
    if problem := unsound(found):
        raise SelfTestFailed(problem)
    assert found.drop_box is not None
    assert found.crystal_probability is not None
    expected = Expected(
        model_sha256=results.model.sha256,
        picture_sha256=sha256_hex(PICTURE.read_bytes()),
        status=found.status,
        class_name=found.class_name,
        crystal_probability=round(found.crystal_probability, 4),
        drop_box=found.drop_box,
    )
    write_atomically(folder / EXPECTED, msgspec.json.format(msgspec.json.encode(expected), indent=1) + b"\n")
    return folder / EXPECTED


def _score(folder: Path, threads: int) -> Results:
    """The picture in a work unit, run as any other, and its result read and checked as a server does."""
    reference = load_model(folder, threads).reference
    with tempfile.TemporaryDirectory(prefix="crystal-search-self-test-") as name:
        work_unit, out = Path(name) / "in.zip", Path(name) / "out.zip"
        content, key = PICTURE.read_bytes(), random_id()
        image = WorkImage(id=key, file=f"{key}.jpg", sha256=sha256_hex(content))
        manifest = Manifest(format_version=FORMAT_VERSION, name=work_unit_name("self-test", 1), model=reference, images=[image])
        write_work_unit(work_unit, manifest, {image.file: content})
        run(work_unit, out, folder, threads)
        results = read_results(out)
        check_results(results, manifest)
        if results.images[0].status is not Status.FAILED and read_overlay(out, key) is None:
            raise SelfTestFailed("the overlay is missing")
    return results


def _expected(folder: Path, results: Results) -> Expected | None:
    """What lies beside the model, or None where nothing does. Raises ``SelfTestFailed`` when it is of another model or picture."""
    path = folder / EXPECTED
    if not path.exists():
        return None
    try:
        expected = msgspec.json.decode(path.read_bytes(), type=Expected)
    except (OSError, msgspec.DecodeError) as error:
        raise SelfTestFailed(f"{path} can not be read ({error}): install this model again") from error
    if expected.model_sha256 != results.model.sha256 or expected.picture_sha256 != sha256_hex(PICTURE.read_bytes()):
        raise SelfTestFailed(
            f"{path} was written for another {MODEL_TOML} or another picture: python -m client_app.self_test {folder} writes it anew"
        )
    return expected


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(str(UsageError("python -m client_app.self_test MODEL_FOLDER")))
    print(write_expected(Path(sys.argv[1])))
