"""A GPU is used when it was given to us and answers like the CPU; whatever it does, no image is lost and the result says who computed."""

from __future__ import annotations

import gc
import logging
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from test_client_run import CLEAR, EMPTY, GOOD, Killed, content_of, killed_after, start, work_unit
from tiny_model import encoded, picture, write_model

from client_app.main import client
from client_app.model import FloatArray, Model, Network, Session, load_model
from client_app.model_folders import default_model_folder
from client_app.preprocess import FloatImage
from client_app.providers import OnnxRuntime, Provider, ProviderWish, accelerated
from client_app.run import run
from client_app.score import score
from client_app.trial import Answers, deviation, trial_answers, trial_picture
from crystal_search.archives import Status, check_results, read_results

CPU, CUDA, DIRECTML = "CPUExecutionProvider", "CUDAExecutionProvider", "DmlExecutionProvider"
COREML, OPENVINO, WEBGPU = "CoreMLExecutionProvider", "OpenVINOExecutionProvider", "WebGpuExecutionProvider"
ANY_GPU = ProviderWish(device=0)

Spoil = Callable[[FloatArray], FloatArray]


@dataclass
class Gpu:
    """A provider that computes on the CPU and misbehaves as told. ``dies_at`` is the first call that raises, counted from 1."""

    loads: bool = True
    shows_up: bool = True
    spoil: Spoil = lambda answer: answer
    dies_at: int | None = None
    seconds: float = 0.0
    calls: int = 0
    busy: bool = False
    shared: bool = False

    def answer(self, network: Network, pixels: FloatImage) -> FloatArray:
        self.shared |= self.busy
        self.busy = True
        try:
            self.calls += 1
            time.sleep(self.seconds)
            if self.dies_at is not None and self.calls >= self.dies_at:
                raise RuntimeError("device removed")
            return self.spoil(network(pixels))
        finally:
            self.busy = False


class Opened:
    """A network on a fake GPU."""

    def __init__(self, gpu: Gpu, provider: str, content: bytes) -> None:
        self._gpu, self._network, self.content = gpu, Session(content, 1), content
        self.provider = provider if gpu.shows_up else CPU

    def __call__(self, pixels: FloatImage, /) -> FloatArray:
        return self._gpu.answer(self._network, pixels)


@dataclass
class Runtime:
    """An onnxruntime with these GPUs; its CPU is the real one."""

    gpus: Mapping[str, Gpu]
    more: Sequence[str] = ("TensorrtExecutionProvider",)
    opened: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def available(self) -> Sequence[str]:
        return [*self.more, *self.gpus, CPU]

    def open(self, content: bytes, threads: int, provider: str, options: Mapping[str, str]) -> Network:
        self.opened.append((provider, options))
        if provider == CPU:
            return Session(content, threads)
        gpu = self.gpus[provider]
        if not gpu.loads:
            raise RuntimeError(f"/src/onnxruntime/{'a' * 300}.cc:65 void load()\nno driver found")
        return Opened(gpu, provider, content)

    def names(self) -> list[str]:
        """The providers that were opened, each once, in their order."""
        return list(dict.fromkeys(name for name, _ in self.opened))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model(default_model_folder(), threads=2)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# ---- who may use a GPU ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", [ProviderWish(), ProviderWish(Provider.CPU), ProviderWish(Provider.CPU, device=0)])
def test_a_gpu_that_was_not_given_is_not_touched(folder: Path, wish: ProviderWish, caplog: pytest.LogCaptureFixture) -> None:
    model, runtime = load_model(folder), Runtime({CUDA: Gpu()})
    assert accelerated(model, wish, 1, runtime) is model
    assert (runtime.opened, lines(caplog)) == ([], [])


@pytest.mark.parametrize("wish", [ANY_GPU, ProviderWish(Provider.CUDA), ProviderWish(Provider.CUDA, device=0)])
def test_a_gpu_that_was_given_computes(folder: Path, wish: ProviderWish, caplog: pytest.LogCaptureFixture) -> None:
    gpu = Gpu()
    model = accelerated(load_model(folder), wish, 1, Runtime({CUDA: gpu}))
    before = gpu.calls
    model.drop(np.zeros((1, 64, 64, 1), np.float32))
    model.chops(np.zeros((1, 32, 32, 1), np.float32))
    assert gpu.calls == before + 2, "both networks run on it"
    assert (model.provider, lines(caplog)) == (CUDA, [])


def test_a_named_provider_is_tried_alone(folder: Path) -> None:
    runtime = Runtime({CUDA: Gpu(), WEBGPU: Gpu(loads=False)})
    assert accelerated(load_model(folder), ProviderWish(Provider.WEBGPU), 1, runtime).provider == CPU
    assert runtime.names() == [WEBGPU]


def test_each_provider_hears_which_device(folder: Path) -> None:
    """BOINC's number must arrive: another GPU of the machine is somebody else's."""

    def options(provider: Provider, name: str, device: int | None) -> Mapping[str, str]:
        runtime = Runtime({name: Gpu()})
        accelerated(load_model(folder), ProviderWish(provider, device), 3, runtime)
        (options,) = {tuple(sorted(options.items())) for _, options in runtime.opened}
        return dict(options)

    assert options(Provider.CUDA, CUDA, None)["device_id"] == "0"
    assert options(Provider.CUDA, CUDA, 2)["device_id"] == "2"
    assert options(Provider.DIRECTML, DIRECTML, 1) == {"device_id": "1"}
    on_openvino = [options(Provider.OPENVINO, OPENVINO, device) for device in (None, 0, 1)]
    assert [found["device_type"] for found in on_openvino] == ["CPU", "GPU", "GPU.1"]
    assert {found["num_of_threads"] for found in on_openvino} == {"3"}


@pytest.mark.parametrize(("provider", "name"), [(Provider.COREML, COREML), (Provider.WEBGPU, WEBGPU)])
def test_a_provider_that_can_not_choose_its_gpu_gets_the_first_or_none(
    folder: Path, provider: Provider, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert accelerated(load_model(folder), ProviderWish(provider, 0), 1, Runtime({name: Gpu()})).provider == name
    runtime = Runtime({name: Gpu()})
    assert accelerated(load_model(folder), ProviderWish(provider, 1), 1, runtime).provider == CPU
    assert runtime.opened == []
    assert lines(caplog) == [f"{name} can not choose between GPUs, and another than the first was given: using the CPU"]


# ---- the choice -------------------------------------------------------------------------------------------------


def test_the_preferred_ones_are_tried_in_order_and_tensorrt_never(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    order = [CUDA, DIRECTML, COREML, OPENVINO, WEBGPU]
    runtime = Runtime({name: Gpu(loads=False) for name in reversed(order)})
    model = load_model(folder)
    assert accelerated(model, ANY_GPU, 1, runtime) is model
    assert runtime.names() == order
    assert [line.split()[0] for line in lines(caplog)] == order
    assert [line.rpartition(": using ")[2] for line in lines(caplog)] == [*order[1:], "the CPU"]


def test_the_first_that_is_right_is_taken(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime({CUDA: Gpu(loads=False), DIRECTML: Gpu(), WEBGPU: Gpu()})
    assert accelerated(load_model(folder), ANY_GPU, 1, runtime).provider == DIRECTML
    assert runtime.names() == [CUDA, DIRECTML]
    (line,) = lines(caplog)
    assert re.fullmatch(rf"{CUDA} does not load \(RuntimeError: .*no driver found\): using {DIRECTML}", line), "the reason is at the end"
    assert len(line) < 300


def test_a_provider_that_onnxruntime_leaves_out_without_a_word_is_noticed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its answers are perfect, because they are the CPU's."""
    model = load_model(folder)
    assert accelerated(model, ANY_GPU, 1, Runtime({OPENVINO: Gpu(shows_up=False)})) is model
    assert lines(caplog) == [f"{OPENVINO} does not load (onnxruntime went on without it): using the CPU"]


@pytest.mark.parametrize(("wish", "what"), [(ANY_GPU, "provider for a GPU"), (ProviderWish(Provider.DIRECTML), "DmlExecutionProvider")])
def test_an_onnxruntime_without_the_provider_says_so(folder: Path, wish: ProviderWish, what: str, caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(folder)
    assert accelerated(model, wish, 1, Runtime({})) is model
    assert lines(caplog) == [f"this onnxruntime has no {what}: using the CPU"]


def test_a_provider_that_fails_at_its_first_image(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(folder)
    assert accelerated(model, ANY_GPU, 1, Runtime({CUDA: Gpu(dies_at=1)})) is model
    assert lines(caplog) == [f"{CUDA} fails in the trial (RuntimeError: device removed): using the CPU"]


def only(last_axis: int, spoil: Spoil) -> Spoil:
    """Spoil one network's answers; the drop network's have 2 channels, the chop network's 13."""
    return lambda answer: spoil(answer) if answer.shape[-1] == last_axis else answer


def with_one_nan(answer: FloatArray) -> FloatArray:
    answer = answer.copy()
    answer.flat[answer.size // 2] = np.nan
    return answer


def one_class_more_likely(answer: FloatArray) -> FloatArray:
    return answer + np.float32(0.5) * (np.arange(answer.shape[-1]) == 0)


WRONG: dict[str, Spoil] = {
    "zeros": np.zeros_like,
    "a number missing": with_one_nan,
    "infinite": lambda answer: np.full_like(answer, np.inf),
    "moved by a pixel": lambda answer: np.roll(answer, 1, axis=2),
    "one channel off": one_class_more_likely,
    "one channel missing": lambda answer: answer[..., :-1],
    "a row missing": lambda answer: answer[:, :-1],
    "upside down": lambda answer: answer[:, ::-1],
}


@pytest.mark.parametrize("network", [2, 13], ids=["drop", "chops"])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_numbers_of_either_network_are_noticed(shipped: Model, network: int, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    assert accelerated(shipped, ANY_GPU, 1, Runtime({CUDA: Gpu(spoil=only(network, WRONG[wrong]))})) is shipped
    (line,) = lines(caplog)
    assert line.startswith((f"{CUDA} gives wrong numbers (", f"{CUDA} fails in the trial ("))
    assert line.endswith(": using the CPU")


def test_16_bit_answers_are_good_enough(shipped: Model) -> None:
    """A logit of 30 in 16 bits is off by up to 0.008, a probability by a quarter of that: far from what a score depends on."""
    gpu = Gpu(spoil=lambda answer: answer.astype(np.float16).astype(np.float32))
    assert accelerated(shipped, ANY_GPU, 1, Runtime({COREML: gpu})).provider == COREML


def test_the_cpus_own_networks_are_not_kept(folder: Path) -> None:
    """A volunteer's memory holds each network once; the CPU's come back only when they are needed."""
    runtime = Runtime({CUDA: (gpu := Gpu())})
    model = load_model(folder)
    gone = [weakref.ref(model.drop), weakref.ref(model.chops)]
    model = accelerated(model, ANY_GPU, 1, runtime)
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert CPU not in runtime.names()
    gpu.dies_at = gpu.calls + 1
    for _ in range(3):
        model.drop(np.zeros((1, 64, 64, 1), np.float32))
        model.chops(np.zeros((1, 32, 32, 1), np.float32))
    assert [name for name, _ in runtime.opened].count(CPU) == 2, "each once"


# ---- what the trial asks ----------------------------------------------------------------------------------------


def test_the_trial_picture_is_always_the_same_and_has_something_in_it() -> None:
    one = np.asarray(trial_picture(384, 320))
    assert one.shape == (320, 384)
    assert (one == np.asarray(trial_picture(384, 320))).all()
    assert one.std() > 20


def test_the_shipped_networks_have_different_things_to_say_about_it(shipped: Model) -> None:
    """Where a network is quite sure, a wrong number hardly moves a probability: the trial would see nothing."""
    answers = trial_answers(shipped.spec, shipped.drop, shipped.chops)
    assert len(set(answers.windows.argmax(axis=1))) >= 3
    assert np.median(answers.windows.max(axis=1)) < 0.8
    drop = answers.drop[..., 0]
    assert 0.1 < (drop > 0.5).mean() < 0.9
    assert ((drop > 0.1) & (drop < 0.9)).mean() > 0.02


def test_the_trial_compares_calibrated_probabilities(folder: Path) -> None:
    """They, and not logits, decide a score: each window's add up to 1."""
    model = load_model(folder)
    answers = trial_answers(model.spec, model.drop, model.chops)
    assert answers.windows.shape == (24, 13)
    np.testing.assert_allclose(answers.windows.sum(axis=1), 1.0)
    assert answers.drop.shape == (64, 64, 2)


def test_deviation_is_the_largest_of_both_networks() -> None:
    base = Answers(np.full((2, 2, 2), 0.5, np.float32), np.full((3, 13), 0.5))

    def changed(drop: float, windows: float) -> Answers:
        answers = Answers(base.drop.copy(), base.windows.copy())
        answers.drop[1, 0, 1], answers.windows[2, 12] = drop, windows
        return answers

    assert deviation(base, base) == 0.0
    assert deviation(base, changed(0.25, 0.5)) == pytest.approx(0.25)
    assert deviation(base, changed(0.5, 0.875)) == pytest.approx(0.375)
    assert deviation(base, changed(0.25, 0.875)) == deviation(changed(0.25, 0.875), base) == pytest.approx(0.375)
    for broken in (changed(float("nan"), 0.5), changed(0.5, float("nan")), changed(0.5, float("inf"))):
        assert deviation(base, broken) == deviation(broken, base) == float("inf")
    assert deviation(base, Answers(base.drop[:1], base.windows)) == float("inf")
    assert deviation(base, Answers(base.drop, base.windows[:1])) == float("inf")


# ---- a provider that dies in use --------------------------------------------------------------------------------


def calls_of_the_trial(folder: Path) -> int:
    gpu = Gpu()
    accelerated(load_model(folder), ANY_GPU, 1, Runtime({CUDA: gpu}))
    return gpu.calls


@pytest.mark.parametrize("survived", range(6))
def test_whichever_call_it_dies_in_no_image_is_lost(tmp_path: Path, folder: Path, survived: int, caplog: pytest.LogCaptureFixture) -> None:
    """Three images with a drop are six calls; the result is the CPU's, and tells who computed."""
    manifest = work_unit(tmp_path / "in.zip", folder, GOOD, CLEAR, GOOD)
    run(tmp_path / "in.zip", tmp_path / "cpu.zip", folder, 1)
    gpu = Gpu(dies_at=calls_of_the_trial(folder) + survived + 1)
    run(tmp_path / "in.zip", tmp_path / "out.zip", folder, 1, ANY_GPU, Runtime({CUDA: gpu}))
    results, overlays = content_of(tmp_path / "out.zip")
    check_results(results, manifest)
    assert results.provider == (f"{CUDA}, {CPU}" if survived else CPU)
    assert (msgspec.structs.replace(results, provider=CPU), overlays) == content_of(tmp_path / "cpu.zip")
    assert lines(caplog) == [f"{CUDA} failed (RuntimeError: device removed): using the CPU from here on, nothing is lost"]
    assert gpu.calls == gpu.dies_at, "it is left alone after that"


def test_a_provider_that_lives_is_named_alone(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    work_unit(tmp_path / "in.zip", folder, GOOD, b"broken", EMPTY)
    run(tmp_path / "in.zip", tmp_path / "out.zip", folder, 1, ANY_GPU, Runtime({CUDA: Gpu()}))
    results = read_results(tmp_path / "out.zip")
    assert results.provider == CUDA
    assert [image.status for image in results.images] == [Status.SCORED, Status.FAILED, Status.NO_DROP]
    assert lines(caplog) == []


def test_an_answer_that_stops_being_a_number_is_asked_for_again(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A GPU that is reset answers without an error, and with nonsense."""
    gpu = Gpu()
    gpu.spoil = lambda answer: with_one_nan(answer) if gpu.calls > 4 else answer
    work_unit(tmp_path / "in.zip", folder, GOOD, GOOD, GOOD)
    run(tmp_path / "in.zip", tmp_path / "out.zip", folder, 1, ANY_GPU, Runtime({CUDA: gpu}))
    results = read_results(tmp_path / "out.zip")
    assert {image.class_name for image in results.images} == {"crystals_harvestable"}
    assert results.provider == f"{CUDA}, {CPU}"
    assert lines(caplog) == [f"{CUDA} failed (its answer is not a number): using the CPU from here on, nothing is lost"]


def test_threads_that_share_a_model_fall_back_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """DirectML allows one call at a time, and every thread's answer is right before, while and after the GPU dies."""
    reference = load_model(folder)
    gpu = Gpu(dies_at=calls_of_the_trial(folder) + 10, seconds=0.001)
    runtime = Runtime({DIRECTML: gpu})
    model = accelerated(load_model(folder), ANY_GPU, 1, runtime)
    inputs = [np.random.default_rng(seed).random((1, 48, 64, 1), dtype=np.float32) for seed in range(40)]
    together = threading.Barrier(8)

    def answers(worker: int) -> list[FloatArray]:
        together.wait()
        return [model.chops(pixels) for pixels in inputs[worker * 5 : worker * 5 + 5]]

    with ThreadPoolExecutor(8) as pool:
        found = [answer for part in pool.map(answers, range(8)) for answer in part]
    for answer, pixels in zip(found, inputs, strict=True):
        np.testing.assert_array_equal(answer, reference.chops(pixels))
    assert not gpu.shared
    assert len(lines(caplog)) == 1
    assert [name for name, _ in runtime.opened].count(CPU) == 2


def test_a_run_that_is_continued_on_the_cpu_names_both(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_unit(tmp_path / "in.zip", folder, GOOD, CLEAR, EMPTY)
    with monkeypatch.context() as patch:
        killed_after(2, patch)
        with pytest.raises(Killed):
            run(tmp_path / "in.zip", tmp_path / "out.zip", folder, 1, ANY_GPU, Runtime({CUDA: Gpu()}))
    run(tmp_path / "in.zip", tmp_path / "out.zip", folder, 1)
    assert read_results(tmp_path / "out.zip").provider == f"{CUDA}, {CPU}"


# ---- the real onnxruntime ---------------------------------------------------------------------------------------


def test_the_real_cpu_passes_its_own_trial(shipped: Model) -> None:
    runtime = OnnxRuntime()
    assert CPU in runtime.available()
    drop, chops = (runtime.open(network.content, 1, CPU, {}) for network in (shipped.drop, shipped.chops))
    assert (drop.provider, chops.provider) == (CPU, CPU)
    expected = trial_answers(shipped.spec, shipped.drop, shipped.chops)
    assert deviation(trial_answers(shipped.spec, drop, chops), expected) < 1e-6


# ---- the programs -----------------------------------------------------------------------------------------------


def test_the_client_takes_device_and_provider(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work_unit(tmp_path / "in.zip", folder, GOOD)
    call = [str(tmp_path / "in.zip"), str(tmp_path / "out.zip"), "--model", str(folder)]
    for wrong, words in (("x", "not the number of a GPU: 'x'"), ("-1", "not the number of a GPU"), ("1.5", "not the number of a GPU")):
        assert client([*call, f"--device={wrong}"]) == 2
        assert words in capsys.readouterr().err
    assert client([*call, "--provider", "tensorrt"]) == 2
    assert "invalid choice: 'tensorrt'" in capsys.readouterr().err
    assert client([*call, "--provider", "cpu", "--device", "0"]) == 0
    assert read_results(tmp_path / "out.zip").provider == CPU


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="there is CUDA here")
def test_a_client_without_the_provider_that_it_was_given_says_so_and_scores(tmp_path: Path, folder: Path) -> None:
    work_unit(tmp_path / "in.zip", folder, GOOD)
    process = start(tmp_path / "in.zip", tmp_path / "out.zip", "--model", folder, "--provider", "cuda", "--device", "0")
    assert process.communicate() == ("", f"this onnxruntime has no {CUDA}: using the CPU\n")
    assert process.returncode == 0
    assert read_results(tmp_path / "out.zip").provider == CPU


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="there is CUDA here")
def test_score_takes_them_too(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(("crystals_harvestable", 96, 64))))

    def call(*more: str) -> int:
        arguments = [str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--model", str(folder), *more]
        return CliRunner().invoke(score, arguments, catch_exceptions=False).exit_code

    assert call() == 0
    assert lines(caplog) == []
    assert call("--provider", "cuda") == 0
    assert call("--device", "0") == 0
    assert lines(caplog) == [f"this onnxruntime has no {what}: using the CPU" for what in (CUDA, "provider for a GPU")]
    assert call("--provider", "tensorrt") == 2
    assert call("--device", "-1") == 2
