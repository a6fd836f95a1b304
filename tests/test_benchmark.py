"""``crystal-search benchmark scoring``: what is counted, compared and added up. How long anything takes is not tested."""

from __future__ import annotations

import itertools
import platform
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tiny_model import FIELD, STRIDE, WINDOW, encoded, picture, write_model

from benchmarks.cli import benchmark
from benchmarks.machine import Others, environment, peak_bytes
from benchmarks.scoring import wells as wells_module
from benchmarks.scoring.child import answer
from benchmarks.scoring.jobs import FindDrops, LeftOut, Quantise, ScoreSizes, ScoreWells, Sized, Well, Wells, ask
from benchmarks.scoring.macs import conv_macs, macs_of_runs
from benchmarks.scoring.measure import square
from benchmarks.scoring.paper import OnnxWeights, import_mxnet
from benchmarks.scoring.report import WAYS, Agreement, Report, WayResult, lines
from benchmarks.scoring.wells import STAGES, Counting, Way, one_at_a_time, score_well
from client_app.classify import window_logits
from client_app.drop import find_drop
from client_app.model import load_model
from client_app.model_folders import default_model_folder
from crystal_search.errors import SettingsError, UsageError
from crystal_search.geometry import Box
from training.int8 import crops_of

DROP_BOX = (64, 48, 192, 144)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crystal, precipitate, a clear drop, a well without a drop, and a broken file."""
    folder = tmp_path_factory.mktemp("images")
    for name, patches in {"a": [("crystals_harvestable", 96, 64)], "b": [("precipitate", 96, 64)], "c": []}.items():
        (folder / f"{name}.png").write_bytes(encoded(picture(*patches)))
    (folder / "d.png").write_bytes(encoded(picture(drop=False)))
    (folder / "e.png").write_bytes(b"broken")
    return folder


def job(model: Path, images: Path, way: str, **more: Any) -> ScoreWells:
    paths = [str(images / f"{name}.png") for name in "abc"]
    return ScoreWells(model=str(model), step=16, images=paths, threads=1, way=way, boxes=[DROP_BOX] * 3, **more)


def scored(*arguments: object) -> Result:
    return CliRunner().invoke(benchmark, ["scoring", *map(str, arguments)])


# ---- counting ---------------------------------------------------------------------------------------------------


def two_convolutions() -> bytes:
    """Four kernels of 3 x 3 with stride 2, then six of 1 x 1 in two groups, each on half of the four channels."""
    first, second = np.zeros((4, 1, 3, 3), np.float32), np.zeros((6, 2, 1, 1), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["pixels", "first"], ["middle"], strides=[2, 2]),
            helper.make_node("Relu", ["middle"], ["positive"]),
            helper.make_node("Conv", ["positive", "second"], ["answer"], group=2),
        ],
        "two",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 6, "y", "x"])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(network.SerializeToString())


def test_macs_by_hand() -> None:
    """9 x 11 px become (9 - 3) // 2 + 1 = 4 rows of 5: 4 x 5 x 4 numbers of 9 products, then 4 x 5 x 6 numbers of 2."""
    network = two_convolutions()
    assert conv_macs(network, (1, 1, 9, 11)) == 720 + 240
    assert conv_macs(network, (3, 1, 9, 11)) == 3 * 960
    assert macs_of_runs(network, [(1, 1, 9, 11), (1, 1, 3, 3), (1, 1, 9, 11)]) == [960, 36 + 12, 960]


def test_macs_of_the_model_that_ships() -> None:
    """Its shapes follow from its input's, and in one pass the 11 x 9 cells of a drop share work."""
    folder = default_model_folder()
    spec = load_model(folder).spec.chops
    network = (folder / spec.file).read_bytes()
    one_cell = conv_macs(network, (1, spec.receptive_field, spec.receptive_field, 1))
    many = conv_macs(network, (1, spec.receptive_field + 10 * spec.stride, spec.receptive_field + 8 * spec.stride, 1))
    assert 0 < one_cell < many < 99 * one_cell


def test_macs_of_a_way_are_those_of_its_windows_and_its_pass(model: Path, images: Path) -> None:
    """A cell costs 13 x 16 x 16 MACs. The drop of 128 x 96 px has 7 x 5 windows of 2 x 2 cells, and 8 x 6 cells in one pass."""
    cell = 13 * FIELD**2
    batched, dense = (answer(job(model, images, way)) for way in ("batched-fp32", "dense-fp32"))
    assert isinstance(batched, Wells)
    assert isinstance(dense, Wells)
    assert [well.macs for well in batched.wells] == [35 * 4 * cell] * 3
    assert [well.macs for well in dense.wells] == [48 * cell] * 3
    assert [well.windows for well in dense.wells] == [35] * 3


# ---- the same scores --------------------------------------------------------------------------------------------


def test_ways_that_must_agree_do(model: Path, images: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(images.iterdir())]
    file = tmp_path / "int8.onnx"
    assert answer(Quantise(model=str(model), step=16, images=paths, threads=1, file=str(file))) == 3
    batched, dense, int8 = (answer(job(model, images, way, int8=str(file))) for way in ("batched-fp32", "dense-fp32", "dense-int8"))
    assert isinstance(batched, Wells)
    assert isinstance(dense, Wells)
    assert isinstance(int8, Wells)
    assert [well.class_name for well in batched.wells] == ["crystals_harvestable", "precipitate", "clear"]
    agreement = Agreement.of(dense.wells, batched.wells)
    assert (agreement.same_class, agreement.same_group) == (1.0, 1.0)
    assert agreement.crystal_difference < 1e-5
    kinds = {node.op_type for node in onnx.load(file).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert [well.class_name for well in int8.wells] == [well.class_name for well in batched.wells]


def test_one_at_a_time_is_the_reference_in_the_same_order(model: Path) -> None:
    chops = load_model(model).chops
    pixels = np.random.default_rng(1).uniform(0, 1.5, (WINDOW + 2 * STRIDE, WINDOW + 4 * STRIDE)).astype(np.float32)
    seen: list[tuple[int, ...]] = []

    def one(window: np.ndarray) -> np.ndarray:
        seen.append(window.shape)
        return chops(window)

    alone = one_at_a_time(one)(chops, pixels, WINDOW, STRIDE, np.ones((3, 5), np.bool_))
    np.testing.assert_allclose(alone, window_logits(chops, pixels, WINDOW, STRIDE, np.ones((3, 5), np.bool_)), rtol=1e-5)
    assert seen == [(1, WINDOW, WINDOW, 1)] * 15


@pytest.mark.slow
def test_the_chop_network_in_keras_is_the_model_that_ships() -> None:
    from benchmarks.scoring.paper import keras_chops

    shipped = load_model(default_model_folder())
    content = (default_model_folder() / shipped.spec.chops.file).read_bytes()
    in_keras, has_weights = keras_chops(shipped.spec.chops, content)
    assert has_weights
    side = shipped.spec.chops.window
    pixels = np.random.default_rng(2).uniform(0.2, 1.4, (2, side, side, 1)).astype(np.float32)
    np.testing.assert_allclose(in_keras(pixels), shipped.chops(pixels), atol=1e-3)


def test_weights_are_handed_out_by_shape_in_the_graphs_order() -> None:
    def constant(name: str, *shape: int, value: float) -> Any:
        return numpy_helper.from_array(np.full(shape, value, np.float32), name)

    nodes = [
        helper.make_node("Conv", [before, f"k{number}", f"b{number}"], [f"x{number}"]) for number, before in enumerate(["x", "x0", "x1"])
    ]
    tensors = [
        *(constant("k2", 2, 2, 1, 1, value=3), constant("k0", 2, 2, 1, 1, value=1), constant("k1", 2, 2, 3, 3, value=2)),
        *(constant(f"b{number}", 2, value=10 + number) for number in range(3)),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 9, 9]) for name in ("x", "x2")]
    network = helper.make_model(helper.make_graph(nodes, "three", values[:1], values[1:], tensors))
    weights = OnnxWeights(network.SerializeToString())
    for shape, kernel, bias in (((2, 2, 1, 1), 1, 10), ((2, 2, 1, 1), 3, 12), ((2, 2, 3, 3), 2, 11)):
        taken = weights.take(shape)
        assert (taken[0].flat[0], taken[1].tolist()) == (kernel, [bias, bias])
    with pytest.raises(LeftOut, match="no further convolution"):
        weights.take((2, 2, 1, 1))


def test_agreement_by_hand() -> None:
    def well(name: str | None, crystal: float) -> Well:
        return Well(seconds=1, stages={}, windows=1, class_name=name, crystal_probability=crystal)

    reference = [well("crystals_bad_form", 0.9), well("clear", 0.1), well(None, 0.2), well("precipitate", 0.0), well("clear", 0.0)]
    others = [well("crystals_harvestable", 0.8), well("clear", 0.1), well(None, 0.2), well(None, 0.05)]
    agreement = Agreement.of(others, reference)
    assert (agreement.same_class, agreement.same_group) == (0.5, 0.75)
    assert agreement.crystal_difference == pytest.approx(0.1)


# ---- adding up --------------------------------------------------------------------------------------------------


def test_stages_by_a_clock_that_ticks_at_each_look(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start 0, decode 1-2, drop 3-4, resample 5-8 around network 6-7, rule 9-10, overlay 11-12, end 13."""
    ticks = itertools.count()
    monkeypatch.setattr(wells_module, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    loaded = load_model(model)
    way = Way(lambda luminance: find_drop(loaded, luminance), window_logits)
    well = score_well(loaded, way, images / "a.png", Box(*DROP_BOX), 16)
    assert well.seconds == 13
    assert well.stages == {"decode": 1, "drop": 1, "resample": 2, "network": 1, "rule": 1, "overlay": 1}


def test_stages_are_all_there_and_overlap_nowhere(model: Path, images: Path) -> None:
    found = answer(job(model, images, "dense-fp32"))
    assert isinstance(found, Wells)
    for well in found.wells:
        assert tuple(well.stages) == STAGES
        assert min(well.stages.values()) > 0
        assert sum(well.stages.values()) <= well.seconds * (1 + 1e-9)


def test_a_row_by_hand() -> None:
    def well(seconds: float, network: float, macs: int | None) -> Well:
        stages = dict.fromkeys(STAGES, 0.0) | {"network": network}
        return Well(seconds=seconds, stages=stages, windows=1, class_name="clear", crystal_probability=0, macs=macs)

    reference = Wells(wells=[well(4, 3, 1), well(6, 3, 1), well(90, 3, 1)], peak_bytes=1)
    found = Wells(wells=[well(1, 0.5, 10**9), well(3, 1.5, 3 * 10**9)], peak_bytes=50_000_000)
    row = WayResult.of("dense-fp32", 2, found, reference, 4.0)
    assert (row.wells, row.seconds, row.mean_seconds, row.peak_mb) == (2, 2, 2, 50)
    assert row.times_faster == pytest.approx(10 / 4), "against the same two wells"
    assert row.gmac == 2
    assert row.limit == pytest.approx((2 / 4) / 1.0), "2 GMAC at 4 GMAC/s against 1 s"
    random = msgspec.structs.replace(found, model_weights=False)
    assert WayResult.of("paper-keras", 2, random, reference, 4.0).agreement is None, "random weights score nothing"
    uncounted = Wells(wells=[well(1, 0.5, None)], peak_bytes=0)
    row = WayResult.of("paper-keras", 1, uncounted, None, 4.0)
    assert (row.gmac, row.limit, row.times_faster, row.peak_mb) == (None, None, None, None)


# ---- processes --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the figure is the system's own")
def test_memory_is_the_processes_own() -> None:
    def child(grab: int) -> int:
        code = f"from benchmarks.machine import peak_bytes; bytearray({grab}); print(peak_bytes())"
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    ballast = np.ones(50_000_000)
    assert peak_bytes() > ballast.nbytes
    small = child(0)
    assert small < 200_000_000, "not that of the process that started it"
    assert child(150_000_000) - small == pytest.approx(150_000_000, rel=0.1), "what was let go again counts"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_other_programs_are_seen_and_own_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 10 s all programs together take 16 s, of which this one and those that it started take 2 + 1 + 0.5 + 0.5."""
    looks = iter([(100.0, 7.0, 50.0), (116.0, 11.0, 60.0), (None, 0.0, 70.0)])
    monkeypatch.setattr(Others, "_now", staticmethod(lambda: next(looks)))
    others = Others()
    assert others.busy() == pytest.approx((16 - 4) / 10)
    assert others.busy() is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_what_this_process_computes_is_its_own() -> None:
    every, own, clock = Others._now()
    assert every is not None
    assert 0 < own < every
    assert clock > 0


def test_the_best_repeat_counts(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first well's first look is not counted; then all wells are scored three times."""
    seconds = iter([0.1, 5, 2, 7, 3, 8, 7, 4, 9, 6])

    def score(*_: Any) -> Well:
        return Well(seconds=next(seconds), stages={}, windows=1, class_name=None, crystal_probability=0)

    monkeypatch.setattr("benchmarks.scoring.child.score_well", score)
    found = answer(job(model, images, "batched-fp32", repeats=3))
    assert isinstance(found, Wells)
    assert [well.seconds for well in found.wells] == [3, 2, 6]


def test_wells_scored_side_by_side_share_the_time(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once, two threads: neither gets done before both are under way, and each counts half of its seconds."""
    together = threading.Barrier(2, timeout=60)
    alone = itertools.chain([True], itertools.repeat(False, 2), itertools.repeat(True))

    def score(*_: Any) -> Well:
        if not next(alone):
            together.wait()
        return Well(seconds=3, stages={"network": 2}, windows=1, class_name=None, crystal_probability=0)

    monkeypatch.setattr("benchmarks.scoring.child.score_well", score)
    found = answer(msgspec.structs.replace(job(model, images, "dense-fp32"), threads=2))
    assert isinstance(found, Wells)
    assert {(well.seconds, well.stages["network"]) for well in found.wells} == {(1.5, 1)}


def test_a_process_gets_its_threads_and_no_graphics_card() -> None:
    given = environment(2)
    assert {given[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")} == {"2"}
    assert given["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "PATH" in given


def test_what_a_process_can_not_do_comes_back_as_one_line(tmp_path: Path) -> None:
    with pytest.raises(LeftOut, match=r"^no model in [^\n]*$"):
        ask(FindDrops(model=str(tmp_path), step=16, images=[], threads=1), list[Any])


def test_no_mxnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mxnet", None)
    with pytest.raises(LeftOut, match=r"^MXNet is not installed$"):
        import_mxnet()


def test_no_keras(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LeftOut, match=r"^Keras is not installed$"):
        answer(job(model, images, "paper-keras"))


def test_a_pass_that_is_not_exact_is_left_out(tmp_path: Path, images: Path) -> None:
    padded = write_model(tmp_path / "padded", dense_exact="false")
    with pytest.raises(LeftOut, match="not exact"):
        answer(job(padded, images, "dense-fp32"))


def test_drop_sizes(model: Path, images: Path) -> None:
    """Squares of 96 and 32 px have 5 x 5 windows and one."""
    boxes = [square((256, 192), share) for share in (0.5, 1 / 6)]
    assert boxes == [(80, 48, 176, 144), (112, 80, 144, 112)]
    question = ScoreSizes(model=str(model), step=16, images=[str(images / "a.png")], threads=1, way="dense-fp32", boxes=boxes)
    sized = answer(question)
    assert isinstance(sized, list)
    assert all(isinstance(one, Sized) for one in sized)
    assert [one.windows for one in sized] == [25, 1]


def test_int8_is_calibrated_on_drops_only(model: Path, images: Path) -> None:
    crops = crops_of(load_model(model), [partial(Image.open, path) for path in sorted(images.iterdir())], 16)
    assert [crop.shape for crop in crops] == [(96, 128)] * 3


def test_shapes_of_a_network_are_kept(model: Path) -> None:
    network = Counting((model / "chops.onnx").read_bytes(), 1)
    network(np.zeros((2, 32, 48, 1), np.float32))
    assert network.shapes == [(2, 32, 48, 1)]


# ---- the command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(model: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, bytes]:
    file = tmp_path_factory.mktemp("out") / "report.json"
    result = scored(images, "--model", model, "--threads", 1, "--slow-wells", 1, "--repeats", 1, "--json", file)
    assert result.exit_code == 0, result.output
    return result, file.read_bytes()


def test_the_file_has_what_the_tables_show(run: tuple[Result, bytes]) -> None:
    result, content = run
    report = msgspec.json.decode(content, type=Report)
    assert result.stdout.splitlines() == "\n".join(lines(report)).splitlines()


def test_what_a_run_tells(run: tuple[Result, bytes]) -> None:
    result, content = run
    report = msgspec.json.decode(content, type=Report)
    assert (report.images, report.no_drop, report.failed, report.median_windows) == (5, 1, 1, 35)
    rows = {way.way: way for way in report.ways}
    assert list(rows) == list(WAYS)
    for name in ("batched-fp32", "dense-fp32", "dense-int8"):
        assert rows[name].wells == 3
        assert rows[name].agreement is not None
        assert rows[name].agreement.same_class == 1
        assert sum(rows[name].stages.values()) <= (rows[name].mean_seconds or 0) * (1 + 1e-9)
    assert rows["batched-fp32"].times_faster == 1
    assert "none of training.networks" in (rows["paper-keras"].left_out or "")
    assert "paper-keras was left out: the model's chop network" in result.stdout
    assert "3 crops of the images measured here, so its agreement is flattered" in result.stdout
    assert [row.images for row in report.units] == [1, 4]
    assert [row.windows for row in report.sizes][-1] == 121, "a square of 192 px has 11 x 11 windows of 32 px every 16"
    assert report.at_once[0].at_once == report.at_once[0].threads == 1
    assert report.sgemm[1] > 0
    assert "e.png: not a JPEG, PNG or TIFF image" in result.stderr


def test_the_file_names_no_host_and_no_path(run: tuple[Result, bytes], images: Path, model: Path) -> None:
    _, content = run
    for secret in (str(images), str(model), "a.png", platform.node(), str(Path.home())):
        assert secret.encode() not in content


def test_other_images_for_int8(model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def stop(question: Any, kind: Any) -> Any:
        asked.append(question)
        if isinstance(question, FindDrops):
            return ask(question, kind)
        raise UsageError("enough")

    monkeypatch.setattr("benchmarks.scoring.measure.ask", stop)
    (tmp_path / "other.png").write_bytes(encoded(picture()))
    scored(images, "--model", model, "--calibrate-on", tmp_path)
    assert isinstance(asked[-1], Quantise)
    assert [Path(path).name for path in asked[-1].images] == ["other.png"]


def test_wrong_calls_end_as_one_line(model: Path, images: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "no_drop.png").write_bytes(encoded(picture(drop=False)))
    wrong: list[tuple[list[object], type[Exception], str]] = [
        ([empty], UsageError, "no image in"),
        ([tmp_path / "nothing"], UsageError, "no such file or folder"),
        ([images, "--model", tmp_path / "nothing"], SettingsError, "no model in"),
        ([images, "--step", 17], SettingsError, "does not work in steps of 17 px"),
        ([images, "--calibrate-on", empty], UsageError, "no image in"),
        ([images, "--json", tmp_path / "nothing" / "a.json"], UsageError, "no such folder"),
        ([tmp_path / "no_drop.png"], UsageError, "finds no drop in any of the 1 images"),
    ]
    for arguments, kind, words in wrong:
        result = scored(*([] if "--model" in arguments else ["--model", model]), *arguments)
        assert type(result.exception) is kind, (arguments, result.exception)
        assert words in str(result.exception)
        assert "\n" not in str(result.exception)
    assert scored("--model", model).exit_code == 2
