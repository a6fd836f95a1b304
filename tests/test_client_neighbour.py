"""The client is a guest on its volunteer's computer: last in the queue, and never more memory than it may have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from test_client_run import exits, start, work_unit
from test_client_stop import watched
from tiny_model import chop_network, encoded, picture, write_model

from client_app import main as main_module
from client_app import memory
from client_app.errors import ImageError
from client_app.main import client
from client_app.memory import MB, Reserved, check_memory, memory_needed
from client_app.model import load_model
from client_app.run import run
from crystal_search.archives import ImageResult, Status, read_results
from crystal_search.errors import TryAgainLater

GOOD = encoded(picture(("precipitate", 96, 64)))
LARGE = encoded(picture(("precipitate", 96, 64), size=(5_000, 4_000)).convert("RGB"), compress_level=1)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this limit")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def images(path: Path) -> tuple[ImageResult, ...]:
    return tuple(read_results(path).images)


# ---- what a running client looks like from outside --------------------------------------------------------------


@contextmanager
def running(tmp_path: Path, model: Path, *options: str) -> Iterator[Popen[str]]:
    """A client at work, until the block ends."""
    work_unit(tmp_path / "in.zip", model, GOOD)
    process = watched("writing", tmp_path / "in.zip", tmp_path / "out.zip", "--model", model, *options)
    try:
        assert process.stdout
        assert process.stdout.readline() == "now\n"
        yield process
    finally:
        process.terminate()
        process.communicate()


def test_every_other_program_comes_first(tmp_path: Path, model: Path) -> None:
    with running(tmp_path, model) as process:
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19


def test_a_volunteer_may_want_it_otherwise(tmp_path: Path, model: Path) -> None:
    with running(tmp_path, model, "--priority", "normal") as process:
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0)


@linux
@pytest.mark.parametrize(("options", "limit"), [((), 1280), (("--memory-mb", "700"), 700)])
def test_the_system_holds_the_ceiling(tmp_path: Path, model: Path, options: tuple[str, ...], limit: int) -> None:
    with running(tmp_path, model, *options) as process:
        (line,) = re.findall(r"Max data size +(\d+)", Path(f"/proc/{process.pid}/limits").read_text())
        assert limit * MB <= int(line) <= (limit + 64) * MB


def test_a_priority_that_can_not_be_changed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "nice", refused)
    main_module.lower_priority()


# ---- an image that is too large -----------------------------------------------------------------------------------


def test_an_image_beyond_the_ceiling_fails_alone_and_says_what_would_help(tmp_path: Path, model: Path) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, LARGE, GOOD)
    process = start(tmp_path / "in.zip", tmp_path / "out.zip", "--model", model, "--memory-mb", "300")
    assert process.communicate() == ("", "")
    before, large, after = images(tmp_path / "out.zip")
    assert (before.status, after.status) == (Status.SCORED, Status.SCORED)
    assert large.reason
    enough = re.fullmatch(r"needs about \d+ MB of memory, 300 MB are allowed: --memory-mb (\d+) would do", large.reason)
    assert enough
    (tmp_path / "out.zip").unlink()
    process = start(tmp_path / "in.zip", tmp_path / "out.zip", "--model", model, "--memory-mb", enough[1])
    assert process.communicate() == ("", "")
    assert [image.status for image in images(tmp_path / "out.zip")] == [Status.SCORED] * 3


@linux
def test_what_nobody_foresaw_fails_the_image_and_not_the_program(tmp_path: Path) -> None:
    """A network that wants 40 MB for a window of 32 px, and 3 GB and more for this drop."""
    network = onnx.load_from_string(chop_network())
    convolution = next(node for node in network.graph.node if node.op_type == "Conv")
    convolution.output[0] = "lean"
    position = list(network.graph.node).index(convolution) + 1
    nodes = [
        helper.make_node("Shape", ["pixels"], ["side"], start=1, end=2),
        helper.make_node("Mul", ["side", "side"], ["square"]),
        helper.make_node("Mul", ["square", "square"], ["fourth"]),
        helper.make_node("Mul", ["fourth", "ten"], ["many"]),
        helper.make_node("Expand", ["nothing", "many"], ["waste"]),
        helper.make_node("ReduceMax", ["waste"], ["most"], keepdims=0),
        helper.make_node("Add", ["lean", "most"], ["map"]),
    ]
    for node in reversed(nodes):
        network.graph.node.insert(position, node)
    network.graph.initializer.extend(
        [numpy_helper.from_array(np.array([10], np.int64), "ten"), numpy_helper.from_array(np.zeros(1, np.float32), "nothing")]
    )
    model = write_model(tmp_path / "model", chops=network.SerializeToString())
    work_unit(tmp_path / "in.zip", model, GOOD, encoded(picture(drop=False)))
    process = start(tmp_path / "in.zip", tmp_path / "out.zip", "--model", model)
    assert process.communicate() == ("", "")
    greedy, empty = images(tmp_path / "out.zip")
    assert (greedy.status, greedy.reason) == (Status.FAILED, "not enough memory for this image")
    assert empty.status is Status.NO_DROP


def test_the_estimate_is_what_one_works_out_by_hand(model: Path) -> None:
    """20 megapixels of RGB: 4 bytes in Pillow and 1 as gray; 256 x 205 px for the network at 14 bytes."""
    spec = load_model(model).spec
    program = memory_needed(b"no image", None, spec) - len(b"no image")
    assert program < memory.LEAST_MEMORY_MB * MB
    assert memory_needed(LARGE, None, spec) == program + len(LARGE) + 20_000_000 * 5 + 256 * 205 * 14
    assert memory_needed(LARGE, 4.0, spec) == program + len(LARGE) + 20_000_000 * (5 + 14), "at the model's own 4 um/px nothing shrinks"


def huge(kind: str) -> bytes:
    """24 megapixels of a kind."""
    image = picture(("precipitate", 96, 64), size=(6_000, 4_000))
    if kind == "16 bits":
        return encoded(Image.fromarray(np.asarray(image).astype(np.uint16) << 8), compress_level=1)
    if kind == "palette":
        return encoded(image.quantize(16), compress_level=1)
    if kind == "alpha":
        return encoded(image.convert("RGBA"), compress_level=1)
    if kind == "print":
        return encoded(image.convert("CMYK"), "JPEG", progressive=True, subsampling=0)
    if kind == "one strip":
        return encoded(image.convert("RGB"), "TIFF", compression="tiff_lzw", strip_size=2**30)
    return encoded(image.convert("RGB"), "JPEG", progressive=kind == "progressive", subsampling=0)


@linux
@pytest.mark.parametrize("kind", ["plain", "progressive", "print", "16 bits", "palette", "alpha", "one strip"])
def test_no_kind_of_image_needs_more_than_foreseen(tmp_path: Path, model: Path, kind: str) -> None:
    content = huge(kind)
    (tmp_path / "image").write_bytes(content)
    code = f"""
import re
from pathlib import Path
from client_app.image import Wish, score_image
from client_app.model import load_model
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
model, before = load_model(Path({str(model)!r})), peak()
score_image(model, Wish(16, 0.85, 5, frozenset({{"all"}})), "0" * 32, Path({str(tmp_path / "image")!r}).read_bytes, None)
print(peak() - before)
"""
    used = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    spec = load_model(model).spec
    foreseen = memory_needed(content, None, spec) - memory_needed(b"", None, spec)
    assert (1e6 if kind == "plain" else 24e6) < used < foreseen + 16 * MB, "a plain JPEG is decoded at an eighth of its size"


# ---- a computer without memory ----------------------------------------------------------------------------------------


def test_without_memory_for_one_image_it_ends_before_it_begins(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD)
    monkeypatch.setattr(memory, "free_memory", lambda: 50 * MB)
    monkeypatch.setattr(memory, "_resident", lambda: 0)
    arguments = [str(tmp_path / "in.zip"), str(tmp_path / "out.zip"), "--model", str(model), "--priority", "normal"]
    assert client(arguments, main_module._prepare) == 4
    line = capsys.readouterr().err
    assert re.fullmatch(r"crystal-search-client: only 50 MB of memory are free, about 256 MB are needed: start again .*\n", line)


def test_an_image_waits_for_memory_and_what_is_done_is_kept(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_unit(tmp_path / "in.zip", model, GOOD, LARGE)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda: 270 * MB)
        patch.setattr(memory, "_resident", lambda: 0)
        with pytest.raises(TryAgainLater, match="only 270 MB of memory are free"):
            run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert len(list((tmp_path / "out.zip.checkpoint").iterdir())) == 1
    run(tmp_path / "in.zip", tmp_path / "out.zip", model, threads=1)
    assert [image.status for image in images(tmp_path / "out.zip")] == [Status.SCORED] * 2


def test_what_the_program_has_already_counts_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 100 * MB)
    monkeypatch.setattr(memory, "_resident", lambda: 200 * MB)
    check_memory(300 * MB, 1000)
    with pytest.raises(TryAgainLater, match="only 100 MB of memory are free, about 101 MB are needed"):
        check_memory(301 * MB, 1000)


def test_a_system_that_does_not_say_what_is_free_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    check_memory(300 * MB, 1000)


def test_a_container_has_less_than_its_computer(tmp_path: Path) -> None:
    """MemAvailable 8 GB; the group may have 600 MB and has 500, 100 of them files that can go; its parent has no limit of its own."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {16 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/outer/inner\n")
    inner = tmp_path / "sys/fs/cgroup/outer/inner"
    inner.mkdir(parents=True)
    (inner.parent / "memory.max").write_text("max\n")
    (inner / "memory.max").write_text(f"{600 * MB}\n")
    (inner / "memory.current").write_text(f"{500 * MB}\n")
    (inner / "memory.stat").write_text(f"anon 1\ninactive_file {100 * MB}\n")
    assert sorted(memory._free_on_linux(tmp_path)) == [200 * MB, 8 * 2**30]
    assert list(memory._free_on_linux(tmp_path / "elsewhere")) == []


@pytest.mark.parametrize("text", ["100", "-1", "lots", "1e9", "٣٠٠"])
def test_a_ceiling_that_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    exits(capsys, 2, "not a number of MB from 256 on", tmp_path / "in.zip", tmp_path / "out.zip", f"--memory-mb={text}")


def test_memory_that_ends_elsewhere_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("client_app.main.run", greedy)
    exits(capsys, 4, "larger --memory-mb", tmp_path / "in.zip", tmp_path / "out.zip")


# ---- images at once ---------------------------------------------------------------------------------------------------


def test_images_at_once_wait_for_room_beside_each_other() -> None:
    """1000 MB allowed, 110 shared: of three images that need 500 MB alone two fit (2 x 390 <= 890), the third waits for one to end."""
    reserved, inside, most, full = Reserved(1000), 0, 0, threading.Event()
    lock = threading.Lock()

    def score(_: int) -> None:
        nonlocal inside, most
        with reserved.for_image(500 * MB):
            with lock:
                inside += 1
                most = max(most, inside)
                if inside == 2:
                    full.set()
            assert full.wait(timeout=120), "two are let in together"
            time.sleep(0.05)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(score, range(3)))
    assert most == 2


def test_an_image_that_fits_only_alone_waits_until_it_is_alone() -> None:
    reserved, let_in = Reserved(1000), threading.Event()

    def score() -> None:
        with reserved.for_image(990 * MB):
            let_in.set()

    with ThreadPoolExecutor(1) as pool:
        with reserved.for_image(300 * MB):
            large = pool.submit(score)
            assert not let_in.wait(0.2)
        large.result(timeout=120)
    with pytest.raises(ImageError, match="1000 MB are allowed"), reserved.for_image(1001 * MB):
        pass
