"""Real images for choosing and for judging: the rule of decision 0009, and no image in both halves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from crystal_search.csv_table import Line
from crystal_search.errors import UsageError
from training.evaluation.halves import halve, main
from training.evaluation.labels import read_labels

SHARED_LABELS = Path(__file__).parents[2] / "shared" / "data" / "labels.csv"


def lines(*images: tuple[str, str]) -> list[Line]:
    return [
        Line(number, {"file": file, "well": well, "label": "clear", "plate": "", "um_per_px": ""})
        for number, (file, well) in enumerate(images, 2)
    ]


def test_the_rule_by_hand() -> None:
    choosing, judging = halve(
        lines(
            ("diamond_chimp/1.jpg", ""),
            ("minstrel_plate_CI022987/a.jpg", "E01"),
            ("clear_drops_J000597/c.jpg", ""),
            ("clear_drops_J000597/a.jpg", ""),
            ("clear_drops_J000597/b.jpg", ""),
            ("rockimager_empty_90j8/z.jpg", "H12"),
            ("minstrel_plate_CI022987/z.jpg", "D08"),
            ("minstrel_wells_RGKU/1.jpg", "A01"),
            ("diamond_crystalmatch/1.jpg", "A01"),
            ("marco_samples/1.jpg", ""),
        )
    )
    assert [line.cells["file"] for line in choosing] == [
        "diamond_chimp/1.jpg",
        "clear_drops_J000597/c.jpg",
        "clear_drops_J000597/a.jpg",
        "rockimager_empty_90j8/z.jpg",
        "minstrel_plate_CI022987/z.jpg",
        "marco_samples/1.jpg",
    ]
    assert [line.cells["file"][-5] for line in judging] == ["a", "b", "1", "1"]


def test_a_new_collection_has_to_be_decided_on() -> None:
    with pytest.raises(UsageError, match="which half the images of new are in"):
        halve(lines(("new/1.jpg", "")))


@pytest.mark.skipif(
    not SHARED_LABELS.is_file(), reason=f"needs the real images' labels, which are not part of the project, {SHARED_LABELS}"
)
def test_both_halves_are_labels_files_that_share_no_image(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(SHARED_LABELS), "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    choosing, judging = (read_labels(tmp_path / f"{name}.csv").images for name in ("choosing", "judging"))
    assert not set(choosing) & set(judging)
    assert len(choosing) + len(judging) == 249
    assert set(read_labels(tmp_path / "all.csv").images) == {*choosing, *judging}
    crystals = [Counter(str(image.consensus.judgement.group) for image in half.values())["crystal"] for half in (choosing, judging)]
    assert crystals == [6, 6]
    assert {image.source for image in judging.values()} == {
        "minstrel_plate_CI022987",
        "minstrel_wells_RGKU",
        "diamond_crystalmatch",
        "rockimager_empty_90j8",
        "clear_drops_J000597",
    }
