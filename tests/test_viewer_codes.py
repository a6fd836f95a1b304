"""A site that numbers scores differently sees its own codes wherever the viewer shows an ARTscore, and none of the paper's."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from viewer_lab import KINDS, PLATE, PlateOf, ViewerLab, make_viewer_lab

from crystal_search.classes import BY_NAME
from crystal_search.plate import Drop, Well
from crystal_search.score_codes import ScoreCodes
from viewer.app import make_app
from viewer.plate_picture import PlateTile, plate_picture

#: A site whose crystals have letters, and whose "7" is the paper's clear drop.
OWN = {"crystals_harvestable": "X3", "crystals_bad_form": "X2", "clear": "7", "other": "misc", "precipitate": "ppt"}
#: What drop n of inspection 1 is: ``KINDS[n + 1]``.
LABELS = {name: f"{'ABCDEFGH'[at % 4]}{at // 4 + 1:02}a" for at, name in enumerate((*KINDS[1:], KINDS[0]))}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerLab:
    made = make_viewer_lab(tmp_path_factory.mktemp("codes"), (PlateOf(PLATE, 6, 4, (1,), 2),))
    section = made.settings.xtaltrak.model_copy(update={"codes": OWN})
    return ViewerLab(made.folder, made.settings.model_copy(update={"xtaltrak": section}))


@pytest.fixture(scope="module")
def client(lab: ViewerLab) -> Iterator[TestClient]:
    with lab.ledger() as ledger:
        app = make_app(lab.settings, ledger, "Berta")
        made = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000))
        made.get(f"/sign-in?token={app.state.viewer.gate.local_token}")
        yield made


def wanted(class_name: str) -> str:
    return OWN.get(class_name, BY_NAME[class_name].score)


def test_the_plate_page(client: TestClient) -> None:
    drops = {tile["label"]: tile for tile in client.get(f"/api/plates/{PLATE}/1").json()["drops"]}
    for name in KINDS[:-2]:
        assert (drops[LABELS[name]]["art"]["class"], drops[LABELS[name]]["art"]["score"]) == (name, wanted(name))
    page = client.get(f"/plates/{PLATE}/1", headers={"Accept": "text/html"}).text
    table = dict(re.findall(r'<i data-name="(\w+)" data-title="[^"]*" data-score="(\w+)"', page))
    assert table == {name: wanted(name) for name in KINDS[:-2]}


def test_the_drop_page(client: TestClient, lab: ViewerLab) -> None:
    drop = client.get(f"/api/drops/{lab.id(PLATE, 'A01')}").json()
    assert KINDS[1] == "crystals_bad_form"
    assert drop["art"]["score"] == "X2"
    assert [(bar["class"], bar["score"]) for bar in drop["images"][0]["classes"]] == [("crystals_bad_form", "X2")]


def test_work_list_batch_and_earlier_hits(client: TestClient) -> None:
    crystals = client.get("/api/worklist").json()["crystals"]
    assert {tile["art"]["score"] for tile in crystals} >= {"X3", "X2", "21"}
    shown = client.get("/api/batches/batch-1").json()["images"]
    assert {(image["class"], image["score"]) for image in shown} == {(name, wanted(name)) for name in KINDS[:-2]}
    hits = client.get(f"/api/plates/{PLATE}/1/earlier").json()
    assert {hit["score"] for found in hits.values() for hit in found} == {"X3", "X2", "21"}


def test_exports(client: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get(f"/plates/{PLATE}/1/scores.csv").text)))
    assert {(row["artscore_class"], row["artscore_score"]) for row in rows if row["artscore_class"]} == {(k, wanted(k)) for k in KINDS[:-2]}
    boxes = client.get(f"/plates/{PLATE}/1/boxes.json").json()
    assert {one["name"]: one["xtaltrak_score"] for one in boxes["categories"]} == {name: wanted(name) for name in KINDS[:-2]} | {"rim": "7"}
    assert {image["artscore"] for image in boxes["images"]} == {wanted(name) for name in KINDS[:-2]} | {None}
    report = client.get(f"/plates/{PLATE}/1/report.html").text
    for code in ("X3 Crystals harvestable", "7 Clear", "ppt Precipitate"):
        assert report.count(code) >= 3, "legend, picture and table"
    assert "23 Crystals" not in report
    assert "01 Clear" not in report


def test_a_code_longer_than_the_papers_is_entered(client: TestClient, lab: ViewerLab) -> None:
    here = lab.id(PLATE, "A01")
    headers = {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}
    body = {"action": "action-01", "score": "misc", "drops": [{"id": here, "image": lab.name(here)}]}
    assert client.post("/api/scores", json=body, headers=headers).status_code == 200
    assert [row[3] for row in lab.scores("Berta")] == ["misc"]
    lab.execute("DELETE FROM I_SCORES")


def test_the_plate_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's code has the colour of the class that it means there, and the caption shows the site's."""
    written: list[str] = []
    real = type(_draw()).text

    def note(self: Any, at: Any, text: str, **more: Any) -> None:
        written.append(text)
        real(self, at, text, **more)

    monkeypatch.setattr(type(_draw()), "text", note)
    tile = PlateTile(Drop("P1", Well(1, 1), 1), Path("nowhere.jpg"), "scored", "crystals_harvestable", 0.9, "7")
    gray, red = BY_NAME["clear"].colour, BY_NAME["crystals_harvestable"].colour
    corner = (8 + 214 - 56, 44 + 7 + 8)
    assert plate_picture("P1", [tile], ScoreCodes(OWN)).getpixel(corner) == gray
    assert "A01a  X3  0.90  crystal" in written
    assert plate_picture("P1", [tile], ScoreCodes({"crystals_harvestable": "7"})).getpixel(corner) == red


def _draw() -> Any:
    from PIL import ImageDraw

    return ImageDraw.Draw(Image.new("RGB", (1, 1)))
