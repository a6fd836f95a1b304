"""Record files and MXNet checkpoints without MXNet: sizes, round trips, one clear line for whatever is wrong."""

from __future__ import annotations

import errno
import json
import math
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from heavy import heavy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_dataset import write_dataset

from client_app.model import load_model
from crystal_search.classes import NAMES
from crystal_search.cli import crystal_search
from crystal_search.errors import TryAgainLater, UsageError
from training.datasets.loading import read_dataset
from training.from_mxnet.network import View, read_checkpoint, to_onnx
from training.records.recordio import MAGIC, Record, read_records, write_records

h5py = heavy("h5py")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(crystal_search, list(map(str, arguments)))


def problem(*arguments: object) -> str:
    """The one line of a command that fails."""
    done = run(*arguments)
    assert isinstance(done.exception, UsageError), done.output
    (line,) = str(done.exception).splitlines()
    return line


# ---- record files -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("records")
    write_dataset(top / "data", chops=4, side=72)
    done = run("dataset", "records", top / "data", "--out", top / "records", "--encoding", "png", "--window", 64)
    assert done.exit_code == 0, done.output
    (top / "said").write_text(done.output)
    return top


def test_the_sizes_are_printed_beside_hdf5(packed: Path) -> None:
    sizes = {}
    for form, suffixes in (("rec", (".rec", ".idx")), ("tfrecord", (".tfrecord",)), ("hdf5", (".h5",))):
        sizes[form] = sum(file.stat().st_size for file in (packed / "records").iterdir() if file.suffix in suffixes)
    rows = [line.split("|")[1:4] for line in (packed / "said").read_text().splitlines()[2:]]
    assert {form.strip(): times.strip() for form, _, times in rows} == {form: f"{sizes['hdf5'] / size:.1f}" for form, size in sizes.items()}


def test_tfrecord_and_hdf5_hold_the_chops(packed: Path) -> None:
    import tensorflow as tf

    stored = np.load(packed / "data/training/000000000.npz")
    with h5py.File(packed / "records/training.h5") as file:
        assert (file["pixels"][:] == stored["pixels"]).all()
        assert (file["labels"][:] == stored["labels"]).all()
    examples = [tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(str(packed / "records/training.tfrecord"))]
    images = [tf.io.decode_png(one.features.feature["image/encoded"].bytes_list.value[0]).numpy()[..., 0] for one in examples]
    assert (np.stack(images) == stored["pixels"]).all()
    words = [one.features.feature["image/class/text"].bytes_list.value[0].decode() for one in examples]
    assert words == [NAMES[label] for label in stored["labels"]]


def test_a_labs_records_become_a_data_set(packed: Path, tmp_path: Path) -> None:
    files = [packed / "records" / f"{part}.rec" for part in ("training", "validation")]
    done = run("dataset", "from-records", *files, "--out", tmp_path / "back", "--window", 64)
    assert done.exit_code == 0, done.output
    one, two = read_dataset(packed / "data", 64), read_dataset(tmp_path / "back", 64)
    for part in ("training", "validation"):
        assert (getattr(one, part)["pixels"] == getattr(two, part)["pixels"]).all()
        assert (getattr(one, part)["labels"] == getattr(two, part)["labels"]).all()


def test_labels_in_another_order_are_put_right(packed: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(reversed(NAMES)))
    files = [packed / "records" / f"{part}.rec" for part in ("training", "validation")]
    done = run("dataset", "from-records", *files, "--classes", names, "--out", tmp_path / "back", "--window", 64)
    assert done.exit_code == 0, done.output
    labels = read_dataset(packed / "data", 64).training["labels"]
    assert (read_dataset(tmp_path / "back", 64).training["labels"] == 12 - labels).all()


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.sampled_from([MAGIC, b"a", b"bc", b"\0" * 3]), max_size=9).map(b"".join), max_size=5))
def test_any_data_come_back(payloads: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.rec"
        write_records(path, (Record(number, 1.0, payload) for number, payload in enumerate(payloads)))
        assert [record.image for record in read_records(path)] == payloads
        for number, line in enumerate((Path(folder) / "a.idx").read_text().splitlines()):
            place = int(line.split("\t")[1])
            assert path.read_bytes()[place : place + 4] == MAGIC
            assert int(line.split("\t")[0]) == number


def test_data_are_cut_at_the_magic_number_at_multiples_of_four_only(tmp_path: Path) -> None:
    # A header of 24 bytes goes before the data, so a multiple of four stays one.
    write_records(tmp_path / "a.rec", [Record(2, 5.0, b"x" + MAGIC + b"yz!"), Record(3, 0.0, b"abcd" + MAGIC + b"e")])
    header = struct.pack("<IfQQ", 0, 5.0, 2, 0), struct.pack("<IfQQ", 0, 0.0, 3, 0)
    whole = MAGIC + struct.pack("<I", 32) + header[0] + b"x" + MAGIC + b"yz!"
    first = MAGIC + struct.pack("<I", 1 << 29 | 28) + header[1] + b"abcd"
    last = MAGIC + struct.pack("<I", 3 << 29 | 1) + b"e\0\0\0"
    assert (tmp_path / "a.rec").read_bytes() == whole + first + last
    assert (tmp_path / "a.idx").read_text() == "2\t0\n3\t40\n"


@pytest.mark.parametrize("left", [1, 4, 11])
def test_a_truncated_record_is_one_line(packed: Path, tmp_path: Path, left: int) -> None:
    short = tmp_path / "short.rec"
    whole = (packed / "records" / "training.rec").read_bytes()
    short.write_bytes(whole[:-left] if left < 11 else whole[:left])
    validation = packed / "records" / "validation.rec"
    line = problem("dataset", "from-records", short, validation, "--out", tmp_path / "d", "--window", 64)
    assert "short.rec: the file ends within the record at byte" in line


def test_a_file_cut_off_between_two_records_is_told_from_its_idx(packed: Path, tmp_path: Path) -> None:
    files = {name: (packed / "records" / f"training.{name}").read_bytes() for name in ("rec", "idx")}
    second = int(files["idx"].splitlines()[1].split(b"\t")[1])
    (tmp_path / "short.rec").write_bytes(files["rec"][:second])
    validation = packed / "records" / "validation.rec"
    told = ("dataset", "from-records", tmp_path / "short.rec", validation, "--out", tmp_path / "d", "--window", 64)
    (tmp_path / "short.idx").write_bytes(files["idx"])
    assert "short.rec: it holds 1 records and short.idx names" in problem(*told)
    (tmp_path / "short.idx").unlink()
    assert run(*told).exit_code == 0  # what stopped left nothing in the way


def test_records_for_detectors_are_one_line(tmp_path: Path) -> None:
    # A header of two numbers, boxes of five: the class is not the first number.
    data = struct.pack("<IfQQ", 7, 0.0, 1, 0) + struct.pack("<7f", 2.0, 5.0, 1.0, 0.1, 0.1, 0.5, 0.5) + b"image"
    (tmp_path / "boxes.rec").write_bytes(MAGIC + struct.pack("<I", len(data)) + data + b"\0" * (-len(data) % 4))
    with pytest.raises(UsageError, match=r"boxes\.rec: the record at byte 0 has 7 labels"):
        list(read_records(tmp_path / "boxes.rec"))
    data = struct.pack("<IfQQ", 1, 0.0, 1, 0) + struct.pack("<f", 2.0) + b"img!"
    (tmp_path / "one.rec").write_bytes(MAGIC + struct.pack("<I", len(data)) + data)
    assert list(read_records(tmp_path / "one.rec")) == [Record(1, 2.0, b"img!")]


def test_a_label_without_a_class_and_a_record_without_an_image_are_one_line(packed: Path, tmp_path: Path) -> None:
    good = packed / "records" / "validation.rec"
    write_records(tmp_path / "label.rec", [Record(3, 13.0, b"x")])
    assert "record 3 has the label 13, 13 classes" in problem(
        "dataset", "from-records", tmp_path / "label.rec", good, "--out", tmp_path / "d"
    )
    write_records(tmp_path / "image.rec", [Record(3, 1.0, b"x")])
    assert "record 3 holds no image" in problem("dataset", "from-records", tmp_path / "image.rec", good, "--out", tmp_path / "e")
    (tmp_path / "other.rec").write_bytes(b"PK\3\4 this is a ZIP")
    assert "no record begins at byte 0" in problem("dataset", "from-records", tmp_path / "other.rec", good, "--out", tmp_path / "f")


# ---- checkpoints --------------------------------------------------------------------------------------------------


def params(**arrays: np.ndarray) -> bytes:
    """A .params file as MXNet 1.x writes it (checked against MXNet itself in test_mxnet.py)."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for value in arrays.values():
        value = np.ascontiguousarray(value, np.float32)
        parts.append(struct.pack("<Iii", 0xF993FAC9, 0, value.ndim) + struct.pack(f"<{value.ndim}q", *value.shape))
        parts.append(struct.pack("<iii", 1, 0, 0) + value.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts.append(struct.pack("<Q", len(name) + 4) + b"arg:" + name.encode())
    return b"".join(parts)


def node(op: str, name: str, *inputs: int, **attributes: str) -> dict[str, object]:
    return {"op": op, "name": name, "inputs": [[number, 0, 0] for number in inputs], "attrs": attributes}


def write_checkpoint(folder: Path, outputs: int = 13, last: str = "SoftmaxOutput", **left_out: bool) -> Path:
    """A network that answers class k with k times the mean of what it sees."""
    nodes = [
        node("null", "data"),
        node("null", "conv_weight"),
        node("Convolution", "conv", 0, 1, kernel="(1, 1)", num_filter="1", no_bias="True"),
        node("Pooling", "pool", 2, global_pool="True", kernel="(1, 1)", pool_type="avg"),
        node("null", "fc_weight"),
        node("null", "fc_bias"),
        node("FullyConnected", "fc", 3, 4, 5, num_hidden=str(outputs)),
        node("null", "softmax_label"),
        node(last, "softmax", 6, 7),
    ]
    (folder / "lab-symbol.json").write_text(json.dumps({"nodes": nodes, "heads": [[8, 0, 0]]}))
    arrays = {
        "conv_weight": np.full((1, 3, 1, 1), 1 / 3),
        "fc_weight": np.arange(outputs, dtype=np.float32)[:, None],
        "fc_bias": np.zeros(outputs),
    }
    (folder / "lab-0003.params").write_bytes(params(**{name: value for name, value in arrays.items() if name not in left_out}))
    return folder / "lab"


def imported(prefix: Path, out: Path, *options: object) -> tuple[object, ...]:
    return ("import-mxnet", prefix, 3, "--out", out, "--window", 32, *options)


def test_logits_are_worked_out_by_hand(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path)
    done = run(*imported(prefix, tmp_path / "lab-1", "--white", 100, "--mean", "20,20,20", "--std", 40, "--scale", 2))
    assert done.exit_code == 0, done.output
    answer = load_model(tmp_path / "lab-1").chops(np.full((1, 32, 32, 1), 0.5, np.float32))
    assert answer.reshape(-1) == pytest.approx(np.arange(13) * (0.5 * 100 - 20) * 2 / 40, abs=1e-5)


def test_five_outputs_answer_as_the_table(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path, outputs=5)
    done = run(*imported(prefix, tmp_path / "lab-1", "--classes", "rim,clear,other,precipitate,crystal", "--white", 1))
    assert done.exit_code == 0, done.output
    answer = load_model(tmp_path / "lab-1").chops(np.ones((1, 32, 32, 1), np.float32)).reshape(-1)
    told = {"rim": 0.0, "clear": 1.0, "other": 2.0, "precipitate": 3.0, "crystals_harvestable": 4.0}
    assert answer.tolist() == pytest.approx([told.get(name, -100.0) for name in NAMES])


def test_classes_that_contradict_the_file_beside_the_checkpoint_are_one_line(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path)
    (tmp_path / "lab-classes.txt").write_text("\n".join(NAMES))
    other = tmp_path / "other.txt"
    other.write_text("\n".join(reversed(NAMES)))
    assert "names the outputs otherwise than" in problem(*imported(prefix, tmp_path / "m", "--classes", other))
    other.write_text("\n".join([*NAMES[:12], "clear"]))
    assert "two names mean clear" in problem(*imported(prefix, tmp_path / "m", "--classes", other))


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("missing weights", "lab-0003.params lacks 1 of the weights that lab-symbol.json names: fc_weight"),
        ("unknown layer", "unknown layer Correlation (softmax)"),
        ("wrong number of outputs", "the network has 7 outputs, 13 classes are named"),
        ("truncated weights", "is no whole checkpoint of MXNet (it ends too early)"),
        ("no weights", "lab-0003.params: can not be read"),
        ("another file", "is no whole checkpoint of MXNet (it does not begin as one)"),
        ("no network", "lab-symbol.json is no network of MXNet"),
    ],
)
def test_a_checkpoint_that_can_not_be_used_is_one_line(tmp_path: Path, what: str, line: str) -> None:
    prefix = write_checkpoint(
        tmp_path,
        outputs=7 if what == "wrong number of outputs" else 13,
        last="Correlation" if what == "unknown layer" else "SoftmaxOutput",
        **({"fc_weight": True} if what == "missing weights" else {}),
    )
    weights = tmp_path / "lab-0003.params"
    if what == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-9])
    if what == "no weights":
        weights.unlink()
    if what == "another file":
        weights.write_bytes(b"x" * 100)
    if what == "no network":
        (tmp_path / "lab-symbol.json").write_text('{"nodes": 3}')
    assert line in problem(*imported(prefix, tmp_path / "m"))
    assert not (tmp_path / "m").exists()


def test_weights_of_another_network_are_one_line(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path)
    wrong = {"conv_weight": np.ones((1, 3, 1, 1)), "fc_weight": np.ones((13, 2)), "fc_bias": np.zeros(13)}
    (tmp_path / "lab-0003.params").write_bytes(params(**wrong))
    assert "its layers do not fit chops of 32 px" in problem(*imported(prefix, tmp_path / "m"))


def test_what_can_not_be_told_is_one_line(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path)
    assert "--classes lab-names.txt: no such file" in problem(*imported(prefix, tmp_path / "m", "--classes", "lab-names.txt"))
    for option, number in (("--std", "0"), ("--std", "60,0,60"), ("--mean", "nan"), ("--mean", "")):
        done = run(*imported(prefix, tmp_path / "m", option, number))
        assert done.exit_code == 2, done.output
        assert option in done.output
    assert not (tmp_path / "m").exists()


def test_weights_that_are_no_numbers_are_one_line(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path)
    weights = tmp_path / "lab-0003.params"
    weights.write_bytes(weights.read_bytes().replace(struct.pack("<f", 7.0), struct.pack("<f", math.nan)))
    assert "fc_weight holds values that are no numbers" in problem(*imported(prefix, tmp_path / "m"))


def test_after_a_disk_that_became_full_the_same_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = imported(write_checkpoint(tmp_path), tmp_path / "lab-1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("training.export.write_settings", full)
        assert isinstance(run(*told).exception, TryAgainLater)
    done = run(*told)
    assert done.exit_code == 0, done.output


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(cut=st.integers(0, 300), flip=st.integers(0, 255), place=st.integers(0, 299))
def test_a_damaged_checkpoint_never_ends_in_a_traceback(cut: int, flip: int, place: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        prefix = write_checkpoint(Path(folder))
        weights = Path(folder) / "lab-0003.params"
        content = bytearray(weights.read_bytes())
        content[min(place, len(content) - 1)] ^= flip
        weights.write_bytes(bytes(content[: len(content) - cut]))
        with suppress(UsageError):
            to_onnx(read_checkpoint(str(prefix), 3), 32, View(1.0), NAMES)
