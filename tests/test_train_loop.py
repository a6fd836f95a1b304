"""How a training goes on, ends and survives: learning rates, the best epoch, averages, checkpoints."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from heavy import heavy
from small_disk import small_disk

from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from training import checkpoints, loop, mixture
from training.average import Average
from training.rates import levels, planned_level, stagnation_level

keras = heavy("keras")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow"),
]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the curves would take longer than all the rest; test_training.py looks at them."""
    monkeypatch.setattr(loop, "draw_curves", lambda *_: None)


# ---- learning rates -----------------------------------------------------------------------------------------------


def test_rates_fall_from_the_first_to_the_last_by_one_factor() -> None:
    assert levels(1e-2, 1e-5) == (1e-2, 1e-3, 1e-4, 1e-5)  # P13
    assert levels(1.0, 0.04) == (1.0, 0.2, 0.04)  # a factor of 25 is more than ten: two steps of 5
    assert levels(0.1, 0.1) == (0.1,)
    for last in (0.2, 0.0):
        with pytest.raises(ValueError, match="not above 0 and at most the first"):
            levels(0.1, last)


def test_planned_rates_have_equal_parts() -> None:
    assert [planned_level(epoch, 7, 3, equal=True) for epoch in range(8)] == [0, 0, 0, 1, 1, 2, 2, 2]
    plan = loop.Plan(epochs=4, steps=1, batch=1, rate=0.1, seed=1, last_rate=0.001)
    assert [loop.learning_rate(plan, epoch) for epoch in range(4)] == [0.1, 0.1, 0.01, 0.001]


def test_stagnation_lowers_the_rate_and_ends_at_the_last() -> None:
    losses = [3.0, 2.0, 2.0, 2.1, 1.5, 1.6, math.nan]  # two without a better one, a better one, two more
    assert [stagnation_level(losses[:n], 2) for n in range(8)] == [0, 0, 0, 0, 1, 1, 1, 2]
    plan = loop.Plan(epochs=50, steps=1, batch=1, rate=0.1, seed=1, last_rate=0.01, patience=2)
    rows = [{loop.LOSS: loss} for loss in losses]
    assert loop.learning_rate(plan, 3, rows[:3]) == 0.1
    assert loop.learning_rate(plan, 4, rows[:4]) == 0.01
    assert [loop.has_stagnated(plan, rows[:n]) for n in (4, 6, 7)] == [False, False, True]


def test_the_best_epoch_has_the_smallest_held_out_loss() -> None:
    assert loop.best_epoch([{loop.LOSS: loss} for loss in (2.0, 1.0, math.nan, 1.0, 1.5)]) == 2
    assert loop.best_epoch([{"loss": 1.0}, {"loss": 0.5}]) == 2  # nothing to compare: the last


def test_the_average_by_hand() -> None:
    average = Average(0.5, [np.array([0.0])])
    average.update([np.array([11.0])])  # keeps min(0.5, 2/11) of 0
    assert average.weights[0] == pytest.approx([9.0])
    average.update([np.array([1.0])])  # keeps min(0.5, 3/12)
    assert average.weights[0] == pytest.approx([3.0])
    average.reset([np.array([4.0])], updates=100)
    average.update([np.array([8.0])])  # by now a half
    assert average.weights[0] == pytest.approx([6.0])


# ---- batches of two sources ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "size", "least", "most"), [(0.33, 32, 10, 11), (1.0, 5, 5, 5), (0.01, 4, 0, 1)])
def test_a_batch_has_its_share_of_both_sources(share: float, size: int, least: int, most: int) -> None:
    def source(number: float) -> loop.Draw:
        return lambda _, count: (np.full((count, 2), number, np.float32), np.full((count, 1), number, np.float32))

    mixed = mixture.Mixed(source(1.0), source(0.0), share)
    rng = np.random.default_rng(1)
    counts = []
    for _ in range(300):
        inputs, targets = mixed(rng, size)
        assert inputs.shape == (size, 2)
        assert (inputs[:, :1] == targets).all()
        counts.append(int(targets.sum()))
    assert (min(counts), max(counts)) == (least, most)
    assert np.mean(counts) == pytest.approx(share * size, abs=0.1)


def test_figures_of_two_sources_keep_their_names_apart() -> None:
    both = mixture.Both(lambda _: {"loss": 1.0}, lambda _: {"loss": 2.0})
    assert both(None) == {"loss": 1.0, "drawn_loss": 2.0}


# ---- checkpoints --------------------------------------------------------------------------------------------------


def network(units: int = 2) -> keras.Model:
    """With dropout, so that its random numbers count, and batch statistics."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.Dense(units)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.Adam(1e-2), "mse", run_eagerly=True)  # so small that compiling takes longest
    return model


def draw(rng: np.random.Generator, size: int) -> loop.Batch:
    pixels = rng.random((size, 3), np.float32)
    return pixels, pixels[:, :2] * 2


def validate(model: keras.Model) -> dict[str, float]:
    pixels = np.linspace(0, 1, 30, dtype=np.float32).reshape(10, 3)
    return {loop.LOSS: float(np.square(model.predict_on_batch(pixels) - pixels[:, :2] * 2).mean())}


def plan(epochs: int, **named: float) -> loop.Plan:
    return loop.Plan(epochs=epochs, steps=3, batch=8, rate=1e-2, seed=5, **named)  # type: ignore[arg-type]


def same(one: keras.Model, two: keras.Model) -> bool:
    return all((a == b).all() for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_training_in_parts_is_the_same_to_the_last_bit(tmp_path: Path, average: float) -> None:
    whole, parts = network(), network()
    rows = loop.fit(whole, draw, validate, tmp_path / "whole", plan(4, last_rate=1e-4, average=average))
    loop.fit(parts, draw, validate, tmp_path / "parts", plan(4, last_rate=1e-4, average=average), title="first")
    for file in (tmp_path / "parts").glob("epoch_00[34].*"):
        file.unlink()  # as if it had been killed in the third epoch
    text = (tmp_path / "parts" / "curves.csv").read_text().splitlines(keepends=True)
    (tmp_path / "parts" / "curves.csv").write_text("".join(text[:3]))
    parts = network()
    again = loop.fit(parts, draw, validate, tmp_path / "parts", plan(4, last_rate=1e-4, average=average), resume=True)
    assert again == rows
    assert same(whole, parts)
    loop.go_to(parts, tmp_path / "parts", 2, plan(4, average=average))
    assert validate(parts)[loop.LOSS] == pytest.approx(rows[1][loop.LOSS], rel=1e-6)
    assert not same(whole, parts)


def test_an_average_is_what_is_validated_and_exported(tmp_path: Path) -> None:
    own, averaged = network(), network()
    loop.fit(own, draw, validate, tmp_path / "own", plan(2))
    rows = loop.fit(averaged, draw, validate, tmp_path / "averaged", plan(2, average=0.9))
    assert not same(own, averaged)
    assert validate(averaged)[loop.LOSS] == rows[-1][loop.LOSS]
    with np.load(tmp_path / "averaged" / "epoch_002.npz") as stored:
        assert (stored["weight_00000"] == own.get_weights()[0]).all()  # the training itself goes on as without
        assert stored["updates"] == 6


def test_patience_ends_a_training_that_learns_nothing(tmp_path: Path) -> None:
    rows = loop.fit(network(), draw, lambda _: {loop.LOSS: 1.0}, tmp_path, plan(50, last_rate=1e-3, patience=2))
    assert [row["rate"] for row in rows] == [1e-2] * 3 + [1e-3] * 2
    assert loop.fit(network(), draw, lambda _: {loop.LOSS: 1.0}, tmp_path, plan(50, last_rate=1e-3, patience=2), resume=True) == rows


def test_an_epoch_whose_checkpoint_is_damaged_is_trained_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = network()
    rows = loop.fit(whole, draw, validate, tmp_path, plan(3))
    last = tmp_path / "epoch_003.npz"
    last.write_bytes(last.read_bytes()[:500])
    (tmp_path / ".epoch_004.npz.x.part").write_bytes(b"half")
    resumed = network()
    assert loop.fit(resumed, draw, validate, tmp_path, plan(3), resume=True) == rows
    assert same(whole, resumed)
    assert [record.message for record in caplog.records if record.name == "train"] == [f"{last} is damaged: epoch 3 is trained again"]
    assert not list(tmp_path.glob(".*.part"))


def test_checkpoints_of_earlier_versions_are_gone_on_with(tmp_path: Path) -> None:
    model = network()
    rows = loop.fit(model, draw, validate, tmp_path, plan(1))
    model.save_weights(tmp_path / "epoch_001.weights.h5")
    (tmp_path / "epoch_001.npz").unlink()
    resumed = network()
    assert loop.fit(resumed, draw, validate, tmp_path, plan(1), resume=True) == rows
    assert same(model, resumed)


def test_a_full_disk_costs_the_epoch_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        epochs = 0

        def filling(model: keras.Model) -> dict[str, float]:
            nonlocal epochs
            epochs += 1
            if epochs == 2:
                disk.fill()
            return validate(model)

        with pytest.raises(TryAgainLater, match="disk full"):
            loop.fit(network(), draw, filling, disk.path / "fit", plan(3))
        disk.free()
        resumed = network()
        rows = loop.fit(resumed, draw, validate, disk.path / "fit", plan(3), resume=True)
    whole = network()
    assert loop.fit(whole, draw, validate, tmp_path / "whole", plan(3)) == rows
    assert same(whole, resumed)


def test_another_training_in_the_folder_is_told_apart(tmp_path: Path) -> None:
    loop.fit(network(), draw, validate, tmp_path, plan(1), identity={"network": "chops", "data": ["a"]})
    with pytest.raises(UsageError, match=r'another training \(data: \["a"\] there, \["b"\] here\)'):
        loop.fit(network(), draw, validate, tmp_path, plan(2), resume=True, identity={"network": "chops", "data": ["b"]})
    with pytest.raises(UsageError, match="another network"):
        loop.fit(network(units=1), draw, validate, tmp_path, plan(2), resume=True)
    assert len(loop.fit(network(), draw, validate, tmp_path, plan(2), resume=True, identity={"network": "chops", "data": ["a"]})) == 2


def test_a_loss_that_is_no_number_ends_the_training_before_it_is_kept(tmp_path: Path) -> None:
    def broken(rng: np.random.Generator, size: int) -> loop.Batch:
        inputs, targets = draw(rng, size)
        return inputs * np.float32(np.nan), targets

    loop.fit(network(), draw, validate, tmp_path, plan(1))
    with pytest.raises(CrystalSearchError, match="no number in epoch 2: lower --rate"):
        loop.fit(network(), broken, validate, tmp_path, plan(2), resume=True)
    assert sorted(path.name for path in tmp_path.glob("epoch*")) == ["epoch_001.npz"]


def test_large_checkpoints_are_thinned_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "ROOM", 0)
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    loop.fit(network(), draw, lambda _: {loop.LOSS: next(losses)}, tmp_path, plan(5))
    assert sorted(path.name for path in tmp_path.glob("epoch*")) == ["epoch_002.npz", "epoch_004.npz", "epoch_005.npz"]
