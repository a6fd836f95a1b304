"""Where scored images come from: XtalTrak, a folder with a CSV file, MARCO's TFRecords. A mistake costs its own row and one line."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from heavy import heavy
from scored_lab import Lab, image_name

from crystal_search.errors import SettingsError, UsageError
from crystal_search.xtaltrak import open_xtaltrak
from training.datasets.from_folder import read_folder
from training.datasets.from_tfrecords import masked_crc32c, read_tfrecords
from training.datasets.from_xtaltrak import read_xtaltrak
from training.datasets.plates import of_drop_types, read_plates, with_plates
from training.datasets.scored_image import Found, ScoredImage

# ---- XtalTrak -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Two plates; the files of their images are on the disk."""
    made = Lab(tmp_path).create()
    for barcode in ("CI000001", "CI000002"):
        shots = [(label, number) for label in ("A01a", "A02a", "A03a") for number in (1, 2)]
        made.inspect(*shots, barcode=barcode)
        for label, number in shots:
            put(made, image_name(label, number, barcode), barcode, number)
    return made


def put(lab: Lab, name: str, barcode: str, number: int) -> None:
    path = lab.settings.paths.images / barcode / str(number) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"pixels")


def uv_mate(lab: Lab, label: str, number: int, *, on_disk: bool = True) -> str:
    """XtalTrak gets a UV image of the same drop and inspection."""
    name = image_name(label, number).replace("_HF_", "_UV_")
    lab.execute("INSERT INTO I_IMAGES VALUES (?, ?)", lab.inspection(label, number), name)
    if on_disk:
        put(lab, name, "CI000001", number)
    return name


def read(lab: Lab, page: int = 2000) -> Found:
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        return read_xtaltrak(xtaltrak, lab.settings, page=page)


def test_an_image_that_a_person_scored_comes_with_all_that_xtaltrak_knows(lab: Lab) -> None:
    lab.person("A02a", 2, "23")
    mate = uv_mate(lab, "A02a", 2)
    lab.execute("INSERT INTO PROJECTS VALUES (1, 'Heme')")
    lab.execute("UPDATE PLATES SET PROJECT_ID = 1 WHERE BARCODE = 'CI000001'")
    lab.execute("INSERT INTO SAMPLES VALUES (5, 'Myoglobin')")
    lab.execute("INSERT INTO PLATE_DROPS SELECT PLATE_ID, 5 FROM PLATES WHERE BARCODE = 'CI000001'")
    found = read(lab)
    (image,) = found.images
    assert found.problems == ()
    assert (image.class_name, image.plate, image.well, image.inspection) == ("crystals_harvestable", "CI000001", "A02a", 2)
    assert image.image.path == lab.settings.paths.images / "CI000001" / "2" / image_name("A02a", 2)
    assert image.uv is not None
    assert image.uv.path.name == mate
    assert image.proteins == ("Heme", "Myoglobin")
    assert image.um_per_px == 1.131  # of the profile HF


def test_a_score_without_a_scorer_is_a_persons_and_our_own_is_nobodys(lab: Lab) -> None:
    lab.person("A01a", 1, "11", scorer=None)
    lab.person("A02a", 1, "23", scorer="ARTscore")
    lab.person("A03a", 1, "01")
    lab.person("A03a", 1, "23", scorer="ARTscore")
    assert [(image.well, image.class_name) for image in read(lab).images] == [("A01a", "precipitate_good"), ("A03a", "clear")]


def test_a_persons_last_score_counts_and_of_several_people_the_majority(lab: Lab) -> None:
    lab.person("A01a", 1, "23", "Berta", days=1)
    lab.person("A01a", 1, "31", "Berta", days=3)
    lab.person("A01a", 1, "21", "Berta", days=2)
    for scorer, score in (("Anna", "01"), ("Berta", "01"), ("Carl", "22")):
        lab.person("A02a", 1, score, scorer)
    assert [image.class_name for image in read(lab).images] == ["phase_separation", "clear"]


def test_a_score_that_names_no_image_is_on_the_visible_images_of_its_inspection(lab: Lab) -> None:
    uv_mate(lab, "A01a", 1)
    lab.person("A01a", 1, "12", image=False)
    (image,) = read(lab).images
    assert "_HF_" in image.name
    assert image.uv is not None


def test_pages_of_one_inspection_find_the_same_as_one_page(lab: Lab) -> None:
    for label in ("A01a", "A02a", "A03a"):
        for scorer in ("Anna", "Berta"):
            lab.person(label, 1, "01", scorer)
    whole = read(lab)
    assert len(whole.images) == 3
    assert read(lab, page=1) == whole


def test_bad_rows_of_xtaltrak_are_one_line_each(lab: Lab) -> None:
    lab.person("A01a", 1, "99")
    lab.person("A02a", 1, None)
    lab.person("A03a", 1, "01")
    lab.person("A03a", 2, "01")
    (lab.settings.paths.images / "CI000001" / "2" / image_name("A03a", 2)).unlink()
    uv_mate(lab, "A03a", 1, on_disk=False)
    lab.execute("INSERT INTO I_IMAGES VALUES (?, 'holiday.jpg')", lab.inspection("A03a", 1))
    found = read(lab)
    (image,) = found.images
    assert (image.well, image.inspection, image.uv) == ("A03a", 1, None)
    for expected in ("unknown score '99'", "SCOREID 2: unknown score ''", "'holiday.jpg': 1 fields", "no such file"):
        assert sum(expected in line for line in found.problems) == 1, expected
    assert len(found.problems) == 4


# ---- folder and CSV -----------------------------------------------------------------------------------------------

NAMED = image_name("F01c", 3, "CI000009")


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Path]:
    """Writes labels.csv beside the images a.png, sub/b.png and one with CrystalTrak's name."""
    for name in ("a.png", "sub/b.png", NAMED, "a_uv.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"pixels")

    def write(text: str) -> Path:
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8-sig")
        return path

    return write


def test_a_folder_with_every_column(table: Callable[[str], Path], tmp_path: Path) -> None:
    found = read_folder(
        table("image;label;plate;well;inspection;protein;uv;drop_type;um_per_px\na.png;22;P7;B05;4;Lysozyme;a_uv.png;in_meso;2.5\n")
    )
    (image,) = found.images
    assert (found.problems, found.notes) == ((), ())
    assert (image.class_name, image.only_group) == ("crystals_bad_form", False)
    assert (image.plate, image.well, image.inspection, image.proteins) == ("P7", "B05", 4, ("Lysozyme",))
    assert (image.drop_type, image.um_per_px) == ("in meso", 2.5)
    assert image.uv is not None
    assert image.uv.path == tmp_path / "a_uv.png"


def test_plates_come_from_the_column_then_the_name_then_the_folder(table: Callable[[str], Path]) -> None:
    found = read_folder(table(f"image,label,plate\na.png,23,P7\nsub/b.png,11,\n{NAMED},01,\n"))
    assert [(image.plate, image.well) for image in found.images] == [("P7", ""), ("folder sub", ""), ("CI000009", "F01c")]
    assert "1 images name no plate" in found.notes[0]


def test_group_words_get_their_groups_class_and_are_marked(table: Callable[[str], Path]) -> None:
    found = read_folder(table(f"image,label\na.png,Crystals\nsub/b.png,Other\n{NAMED},Precipitate\n"))
    assert [image.class_name for image in found.images] == ["crystals_harvestable", "other", "precipitate"]
    assert all(image.only_group for image in found.images)


def test_several_rows_of_one_image_are_several_people(table: Callable[[str], Path]) -> None:
    (image,) = read_folder(table("image,label\na.png,23\na.png,01\na.png,1\n")).images
    assert image.class_name == "clear"


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("lost.png,23,,", "no such file"),
        ("a.png,kristall,,", "unknown label 'kristall'"),
        ("a.png,empty_well,,", "empty_well, which has no drop"),
        ("a.png,23,lost_uv.png,", "no such file"),
        ("a.png,23,,sitting", "unknown drop type 'sitting'"),
        ("a.png,23", "2 cells, the header has 4"),
        ("a.png,,,", "no label"),
        (",23,,", "no image"),
        ("../a.png,23,,", "no such file"),
    ],
)
def test_a_bad_row_fails_alone(table: Callable[[str], Path], row: str, line: str) -> None:
    found = read_folder(table(f"image,label,uv,drop_type\n{row}\nsub/b.png,01,,\n"))
    assert [image.name for image in found.images] == ["sub/b.png"]
    (problem,) = found.problems
    assert "labels.csv line 2: " in problem
    assert line in problem
    assert "\n" not in problem


def test_a_table_that_is_none(table: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs one column 'label'; the columns are image, class"):
        read_folder(table("image,class\na.png,23\n"))
    with pytest.raises(UsageError, match="needs one column 'image'"):
        read_folder(table(""))
    with pytest.raises(UsageError, match="can not be read"):
        read_folder(tmp_path / "lost.csv")


# ---- plates -------------------------------------------------------------------------------------------------------


def test_the_table_of_plates_says_drop_type_protein_and_chromophore(table: Callable[[str], Path], tmp_path: Path) -> None:
    images = read_folder(table(f"image,label,plate,protein\na.png,23,P7,Lysozyme\nsub/b.png,11,P8,\n{NAMED},01,,\n")).images
    plates_csv = tmp_path / "plates.csv"
    plates_csv.write_text("plate,drop_type,protein,chromophore\nP7,microbatch,,no\nP8,,Myoglobin,yes\n")
    plates = read_plates(plates_csv)
    known = with_plates(images, plates)
    assert [(image.drop_type, image.proteins) for image in known] == [
        ("microbatch", ("Lysozyme",)),
        ("vapour diffusion", ("Myoglobin",)),
        ("vapour diffusion", ()),
    ]
    assert [name for name, plate in plates.items() if plate.chromophore] == ["P8"]
    assert [image.plate for image in of_drop_types(known, ["microbatch"])] == ["P7"]
    assert len(of_drop_types(known, [])) == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plate,drop_type\nP7,sitting\n", "line 2: unknown drop type"),
        ("plate\nP7\nP7\n", "line 3: the plate stands twice"),
        ("plate,chromophore\nP7,perhaps\n", "neither yes nor no"),
        ("barcode\nP7\n", "no column 'plate'"),
    ],
)
def test_a_mistake_in_the_table_of_plates(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "plates.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=line):
        read_plates(path)


def test_a_plate_has_one_drop_type(table: Callable[[str], Path]) -> None:
    images = read_folder(table("image,label,plate,drop_type\na.png,23,P7,microbatch\nsub/b.png,11,P7,\n")).images
    with pytest.raises(UsageError, match="more than one type on plate P7"):
        of_drop_types(images, [])


# ---- TFRecords ----------------------------------------------------------------------------------------------------

tensorflow_warns = pytest.mark.filterwarnings("ignore")  # while it is imported


def records(path: Path, *features: dict[str, Any]) -> list[int]:
    """A TFRecord file that TensorFlow itself wrote; where each record starts."""
    tf = heavy("tensorflow")

    def feature(value: Any) -> Any:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    starts, at = [], 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in features:
            example = tf.train.Example(features=tf.train.Features(feature={name: feature(value) for name, value in one.items()}))
            content = example.SerializeToString()
            writer.write(content)
            starts.append(at)
            at += 16 + len(content)
    return starts


def marco(encoded: bytes, text: bytes | None = None, label: int | None = None) -> dict[str, Any]:
    values = {"image/encoded": encoded, "image/class/text": text, "image/class/label": label, "image/height": 960, "image/width": 1280}
    return {name: value for name, value in values.items() if value is not None}


@tensorflow_warns
def test_marcos_records_are_read_with_their_images_left_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "train-00000"
    records(path, marco(b"jpeg one", b"Crystals"), marco(b"jpeg two", label=3), marco(b"jpeg three", b"Precipitate", 0))
    found = read_tfrecords([path], ["Crystals", "Other", "Precipitate", "Clear"])
    assert found.problems == ()
    assert [image.image.read() for image in found.images] == [b"jpeg one", b"jpeg two", b"jpeg three"]
    assert [image.class_name for image in found.images] == ["crystals_harvestable", "clear", "precipitate"]
    assert {image.plate for image in found.images} == {"file train-00000"}
    assert all(image.only_group for image in found.images)


@tensorflow_warns
def test_a_bad_record_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "train-00000"
    good = marco(b"jpeg", b"Clear")
    starts = records(path, good, good, marco(b"", b"Clear"), marco(b"jpeg"), marco(b"jpeg", label=1), marco(b"jpeg", b"Fog"), good)
    content = bytearray(path.read_bytes())
    content[starts[1] + 12 + 5] ^= 1  # a bit of the second record's data
    path.write_bytes(content)
    found = read_tfrecords([path])
    assert [image.name for image in found.images] == ["train-00000#1", "train-00000#7"]
    for number, line in {2: "corrupt", 3: "no image/encoded", 4: "neither", 5: "--label-names", 6: "unknown label 'Fog'"}.items():
        assert f"{path} record {number}: " in found.problems[number - 2]
        assert line in found.problems[number - 2]


@tensorflow_warns
@pytest.mark.parametrize("damage", ["length", "end", "tail"])
def test_where_the_frame_is_broken_the_rest_of_the_file_is_lost_with_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "train-00000"
    good = marco(b"jpeg", b"Clear")
    starts = records(path, good, good, good)
    content = bytearray(path.read_bytes())
    if damage == "length":
        content[starts[1]] ^= 1
    else:
        del content[starts[1] + (20 if damage == "end" else 7) :]
    path.write_bytes(content)
    found = read_tfrecords([path])
    assert len(found.images) == 1
    (line,) = found.problems
    assert "record 2: " in line


def test_the_checksum_is_castagnolis() -> None:
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C aa 36 91 8a (little endian)
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_without_tensorflow_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("tensorflow"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SettingsError, match=r"pip install .*'\.\[training\]'"):
        read_tfrecords([tmp_path / "x"])


def test_an_image_is_frozen_and_hashable() -> None:
    assert len({ScoredImage("a", None, "clear", "P", "x"), ScoredImage("a", None, "clear", "P", "x")}) == 1  # type: ignore[arg-type]
