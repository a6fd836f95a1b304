"""``crystal-search calibrate``: probabilities that mean what they say, a threshold that belongs to them, and figures on other images."""

from __future__ import annotations

import csv
import hashlib
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.linear_model import LogisticRegression
from tiny_model import GRAY, picture, write_model

from client_app.classify import calibrated, classify
from client_app.drop import find_drop
from client_app.model import load_model
from client_app.model_folders import default_model_folder
from client_app.scales import scale_of
from crystal_search.classes import NAMES, Group
from crystal_search.errors import SettingsError, TryAgainLater, UsageError
from training.calibration.cli import calibrate, drawn_halves
from training.calibration.fit import Images, bias_of_groups, fit, largest, log_loss, spec_of
from training.calibration.looked import DrawnWell, Looked
from training.calibration.rules import Answers, Row, choose, choose_by_recall, class_rule, group_rule, table
from training.evaluation.sample import CRYSTAL, GROUPS
from training.synthetic import SyntheticWell, draw_well
from training.windows import image_logits

CLEAR, PRECIPITATE, OTHER = GROUPS.index("clear"), GROUPS.index("precipitate"), GROUPS.index("other")
UNSURE, NO_DROP = 4, 5

# ---- rules and thresholds, by hand ------------------------------------------------------------------------------


def well(group: str, empty: bool = False, found: bool = True, **classes: float) -> tuple[str, bool, bool, dict[str, float]]:
    return group, empty, found, classes


def given(*wells: tuple[str, bool, bool, dict[str, float]]) -> Answers:
    """One window a well, so that a group's probability is the sum of its classes'."""
    classes = np.zeros((len(wells), len(NAMES)))
    for row, (*_, probabilities) in zip(classes, wells, strict=True):
        for name, value in probabilities.items():
            row[NAMES.index(name)] = value
    groups = np.stack([classes[:, :3].sum(1), classes[:, 3:6].sum(1), classes[:, 6:10].sum(1), classes[:, 10:].sum(1)], axis=1)
    truth = np.array([GROUPS.index(group) for group, *_ in wells])
    return Answers(truth, np.array([w[1] for w in wells]), np.array([w[2] for w in wells]), classes, groups)


WELLS = given(
    well("crystal", crystals_harvestable=0.7, clear=0.9),
    well("crystal", crystals_bad_form=0.5, clear=0.9),
    well("precipitate", precipitate_bad=0.8),
    well("other", phase_separation=0.8),
    well("clear", clear=0.95, crystals_overnucleated=0.55),
    well("clear", empty=True, found=False),
)


def test_priority_beats_probability_and_the_threshold_is_strict() -> None:
    drop = given(well("crystal", crystals_overnucleated=0.6, clear=0.99))
    assert [class_rule(drop, threshold).tolist() for threshold in (0.5, 0.6, 0.99)] == [[CRYSTAL], [CLEAR], [UNSURE]]


def test_a_rim_is_clear_and_no_drop_is_no_drop() -> None:
    assert class_rule(given(well("clear", rim=0.9), well("clear", found=False)), 0.5).tolist() == [CLEAR, NO_DROP]


def test_the_group_rule_sums_over_a_group() -> None:
    drop = given(well("precipitate", precipitate=0.3, precipitate_bad=0.3, precipitate_good=0.25, clear=0.1))
    assert class_rule(drop, 0.5).tolist() == [UNSURE]
    assert group_rule(drop, 0.5).tolist() == [PRECIPITATE]
    mixed = given(well("crystal", crystals_harvestable=0.3, crystals_bad_form=0.25, phase_separation=0.9))
    assert (class_rule(mixed, 0.5).tolist(), group_rule(mixed, 0.5).tolist()) == ([OTHER], [CRYSTAL])


def test_success_rates_by_hand() -> None:
    low, middle, high = table(WELLS, class_rule, (0.45, 0.6, 0.85))
    assert (low.success, low.false_crystals) == ((1.0, 1.0, 1.0, 0.5), 0.5)
    assert (middle.success, middle.false_crystals) == ((0.5, 1.0, 1.0, 1.0), 0.0)
    assert (high.success, high.false_crystals) == ((0.0, 0.0, 0.0, 1.0), 0.0)
    assert middle.mean == pytest.approx(0.875)


def test_no_drop_is_a_miss_unless_the_well_is_empty() -> None:
    (row,) = table(given(well("clear", found=False), well("clear", empty=True, found=False)), class_rule, [0.5])
    assert row.success[CLEAR] == 0.5
    assert row.mean == 0.5, "groups without an image do not count"


def test_false_crystals_count_more_than_the_mean() -> None:
    low, middle, high = table(WELLS, class_rule, (0.45, 0.6, 0.85))
    assert choose([low, middle, high]) is middle
    assert choose([low]) is low


def test_of_thresholds_that_are_as_good_as_each_other_the_middle_one_is_chosen() -> None:
    """Within a point of 0.8 are 0.3, 0.4, 0.5 and 0.7; the lower of the two in the middle is 0.4. At 0.1 too many are false."""
    means = {0.1: 0.9, 0.2: 0.75, 0.3: 0.792, 0.4: 0.795, 0.5: 0.8, 0.6: 0.7, 0.7: 0.793}
    rows = [Row(threshold, (mean,) * 4, 0.06 if threshold == 0.1 else 0.05) for threshold, mean in means.items()]
    assert choose(rows[::-1]).threshold == 0.4


def test_a_wanted_recall_gets_the_largest_threshold_that_reaches_it() -> None:
    rows = [Row(t, (recall, 1.0, 1.0, 1.0), 0.0) for t, recall in ((0.2, 1.0), (0.4, 0.9), (0.5, 0.9), (0.7, 0.6))]
    assert choose_by_recall(rows, 0.9).threshold == 0.5
    assert choose_by_recall(rows, 0.91).threshold == 0.2
    with pytest.raises(UsageError, match="no threshold finds 95% of the crystals: the lowest finds 90%"):
        choose_by_recall(rows[1:], 0.95)


# ---- the fit ----------------------------------------------------------------------------------------------------


def looked(group: str, *windows: dict[str, float], empty: bool = False) -> Looked:
    """An image whose windows have the given logits, 0 elsewhere; no window, no drop."""
    logits = np.array([[window.get(name, 0.0) for name in NAMES] for window in windows], dtype=np.float32)
    return Looked(Group(group), empty, logits if windows else None)


def test_an_images_probabilities_are_the_largest_of_its_own_windows() -> None:
    images = Images.of(
        [looked("clear"), looked("crystal", {"crystals_bad_form": 3.0}, {"clear": 2.0}), looked("clear", {"rim": 1.0}), looked("clear")]
    )
    classes, groups = largest(images, spec_of(2.0, [0.5, 0.0, 0.0]))
    first = scipy.special.softmax([0.5, 2.0, 0.5, *[0.0] * 10])
    second = scipy.special.softmax([0.5, 0.5, 0.5, *[0.0] * 7, 1.0, 0.0, 0.0])
    third = scipy.special.softmax([0.5, 0.5, 0.5, *[0.0] * 9, 0.5])
    np.testing.assert_allclose(classes[1], np.maximum(first, second))
    np.testing.assert_allclose(classes[2], third)
    np.testing.assert_allclose(groups[1, [CRYSTAL, CLEAR]], [first[:3].sum(), second[10:].sum()])
    assert not classes[[0, 3]].any()
    assert not groups[[0, 3]].any()


def test_the_log_loss_by_hand() -> None:
    """Crystals say nothing about precipitate; a probability of 0 counts as 0.0001."""
    groups = np.array([[0.8, 0.9, 0.0, 0.1], [0.3, 0.0, 0.0, 0.2], [0.1, 0.2, 0.4, 0.9]])
    terms = [
        *np.log([0.8, 1 - 0.3, 1 - 0.1]),  # crystal, over all
        *np.log([1e-4, 1 - 0.2]),  # precipitate, over the second and the third
        *np.log([1 - 0.4]),  # other, over the clear one
    ]
    assert log_loss(groups, np.array([CRYSTAL, PRECIPITATE, CLEAR])) == pytest.approx(-np.mean(terms))


def test_with_one_window_and_two_groups_the_fit_is_logistic_regression() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(0, 3, 3000)
    true = rng.random(3000) < scipy.special.expit(z / 1.7 - 1.2)
    nowhere = dict.fromkeys(NAMES, -1000.0)
    images = [
        looked("crystal" if t else "clear", nowhere | {"crystals_harvestable": float(x), "clear": 0.0})
        for x, t in zip(z, true, strict=True)
    ]
    best = LogisticRegression(C=np.inf).fit(z[:, None], true)
    found = fit(Images.of(images))
    assert 1 / found.temperature == pytest.approx(best.coef_[0, 0], rel=0.02)
    assert bias_of_groups(found)["crystal"] == pytest.approx(best.intercept_[0], abs=0.06)  # the ridge pulls a little
    assert bias_of_groups(found)["other"] == 0, "no image of other says anything about its bias"
    assert len(set(found.bias[:3])) == 1
    assert found.bias[NAMES.index("clear") :] == (0, 0, 0)


def test_the_fit_is_at_the_bottom_of_its_loss() -> None:
    rng = np.random.default_rng(4)
    images = Images.of(
        [
            Looked(group, False, (rng.normal(0, 1, (6, 13)) + 2 * (rng.random((6, 13)) < 0.1)).astype(np.float32))
            for group in list(Group) * 30
        ]
    )

    def loss(temperature: float, biases: list[float]) -> float:
        return log_loss(largest(images, spec_of(temperature, biases))[1], images.truth) + 1e-3 * sum(b**2 for b in biases)

    found = fit(images)
    biases = list(bias_of_groups(found).values())
    at = loss(found.temperature, biases)
    assert at < loss(1.0, [0.0, 0.0, 0.0])
    for factor in (0.9, 1.1):
        assert loss(found.temperature * factor, biases) > at
    for place in range(3):
        for step in (-0.1, 0.1):
            assert loss(found.temperature, [b + step * (n == place) for n, b in enumerate(biases)]) > at


def test_without_a_drop_there_is_nothing_to_fit() -> None:
    with pytest.raises(UsageError, match="no drop was found"):
        Images.of([looked("clear")])


# ---- images through the client ----------------------------------------------------------------------------------


def test_logits_are_those_that_the_client_classifies_by(tmp_path: Path) -> None:
    bias = [0.1 * number for number in range(13)]
    model = load_model(write_model(tmp_path, scales="[1.0, 2.0]", temperature="30.0", bias=str(bias)))
    image = picture(("crystals_harvestable", 80, 64), ("precipitate", 128, 80))
    drop = find_drop(model, image)
    logits = image_logits(model, image, 5.0)
    assert drop is not None
    assert logits is not None
    expected = classify(model, image, drop, 5.0, 16).probabilities
    np.testing.assert_allclose(calibrated(logits, model.spec.calibration), expected, atol=1e-5)
    assert image_logits(model, picture(drop=False), None) is None


def test_drawn_wells_are_halved_by_seed_whatever_their_number() -> None:
    few, many = drawn_halves(40), drawn_halves(100)
    assert set(few.fitted) < set(many.fitted)
    assert not set(many.fitted) & set(many.judged)
    assert len(many.fitted) == len(many.judged) == 50


def test_a_drawn_well_tells_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawer(class_name: str | None) -> Callable[[int], SyntheticWell]:
        return lambda seed: draw_well(seed, class_name, width=160)

    for class_name, group, empty in (("spherulites", Group.OTHER, False), (None, Group.CLEAR, True), ("clear", Group.CLEAR, False)):
        monkeypatch.setattr("training.calibration.looked.draw_well", drawer(class_name))
        opened = DrawnWell(1, "any").open(load_model(default_model_folder()).spec)
        assert (opened.group, opened.empty) == (group, empty)


@pytest.mark.parametrize("text", ["0", "1,131", "-2", "nan", "big"])
def test_a_scale_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"a.jpg: um_per_px '{text}'"):
        scale_of(text, "a.jpg")


# ---- the command ------------------------------------------------------------------------------------------------

SHOWN = {"crystal": "crystals_harvestable", "precipitate": "precipitate", "other": "phase_separation"}


def lab(folder: Path, plates: int = 4) -> tuple[Path, Path]:
    """Labels and images of some plates with five wells each: one a group, one empty."""
    rows = [["image", "label", "plate", "um_per_px"]]
    for plate in range(plates):
        for group in (*SHOWN, "clear", "empty_well"):
            path = folder / "images" / f"P{plate}" / f"{group}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            patches = [(SHOWN[group], 70 + 8 * plate, 60)] if group in SHOWN else []
            picture(*patches, drop=group != "empty_well").save(path)
            rows.append([f"P{plate}/{group}.png", group, f"P{plate}", "4.0"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "labels.csv", folder / "images"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(calibrate, [*map(str, arguments), "--workers", "1"], catch_exceptions=False)


def test_a_labs_images_calibrate_a_model_and_a_second_run_goes_on(tmp_path: Path) -> None:
    labels, images = lab(tmp_path)
    model = write_model(tmp_path / "model", temperature="0.25")
    arguments = (model, "--labels", labels, "--images", images, "--work", tmp_path / "work")
    before = (model / "model.toml").read_bytes()
    told = run(*arguments).output
    assert "10 images fitted on, 10 to judge by, 0 left out" in told
    assert "crystal ECE" in told
    assert (model / "model.toml").read_bytes() == before, "nothing is written unless it is asked for"

    kept = sorted((tmp_path / "work").rglob("*.npz"))
    assert len(kept) == 20
    kept[0].write_bytes(b"cut off")
    written = {path: path.stat().st_mtime_ns for path in kept}
    run(*arguments, "--write")
    assert [path for path in kept if path.stat().st_mtime_ns != written[path]] == [kept[0]]

    spec = load_model(model).spec
    assert len(spec.calibration.bias) == 13
    assert spec.calibration.temperature != 0.25
    settings = tomllib.loads((model / "model.toml").read_text())
    record = settings["training"]["calibration"]
    assert settings["training"]["images"] == 0, "what else is known of the training stays"
    assert record["labels_sha256"] == hashlib.sha256(labels.read_bytes()).hexdigest()
    assert (record["images_fitted"], record["images_judged"]) == (10, 10)
    assert record["log_loss_after"] <= record["log_loss_before"]
    assert str(tmp_path) not in (model / "model.toml").read_text()

    run(*arguments)
    assert len(sorted((tmp_path / "work").rglob("*.npz"))) == 20, "a new calibration does not make the networks run again"


def test_the_threshold_alone_is_chosen_on_all_images_and_the_calibration_stays(tmp_path: Path) -> None:
    labels, images = lab(tmp_path, 1)  # one plate is enough: nothing is fitted
    model = write_model(tmp_path / "model", temperature="0.25")
    result = run(model, "--labels", labels, "--images", images, "--work", tmp_path / "work", "--threshold-only", "--recall", "1", "--write")
    assert "threshold chosen on all 5 images, 0 left out" in result.output
    settings = tomllib.loads((model / "model.toml").read_text())
    assert settings["calibration"]["temperature"] == 0.25
    # the largest threshold in steps of 0.01 at which the one crystal is still found
    with Image.open(images / "P0" / "crystal.png") as image:
        logits = image_logits(load_model(model), image, 4.0)
    assert logits is not None
    highest = scipy.special.softmax(logits / 0.25, axis=1)[:, :3].max()
    assert settings["threshold"] == pytest.approx(min(np.ceil(highest * 100 - 1), 99) / 100)
    assert settings["training"]["threshold"]["images_chosen_on"] == 5

    with pytest.raises(UsageError, match="needs --labels and --images"):
        run(model, "--threshold-only")


def test_without_the_extra_one_line_comes_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, images = lab(tmp_path)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(SettingsError, match=r"calibrate needs scipy: .*pip install .*'\.\[training\]'"):
        run(write_model(tmp_path / "model"), "--labels", labels, "--images", images, "--work", tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_an_image_that_fails_is_left_out_with_one_line(tmp_path: Path) -> None:
    labels, images = lab(tmp_path)
    (images / "P0" / "other.png").write_bytes(b"no image")
    (images / "P1" / "clear.png").unlink()
    result = run(write_model(tmp_path / "model"), "--labels", labels, "--images", images, "--work", tmp_path / "work")
    assert "2 left out" in result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("left out:")] == [
        line for line in result.stderr.splitlines() if "other.png" in line or "clear.png" in line
    ]
    assert result.stderr.count("left out:") == 2


@pytest.mark.parametrize(
    ("plates", "words", "change"),
    [
        (1, "one plate is needed to fit on and another", None),
        (2, "none of the 10 images", "folder"),
        (2, "belong together", "no images"),
        (2, "no crystal image among those to", "no crystals"),
    ],
)
def test_what_can_not_be_calibrated_on_ends_with_one_line(tmp_path: Path, plates: int, words: str, change: str | None) -> None:
    labels, images = lab(tmp_path, plates)
    if change == "no crystals":
        labels.write_text(labels.read_text().replace("crystal.png,crystal", "crystal.png,other"))
    where = () if change == "no images" else ("--images", tmp_path if change == "folder" else images)
    with pytest.raises(UsageError, match=words):
        run(write_model(tmp_path / "model"), "--labels", labels, *where, "--work", tmp_path / "work")


def test_the_picture_of_the_example_is_what_the_network_takes_it_for() -> None:
    """The command's tests rest on this: each group has a gray value of its own."""
    assert len({GRAY[name] for name in (*SHOWN.values(), "clear")}) == 4


def test_a_work_folder_that_can_not_be_written_ends_with_one_line(tmp_path: Path) -> None:
    labels, images = lab(tmp_path, 2)
    (tmp_path / "work").write_text("a file where a folder should be")
    with pytest.raises(TryAgainLater, match="can not write to"):
        run(write_model(tmp_path / "model"), "--labels", labels, "--images", images, "--work", tmp_path / "work" / "below")
