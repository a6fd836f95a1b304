"""Who may come in, see and change what: local token, passwords, proxy, projects, CSRF, hosts, headers, bad addresses."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
import yaml
from click.testing import CliRunner
from fastapi.testclient import TestClient
from sqlalchemy import update
from viewer_lab import BIG, EVIL, PLATE, SMALL, PlateOf, ViewerLab, make_viewer_lab

from crystal_search.errors import SettingsError, TryAgainLater, UsageError
from crystal_search.ledger import Ledger
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.viewer_tables import viewer_sessions
from viewer.app import make_app
from viewer.cli import viewer_user
from viewer.passwords import hash_password, is_password
from viewer.person import Role
from viewer.users import save_user

PROJECT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery"
SMALL_PLATES = (
    PlateOf(PLATE, 3, 2, (1,), 2, "kinases", EVIL),
    PlateOf(BIG, 2, 2, (1,), 1, "phosphatases"),
    PlateOf(SMALL, 2, 2, (1,)),
)


@pytest.fixture(scope="module", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """A hash costs a third of a second on purpose; the tests make dozens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("viewer.passwords._N", 16)
        yield


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerLab:
    return make_viewer_lab(tmp_path_factory.mktemp("viewer"), SMALL_PLATES)


@pytest.fixture(scope="module")
def ledger(lab: ViewerLab) -> Iterator[Ledger]:
    with lab.ledger() as opened:
        with opened.begin() as connection:
            hashed = hash_password(PASSWORD)
            save_user(connection, "Berta", Role.SCORER, hashed, ["kinases"], False)
            save_user(connection, "Vera", Role.VIEWER, hashed, None, True)
            save_user(connection, "Ada", Role.ADMIN, hashed, None, True)
        yield opened


def client_of(lab: ViewerLab, ledger: Ledger, **viewer: object) -> TestClient:
    app = make_app(lab.with_viewer(**viewer).settings, ledger, "Berta")
    return TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000), raise_server_exceptions=False)


@pytest.fixture
def local(lab: ViewerLab, ledger: Ledger) -> TestClient:
    client = client_of(lab, ledger)
    client.get(f"/sign-in?token={client.app.state.viewer.gate.local_token}")  # type: ignore[attr-defined]
    return client


def signed_in(lab: ViewerLab, ledger: Ledger, name: str, password: str = PASSWORD) -> TestClient:
    client = client_of(lab, ledger, access="passwords")
    answer = client.post("/sign-in", data={"name": name, "password": password, "next": "/grid"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/grid")
    return client


def csrf(client: TestClient) -> dict[str, str]:
    return {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}


# ---- coming in -----------------------------------------------------------------------------------------------------

PRIVATE = (
    "/", "/grid", f"/plates/{PLATE}", f"/plates/{PLATE}/1", "/drops/1", "/batches/batch-1", "/api/session", "/api/plates?start=CI",
    "/api/worklist", f"/api/plates/{PLATE}/1", f"/api/plates/{PLATE}/1/earlier", "/api/drops/1", "/api/grid", "/api/batches/batch-1",
    f"/plates/{PLATE}/1/scores.csv", f"/plates/{PLATE}/1/scores.json", f"/plates/{PLATE}/1/boxes.json", f"/plates/{PLATE}/1/report.html",
    "/images/1/original/x.jpg", f"/sheets/{PLATE}/1/{'0' * 40}.jpg",
)  # fmt: skip


@pytest.mark.parametrize("access", ["local", "passwords"])
def test_nothing_of_a_lab_is_told_before_signing_in(lab: ViewerLab, ledger: Ledger, access: str) -> None:
    client = client_of(lab, ledger, access=access)
    for path in PRIVATE:
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code == 401, path
        assert list(answer.json()) == ["error"]
    page = client.get(f"/plates/{PLATE}/1", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, f"/sign-in?next=/plates/{PLATE}/1")


def test_every_route_is_tried_above_or_needs_no_sign_in(lab: ViewerLab, ledger: Ledger) -> None:
    # a route that somebody adds has to be looked at here
    public = {"/sign-in", "/sign-out", "/colours.css", "/static"}
    tried = {"/" + "/".join(part for part in path.partition("?")[0].split("/")[1:2]) for path in PRIVATE}
    client = client_of(lab, ledger)
    routes = [route.path for route in client.app.routes if hasattr(route, "path")]  # type: ignore[attr-defined]
    assert len(routes) >= 1
    assert {"/" + path.split("/")[1] for path in routes} <= tried | public


def test_the_local_person_comes_in_by_the_printed_address_only(lab: ViewerLab, ledger: Ledger) -> None:
    client = client_of(lab, ledger)
    assert client.get("/sign-in?token=wrong").status_code == 403
    assert client.get("/api/session").status_code == 401
    token = client.app.state.viewer.gate.local_token  # type: ignore[attr-defined]
    answer = client.get(f"/sign-in?token={token}&next=//evil.example/", follow_redirects=False)
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/api/session").json()["role"] == "admin"


def test_passwords(lab: ViewerLab, ledger: Ledger) -> None:
    client = client_of(lab, ledger, access="passwords")
    for name, password in (("Berta", "wrong horse battery"), ("nobody", PASSWORD), ("", "")):
        answer = client.post("/sign-in", data={"name": name, "password": password})
        assert answer.status_code == 403
        assert "name or password is wrong" in answer.text
    assert signed_in(lab, ledger, "Vera").get("/api/session").json()["role"] == "viewer"
    # the local token opens nothing here
    assert client.get(f"/sign-in?token={client.app.state.viewer.gate.local_token}").status_code == 403  # type: ignore[attr-defined]


def test_guessing_is_slow(lab: ViewerLab, ledger: Ledger) -> None:
    client = client_of(lab, ledger, access="passwords")
    codes = [client.post("/sign-in", data={"name": "Vera", "password": "guess"}).status_code for _ in range(5)]
    assert codes == [403] * 5
    assert client.post("/sign-in", data={"name": "Vera", "password": PASSWORD}).status_code == 429


def test_a_password_is_kept_as_a_salted_hash() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second
    assert PASSWORD not in first
    assert is_password(PASSWORD, first)
    assert is_password(PASSWORD, second)
    assert not is_password(PASSWORD + "x", first)
    assert not is_password(PASSWORD, None)


def test_a_sign_in_expires_and_a_removed_user_is_out_at_once(lab: ViewerLab, ledger: Ledger) -> None:
    client = signed_in(lab, ledger, "Ada")
    assert client.get("/api/worklist").status_code == 200
    with ledger.begin() as connection:
        past = utc_now() - timedelta(seconds=1)
        connection.execute(update(viewer_sessions).where(viewer_sessions.c.person == "Ada").values(expires_at=past))
    assert client.get("/api/worklist").status_code == 401
    client = signed_in(lab, ledger, "Ada")
    runner = CliRunner()
    settings = ["--settings", str(lab.folder / "crystal-search.toml")]
    assert runner.invoke(viewer_user, ["remove", "Ada", *settings]).exit_code == 0
    assert client.get("/api/worklist").status_code == 401
    answer = runner.invoke(viewer_user, ["add", "Ada", "--role", "admin", *settings], input=f"{PASSWORD}\n{PASSWORD}\n")
    assert answer.output.endswith("user Ada changed\n")
    assert "Ada  admin  all projects\nBerta  scorer  kinases" in runner.invoke(viewer_user, ["list", *settings]).output


def test_no_user_may_be_called_as_the_artscores(lab: ViewerLab) -> None:
    settings = ["--settings", str(lab.folder / "crystal-search.toml")]
    answer = CliRunner().invoke(viewer_user, ["add", "artscore", "--role", "scorer", "--no-password", *settings])
    assert isinstance(answer.exception, UsageError)


def test_signing_out(lab: ViewerLab, ledger: Ledger) -> None:
    client = signed_in(lab, ledger, "Vera")
    token = client.cookies["crystal_search"]
    assert client.post("/sign-out", headers=csrf(client)).status_code == 204
    client.cookies.set("crystal_search", token)  # a cookie that somebody kept
    assert client.get("/api/session").status_code == 401


# ---- a proxy -------------------------------------------------------------------------------------------------------


def test_a_trusted_proxy_names_the_user(lab: ViewerLab, ledger: Ledger) -> None:
    client = client_of(lab, ledger, access="proxy", proxy_addresses=["127.0.0.1"])
    assert client.get("/api/session").status_code == 401
    assert client.get("/api/session", headers={"X-Remote-User": "stranger"}).status_code == 403
    first = client.get("/api/session", headers={"X-Remote-User": "Vera"})
    assert first.json()["person"] == "Vera"
    # a session is bound to its person: another name starts another one
    assert client.get("/api/session", headers={"X-Remote-User": "Ada"}).json()["person"] == "Ada"
    twice = client.get("/api/session", headers=[("X-Remote-User", "Vera"), ("X-Remote-User", "Ada")])
    assert twice.status_code == 401


def test_the_header_is_believed_from_the_proxy_only(lab: ViewerLab, ledger: Ledger) -> None:
    client = client_of(lab, ledger, access="proxy", proxy_addresses=["10.0.0.7"])
    headers = {"X-Remote-User": "Ada", "X-Forwarded-For": "10.0.0.7"}
    assert client.get("/api/session", headers=headers).status_code == 403


# ---- projects ------------------------------------------------------------------------------------------------------


def test_what_one_may_not_see_is_as_if_it_were_not_there(lab: ViewerLab, ledger: Ledger) -> None:
    client = signed_in(lab, ledger, "Berta")
    big, none = lab.id(BIG, "A01"), lab.id(SMALL, "A01")
    hidden = [
        f"/plates/{BIG}", f"/plates/{BIG}/1", f"/api/plates/{BIG}/1", f"/api/plates/{BIG}/1/earlier", f"/drops/{big}", f"/api/drops/{big}",
        f"/images/{big}/thumbnail/{lab.name(big)}", f"/images/{big}/original/{lab.name(big)}", f"/images/{big}/overlay/{lab.name(big)}",
        f"/plates/{BIG}/1/scores.csv", f"/plates/{BIG}/1/report.html", f"/plates/{BIG}/1/boxes.json", f"/sheets/{BIG}/1/{'0' * 40}.jpg",
        f"/api/drops/{none}", f"/api/plates/{SMALL}/1",
    ]  # fmt: skip
    for path in hidden:
        assert client.get(path, follow_redirects=False).status_code == 404, path
    known = client.get(f"/api/plates/{BIG}/1").json()["error"]
    assert known.replace(BIG, "NONE") == client.get("/api/plates/NONE/1").json()["error"]
    assert [plate["barcode"] for plate in client.get("/api/worklist").json()["plates"]] == [PLATE, PLATE]
    assert client.get(f"/api/plates?start={BIG[:2]}").json() == []
    body = {"action": "action-01", "score": "01", "drops": [{"id": big, "image": lab.name(big)}]}
    assert client.post("/api/scores", json=body, headers=csrf(client)).status_code == 404
    assert client.post("/api/marks", json={"image_id": 13, "wrong": True}, headers=csrf(client)).status_code == 404
    assert lab.scores() == []
    shown = client.get("/api/batches/batch-1").json()["images"]
    assert {image["barcode"] for image in shown} == {PLATE}


def test_a_sheet_of_another_plate_does_not_come_through_ones_own(lab: ViewerLab, ledger: Ledger) -> None:
    app = make_app(lab.with_viewer(access="passwords").settings, ledger, None)
    clients = [TestClient(app, base_url="http://127.0.0.1") for _ in range(2)]
    for client, name in zip(clients, ("Vera", "Berta"), strict=True):
        client.post("/sign-in", data={"name": name, "password": PASSWORD})
    vera, berta = clients
    version = vera.get(f"/api/plates/{BIG}/1").json()["sheets"][0]
    assert vera.get(f"/sheets/{BIG}/1/{version}.jpg").headers["content-type"] == "image/jpeg"
    assert berta.get(f"/sheets/{PLATE}/1/{version}.jpg").status_code == 404


# ---- changes -------------------------------------------------------------------------------------------------------


def test_roles(lab: ViewerLab, ledger: Ledger) -> None:
    vera = signed_in(lab, ledger, "Vera")
    here = lab.id(PLATE, "A01")
    body = {"action": "action-02", "score": "01", "drops": [{"id": here, "image": lab.name(here)}]}
    for path, content in (
        ("/api/scores", body),
        ("/api/scores/undo", {}),
        ("/api/marks", {"image_id": 1, "wrong": True}),
        ("/api/batches/batch-1/approve", {}),
    ):
        assert vera.post(path, json=content, headers=csrf(vera)).status_code == 403, path
    berta = signed_in(lab, ledger, "Berta")
    assert berta.post("/api/batches/batch-1/approve", headers=csrf(berta)).status_code == 403
    assert lab.scores() == []


def test_scoring_is_off_unless_it_is_switched_on(lab: ViewerLab, ledger: Ledger) -> None:
    client = client_of(lab, ledger, scoring=False)
    client.get(f"/sign-in?token={client.app.state.viewer.gate.local_token}")  # type: ignore[attr-defined]
    here = lab.id(PLATE, "A01")
    body = {"action": "action-03", "score": "01", "drops": [{"id": here, "image": lab.name(here)}]}
    answer = client.post("/api/scores", json=body, headers=csrf(client))
    assert (answer.status_code, "viewer.scoring" in answer.json()["error"]) == (403, True)


CHANGES = (
    "/api/scores",
    "/api/scores/undo",
    "/api/marks",
    "/api/seen",
    f"/api/plates/{PLATE}/1/opened",
    "/api/batches/batch-1/approve",
    "/sign-out",
)


@pytest.mark.parametrize("path", CHANGES)
def test_a_change_needs_the_token_of_its_own_page(local: TestClient, path: str) -> None:
    for headers in ({}, {"X-CSRF-Token": "x"}):
        answer = local.post(path, json={}, headers=headers)
        assert answer.status_code in (400, 403), path
        assert answer.status_code == 403 or "field required" in answer.text.lower()
    right = csrf(local)
    for origin in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = local.post(path, json={}, headers={**right, **origin})
        assert (answer.status_code, "another site" in answer.json()["error"]) == (403, True)


def test_another_site_can_not_sign_somebody_in(lab: ViewerLab, ledger: Ledger) -> None:
    client = client_of(lab, ledger, access="passwords")
    answer = client.post("/sign-in", data={"name": "Ada", "password": PASSWORD}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_request_under_another_hosts_name_is_refused(local: TestClient) -> None:
    assert local.get("/api/session", headers={"Host": "evil.example"}).status_code == 400


def test_a_body_without_end_is_refused(local: TestClient) -> None:
    headers = csrf(local)
    assert local.post("/api/scores", content=b"x" * 1_100_000, headers=headers).status_code == 413
    assert local.post("/api/scores", content=iter([b"x" * 600_000] * 3), headers=headers).status_code in (400, 413)


def test_every_answer_carries_the_headers_of_defence(local: TestClient) -> None:
    for path in ("/", "/api/worklist", "/nothing", "/static/js/core.js", f"/plates/{PLATE}/1"):
        headers = local.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_settings_that_would_let_the_network_in_are_refused(lab: ViewerLab, ledger: Ledger) -> None:
    with pytest.raises(SettingsError, match="this machine only"):
        client_of(lab, ledger, host="0.0.0.0")
    with pytest.raises(SettingsError, match=r"viewer\.hosts"):
        client_of(lab, ledger, host="0.0.0.0", access="passwords")
    client = client_of(lab, ledger, host="0.0.0.0", access="passwords", hosts=["viewer.lab"])
    assert [client.get("/sign-in", headers={"Host": host}).status_code for host in ("viewer.lab", "0.0.0.0", "evil.lab")] == [200, 400, 400]


# ---- bad addresses and texts ---------------------------------------------------------------------------------------

BAD = (
    "/plates/..%2f..%2fetc/1", "/plates/%2e%2e/1", f"/plates/{PLATE}/99", f"/plates/{PLATE}/x", "/plates/%00/1", "/plates/NONE",
    "/drops/0", "/drops/99999999", "/drops/-1", "/drops/99999999999999999999999", "/drops/abc", "/api/drops/abc", "/api/plates/NONE/1",
    f"/api/plates/{PLATE}/99", "/images/1/original/..%2f..%2f..%2fcrystal-search.toml", "/images/1/original/%2e%2e",
    "/images/1/original/nothing.jpg", "/images/1/nothing/x.jpg", f"/sheets/{PLATE}/1/..%2f..%2fx.jpg", f"/sheets/{PLATE}/1/{'f' * 40}.jpg",
    "/static/../app.py", "/static/%2e%2e/app.py", "/api/batches/nothing", "/nothing",
)  # fmt: skip


@pytest.mark.parametrize("path", BAD)
def test_a_bad_address_is_one_clear_line(local: TestClient, path: str) -> None:
    answer = local.get(path)
    assert answer.status_code in (400, 404), answer.text
    line = answer.json()["error"]
    assert 0 < len(line.splitlines()[0]) == len(line) < 400
    page = local.get(path, headers={"Accept": "text/html"})
    assert page.status_code == answer.status_code


def test_a_database_that_is_away_is_one_clear_line_and_comes_back(lab: ViewerLab, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(lab, ledger)
    client.get(f"/sign-in?token={client.app.state.viewer.gate.local_token}", follow_redirects=False)  # type: ignore[attr-defined]
    paths = (f"/plates/{PLATE}/1", "/api/worklist", f"/api/plates/{PLATE}/1", "/api/drops/1", f"/plates/{PLATE}/1/report.html")

    def away(*_: object) -> None:
        raise TryAgainLater("XtalTrak: the connection is lost; try again later")

    with monkeypatch.context() as broken:
        broken.setattr("viewer.lab.open_xtaltrak", away)
        for path in paths:
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), path
            assert answer.json() == {"error": "XtalTrak: the connection is lost; try again later"}
        page = client.get(paths[0], headers={"Accept": "text/html"})
        assert page.status_code == 503
        assert "the connection is lost; try again later" in page.text
    for path in paths:
        assert client.get(path).status_code == 200, path


def test_serve_prints_the_address_of_a_plate(lab: ViewerLab) -> None:
    """The address signs in and leads to that plate's newest inspection."""
    call = [sys.executable, "-m", "crystal_search", "serve", "--settings", str(lab.folder / "crystal-search.toml"), "--port", "0"]
    process = subprocess.Popen([*call, "--plate", PLATE, "--no-scoring"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        opened, address = process.stdout.readline().split()
        assert opened == "Open"
        assert process.stdout.readline() == "Looking only: scoring is off (viewer.scoring).\n"
        with build_opener(HTTPCookieProcessor()).open(address, timeout=60) as answer:
            assert answer.url == f"{address.partition('/sign-in')[0]}/plates/{PLATE}/2"
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_a_script_in_a_plates_name_stays_text(local: TestClient) -> None:
    for path in (f"/plates/{PLATE}/1", "/drops/1", f"/plates/{PLATE}/1/report.html"):
        page = local.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "<img src=x" not in page.text
        assert "<script>document" not in page.text


def test_an_answer_says_what_is_wrong_with_a_request(local: TestClient) -> None:
    headers = csrf(local)
    here = 1
    for content, says in (
        ({"action": "action-04", "score": "99", "drops": [{"id": here, "image": "x.jpg"}]}, "unknown score"),
        ({"action": "short", "score": "01", "drops": [{"id": here, "image": "x.jpg"}]}, "action"),
        ({"action": "action-04", "score": "01", "drops": []}, "drops"),
        ({"action": "action-04", "score": "01", "drops": [{"id": here, "image": "../x.jpg"}]}, "no such image"),
        ({"action": "action-04", "score": "01", "drops": [{"id": here, "image": "x.jpg"}], "scorer": "Ada"}, "scorer"),
    ):
        answer = local.post("/api/scores", json=content, headers=headers)
        assert answer.status_code in (400, 404)
        assert says in answer.json()["error"], answer.text
    assert local.post("/api/scores", content=b"{", headers=headers).status_code == 400


def test_the_container_is_asked_for_a_page_that_it_gives(lab: ViewerLab, ledger: Ledger) -> None:
    told = tomllib.loads((PROJECT / "server/compose/crystal-search.toml").read_text())["viewer"]
    asked = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["viewer"]["environment"]["HEALTH_URL"]
    answer = client_of(lab, ledger, **told).get(asked)
    assert answer.status_code == 200
    assert "password" in answer.text
