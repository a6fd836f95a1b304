"""MXNet's own word on our record files and on the networks that we make of its checkpoints.

MXNet wants a numpy of its own: it runs in the environment that ``make test-mxnet`` sets up, tests/mxnet_side.py there and this here.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_dataset import write_dataset

from client_app.model import load_model
from client_app.preprocess import gray, normalise_chops
from crystal_search.classes import NAMES
from crystal_search.cli import crystal_search
from training.from_mxnet.network import View, read_checkpoint, to_onnx
from training.records.reading import read_image
from training.records.recordio import MAGIC, Record, read_records, write_records

pytestmark = pytest.mark.mxnet

PYTHON = Path(os.environ.get("MXNET_PYTHON", ".venv-mxnet/bin/python")).absolute()
TESTS = Path(__file__).parent
SIDES = {"alexnet": 64, "vggnet": 64, "resnet": 64, "symbolic": 64, "squeezenet": 224}
#: Data that hold the magic number at a multiple of four, and elsewhere.
PAYLOADS = [MAGIC + b"abcd" + MAGIC, b"a" + MAGIC + b"bcd" + MAGIC * 2 + b"e", b"x" * 7 + MAGIC]
if os.environ.get("CRYSTAL_SEARCH_FULL"):
    SIDES = dict.fromkeys(SIDES, 224)


def mxnet(*arguments: object) -> None:
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON} is missing: make test-mxnet sets it up")
    done = subprocess.run([PYTHON, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def real_chops(side: int, count: int = 3) -> np.ndarray:
    """Brightness (n, side, side, 1) around the middle of openly licensed photographs."""
    chops = []
    for file in sorted((TESTS.parent / "demo" / "images").glob("*.jp*g"))[:count]:
        with Image.open(file) as image:
            bright = normalise_chops(gray(image, (1280, round(1280 * image.height / image.width))))
        y, x = (extent // 2 - side // 2 for extent in bright.shape)
        chops.append(bright[y : y + side, x : x + side])
    return np.stack(chops)[..., np.newaxis]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what MXNet says of everything that this module asks it, for one start of MXNet takes seconds."""
    top = tmp_path_factory.mktemp("said")
    for name in ("checkpoints", "png", "jpg", "magic"):
        (top / name).mkdir()
    for name, side in SIDES.items():
        np.save(top / "checkpoints" / f"{name}-pixels.npy", real_chops(side))
    data = write_dataset(top / "data", ("crystals_bad_form", "precipitate", "rim"), chops=2)
    for encoding in ("png", "jpg"):
        records(data, top / encoding / "records", encoding)
        for suffix in ("rec", "idx"):
            (top / encoding / f"ours.{suffix}").write_bytes((top / encoding / "records" / f"training.{suffix}").read_bytes())
        (top / encoding / "side").write_text("232")
    for number, payload in enumerate(PAYLOADS):
        (top / "magic" / f"payload{number}").write_bytes(payload)
    write_records(top / "magic" / "ours.rec", (Record(n, float(n), payload) for n, payload in enumerate(PAYLOADS)))
    jobs = {"checkpoints": ["checkpoints"], "read_rec": ["png", "jpg"], "magic": ["magic"]}
    mxnet(TESTS / "mxnet_side.py", *(f"{job}={top / folder}" for job, folders in jobs.items() for folder in folders))
    return top


@pytest.fixture(scope="module")
def checkpoints(said: Path) -> Path:
    return said / "checkpoints"


def records(data: Path, out: Path, encoding: str) -> None:
    told = ["dataset", "records", data, "--out", out, "--form", "rec", "--encoding", encoding]
    done = CliRunner().invoke(crystal_search, list(map(str, told)))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", SIDES)
def test_an_imported_network_has_mxnets_own_probabilities(checkpoints: Path, name: str) -> None:
    side = SIDES[name]
    network = to_onnx(read_checkpoint(str(checkpoints / name), 7), side, View(255 / 1.6, [110.0], [60.0]), NAMES)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"pixels": np.load(checkpoints / f"{name}-pixels.npy")})[0].reshape(-1, 13).astype(np.float64)
    ours = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    theirs = np.load(checkpoints / f"{name}.npy").reshape(-1, 13)
    assert theirs.std(axis=1).min() > 1e-3  # classes and images do differ
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-4
    assert np.abs(ours - theirs).max() < 1e-5


def test_a_checkpoint_becomes_a_model_that_scores_wells(checkpoints: Path, tmp_path: Path) -> None:
    names = tmp_path / "order.txt"
    names.write_text("\n".join(reversed(NAMES)) + "\n")
    prefix = checkpoints / "alexnet"
    told = [
        "import-mxnet",
        prefix,
        7,
        "--out",
        tmp_path / "lab-alexnet",
        "--window",
        64,
        "--classes",
        names,
        "--mean",
        "110",
        "--std",
        "60",
    ]
    done = CliRunner().invoke(crystal_search, list(map(str, told)))
    assert done.exit_code == 0, done.output
    model = load_model(tmp_path / "lab-alexnet")
    logits = model.chops(np.load(checkpoints / "alexnet-pixels.npy")).reshape(-1, 13).astype(np.float64)
    theirs = np.load(checkpoints / "alexnet.npy").reshape(-1, 13)[:, ::-1]
    assert np.abs(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - theirs).max() < 1e-5
    well = TESTS.parent / "demo" / "images" / "gsk_crystals_6488.jpeg"
    told = ["score", well, "--model", tmp_path / "lab-alexnet", "--step", 64, "--out", tmp_path / "scores"]
    done = CliRunner().invoke(crystal_search, list(map(str, told)))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "scores" / "scores.csv").read_text().splitlines()[1].startswith(f"{well.name},")


@pytest.mark.parametrize("encoding", ["png", "jpg"])
def test_mxnet_reads_our_records_pixel_for_pixel(said: Path, encoding: str) -> None:
    found = said / encoding
    labels = [NAMES.index(name) for name in ("crystals_bad_form",) * 2 + ("precipitate",) * 2 + ("rim",) * 2]
    assert np.load(found / "labels.npy").tolist() == labels
    assert np.load(found / "numbers.npy").tolist() == list(range(6))
    assert np.load(found / "order.npy").tolist() == labels
    written = np.load(said / "data" / "training" / "000000000.npz")["pixels"]
    if encoding == "jpg":  # what is lost is lost in packing, which is im2rec's own call
        files = [cv2.imencode(".jpg", chop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for chop in written]
        written = np.stack([cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) for file in files])
    read = np.load(found / "pixels.npy")
    assert all((read[:, channel] == written).all() for channel in range(3))


def test_we_read_what_im2rec_writes_pixel_for_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (5, 40, 50), dtype=np.uint8)
    lines = []
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        lines.append(f"{number}\t{float(number % 3)}\t{number}.png\n")
    (tmp_path / "lab.lst").write_text("".join(lines))
    script = tmp_path / "run.py"
    path = f"import runpy, sys; sys.path.insert(0, {str(TESTS)!r}); import mxnet_side, mxnet"
    script.write_text(f"{path}; runpy.run_path(mxnet.__path__[0] + '/tools/im2rec.py', run_name='__main__')")
    mxnet(script, tmp_path / "lab", tmp_path, "--color", 0, "--encoding", ".png", "--quality", 9)
    found = list(read_records(tmp_path / "lab.rec"))
    assert [(record.number, record.label) for record in found] == [(n, n % 3) for n in range(5)]
    assert all((read_image(record, tmp_path / "lab.rec") == image).all() for record, image in zip(found, images, strict=True))


def test_both_write_the_same_bytes_where_the_data_hold_the_magic_number(said: Path) -> None:
    found = said / "magic"
    assert (found / "ours.rec").read_bytes() == (found / "theirs.rec").read_bytes()
    assert [(found / f"read{number}").read_bytes() for number in range(3)] == PAYLOADS
    assert [record.image for record in read_records(found / "theirs.rec")] == PAYLOADS


def test_a_squeezenet_trained_in_mxnet_from_our_records_comes_back(tmp_path: Path) -> None:
    records(write_dataset(tmp_path / "data", chops=8), tmp_path / "records", "jpg")
    script = TESTS.parent / "training" / "from_mxnet" / "train_squeezenet.py"
    told = [tmp_path / "records/training.rec", tmp_path / "records/validation.rec", "--out", tmp_path / "lab", "--side", 64]
    for wrong, line in ((("--classes", 5), "classes.txt names 13"), (("--gpu", 99), "--gpu 99: this MXNet sees")):
        done = subprocess.run([PYTHON, script, *map(str, (*told, *wrong))], capture_output=True, text=True, check=False)
        assert (done.returncode, line in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    short = tmp_path / "short.rec"
    whole = told[0].read_bytes()
    for content, place in ((b"", 0), (whole[:-4], "[1-9]"), (b"no records at all", 0)):
        short.write_bytes(content)
        done = subprocess.run([PYTHON, script, short, *map(str, told[1:])], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert re.fullmatch(rf"{re.escape(str(short))}: no whole record begins at byte {place}.*\n", done.stderr), done.stderr
    mxnet(script, *told, "--epochs", 2, "--batch", 4)
    assert (tmp_path / "lab-classes.txt").read_text().split() == list(NAMES)
    told = ["import-mxnet", tmp_path / "lab", 2, "--window", 64, "--mean", "110", "--std", "60", "--out", tmp_path / "lab-1"]
    done = CliRunner().invoke(crystal_search, list(map(str, told)))
    assert done.exit_code == 0, done.output
    assert load_model(tmp_path / "lab-1").chops(real_chops(64)).shape == (3, 1, 1, 13)
