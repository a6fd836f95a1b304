"""CrystalTrak file names: what each field tells, and that nothing is guessed where one is wrong."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystal_search.crystaltrak_names import ImageName, MalformedNameError, parse_image_name
from crystal_search.plate import Drop, Well

EXAMPLE = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_06_03_HF_99_030_001_RDI.jpg"
FIELDS = EXAMPLE.removesuffix(".jpg").split("_")


def name_with(position: int, text: str) -> str:
    """The name of the facts with field ``position`` (from 1) replaced."""
    return "_".join([*FIELDS[: position - 1], text, *FIELDS[position:]]) + ".jpg"


def test_every_field_of_the_published_example() -> None:
    assert parse_image_name(EXAMPLE) == ImageName(EXAMPLE, 222, Drop("CI022987", Well(1, 6), 3), 3, date(2012, 11, 21), "HF")


def test_the_192_drops_of_half_a_plate() -> None:
    drops = set()
    for column, row, subwell in product(range(1, 9), range(1, 9), (1, 3, 4)):
        text = f"RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_{column:02}_{row:02}_{subwell:02}_HF_99_030_001_RDI.jpg"
        name = parse_image_name(text)
        assert name.drop.label == f"{'ABCDEFGH'[row - 1]}0{column}{'abcd'[subwell - 1]}"
        assert name.folder == "CI022987/3"
        drops.add(name.drop)
    assert len(drops) == 192


@pytest.mark.parametrize("extension", ["jpg", "JPG", "jpeg", "png", "tif", "TIFF"])
def test_extensions_of_images(extension: str) -> None:
    assert parse_image_name("_".join(FIELDS) + "." + extension).profile == "HF"


@pytest.mark.parametrize("profile", ["HF", "00", "E0", "UV"])
def test_any_profile(profile: str) -> None:
    assert parse_image_name(name_with(14, profile)).profile == profile


@pytest.mark.parametrize("position", [1, 2, 4, 5, 6, 7, 15, 16, 17, 18])
def test_fields_that_nobody_understands_may_be_anything(position: int) -> None:
    assert parse_image_name(name_with(position, "Änything-1")).drop.label == "F01c"


@pytest.mark.parametrize(
    ("position", "text", "says"),
    [
        (3, "", "field 3"),
        (3, "22x", "field 3"),
        (3, "-22", "field 3"),
        (3, "\N{FULLWIDTH DIGIT TWO}", "field 3"),  # digits, but not ASCII ones
        (3, "1234567", "field 3"),
        (8, "CI022987", "field 8"),
        (8, "0000", "field 8"),
        (8, "0000CI-22987", "field 8"),
        (8, "0000../../etc", "field 8"),
        (9, "000", "field 9"),
        (9, "x", "field 9"),
        (10, "12112", "field 10"),
        (10, "121121a", "field 10"),
        (10, "121321", "month"),
        (10, "120230", "day"),
        (11, "00", "column 0"),
        (11, "49", "column 49"),
        (11, "A", "field 11"),
        (12, "00", "row 0"),
        (12, "33", "row 33"),
        (12, " 6", "field 12"),
        (13, "0", "field 13"),
        (13, "27", "field 13"),
        (13, "c", "field 13"),
    ],
)
def test_a_wrong_field_is_named(position: int, text: str, says: str) -> None:
    with pytest.raises(MalformedNameError, match=says) as caught:
        parse_image_name(name_with(position, text))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an image's file name"),
        ("_".join(FIELDS), "not an image's file name"),
        ("_".join(FIELDS) + ".gif", "not an image's file name"),
        ("_".join(FIELDS[:-1]) + ".jpg", "17 fields"),
        ("_".join([*FIELDS, "RDI"]) + ".jpg", "19 fields"),
        ("J000597_A01_11_5xBF_0.1s_20200413130523.jpg", "6 fields"),
    ],
)
def test_names_of_other_systems(text: str, says: str) -> None:
    with pytest.raises(MalformedNameError, match=says):
        parse_image_name(text)


@given(st.text(max_size=120) | st.builds("_".join, st.lists(st.text(max_size=8), min_size=18, max_size=18)).map(lambda s: s + ".jpg"))
def test_any_text_is_a_name_or_malformed(text: str) -> None:
    try:
        name = parse_image_name(text)
    except MalformedNameError:
        return
    assert name.file_name == text
    assert "/" not in name.folder.replace("/", "", 1)
