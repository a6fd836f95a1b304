"""SIGTERM is obeyed within two seconds, in the middle of whatever takes long, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_client_run import content_of, work_unit
from tiny_model import chop_network, encoded, picture, write_model

from client_app.run import run

#: What we promise.
SECONDS = 2.0
GOOD = encoded(picture(("precipitate", 96, 64)))


def patient(chops: bytes) -> bytes:
    """A chop network that, before it answers as ``chops`` does, counts to the square of the picture's height: one very long call."""
    network = onnx.load_from_string(chops)
    count = helper.make_node("Identity", ["so_far"], ["one_more"])
    passed = helper.make_node("Identity", ["go_on"], ["still"])
    boolean = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    body = helper.make_graph(
        [passed, count],
        "body",
        [number, boolean, helper.make_tensor_value_info("so_far", TensorProto.FLOAT, [1])],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("one_more", TensorProto.FLOAT, [1]),
        ],
    )
    convolution = next(node for node in network.graph.node if node.op_type == "Conv")
    convolution.output[0] = "quick"
    nodes = [
        helper.make_node("Shape", ["pixels"], ["shape"], start=1, end=2),
        helper.make_node("Mul", ["shape", "shape"], ["square"]),
        helper.make_node("Mul", ["square", "often"], ["times"]),
        helper.make_node("Loop", ["times", "", "nothing"], ["counted"], body=body),
        helper.make_node("Add", ["quick", "counted"], ["map"]),
    ]
    position = list(network.graph.node).index(convolution) + 1
    for node in reversed(nodes):
        network.graph.node.insert(position, node)
    network.graph.initializer.extend(
        [numpy_helper.from_array(np.array([200], np.int64), "often"), numpy_helper.from_array(np.zeros(1, np.float32), "nothing")]
    )
    return bytes(network.SerializeToString())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("slow"), chops=patient(chop_network()), image_width="1600")


@pytest.fixture(scope="module")
def huge() -> bytes:
    """A PNG file of 80 megapixels."""
    return encoded(picture(("precipitate", 96, 64), size=(10_000, 8_000)), compress_level=1)


def watched(moment: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("watched_client.py")), moment, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def stop(process: subprocess.Popen[str]) -> None:
    """Wait for the moment, ask the client to stop, and check that it does so as promised."""
    assert process.stdout
    assert process.stdout.readline() == "now\n", process.communicate()
    time.sleep(0.1)  # in the middle of it
    process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - begin < SECONDS
    assert process.returncode == 4
    assert errors == "crystal-search-client: stopped; start it again and it continues\n"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith((".checkpoint", ".zip")))


@pytest.mark.parametrize("moment", ["decoding", "resampling", "drawing"])
def test_in_the_middle_of_an_image(tmp_path: Path, model: Path, huge: bytes, moment: str) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, huge)
    stop(watched(moment, tmp_path / "in.zip", tmp_path / "out.zip", "--model", model))
    assert left(tmp_path) == ["in.zip", "out.zip.checkpoint"]
    assert len(left(tmp_path / "out.zip.checkpoint")) == 1
    run(tmp_path / "in.zip", tmp_path / "undisturbed.zip", model, threads=1)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert content_of(tmp_path / "out.zip") == content_of(tmp_path / "undisturbed.zip")


def test_in_a_call_of_the_network_that_would_take_minutes(tmp_path: Path, slow_model: Path) -> None:
    """Python sees a signal between two of its own steps only, and here there is none."""
    work_unit(tmp_path / "in.zip", slow_model, GOOD)
    stop(watched("network", tmp_path / "in.zip", tmp_path / "out.zip", "--model", slow_model))
    assert left(tmp_path) == ["in.zip"]


def test_while_the_result_is_written(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, GOOD)
    stop(watched("writing", tmp_path / "in.zip", tmp_path / "out.zip", "--model", model))
    run(tmp_path / "in.zip", tmp_path / "undisturbed.zip", model, threads=1)
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert content_of(tmp_path / "out.zip") == content_of(tmp_path / "undisturbed.zip")


def test_on_a_disk_that_does_not_answer(tmp_path: Path, model: Path) -> None:
    """What is half written is left there; the next client tidies up."""
    work_unit(tmp_path / "in.zip", model, GOOD)
    stop(watched("stuck", tmp_path / "in.zip", tmp_path / "out.zip", "--model", model))
    assert list((tmp_path / "out.zip.checkpoint").glob(".*.part"))
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zip", "out.zip"]


def test_what_a_killed_client_left_beside_the_result_is_removed(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD)
    for name in (".out.zip.a1b2c3d4.part", ".fraction_done.part", ".another.zip.a1b2c3d4.part"):
        (tmp_path / name).write_bytes(b"half")
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".another.zip.a1b2c3d4.part", "in.zip", "out.zip"]
