"""``crystal-search.toml``: every key optional and described here, checked at start with one line for each mistake.

Relative paths are relative to the settings file. Secrets never stand in the file: they come from the environment
(``CRYSTAL_SEARCH_LEDGER_URL``, ``CRYSTAL_SEARCH_ORACLE_PASSWORD``, ``CRYSTAL_SEARCH_VIEWER_PASSWORD``,
``CRYSTAL_SEARCH_ORACLE_WALLET_PASSWORD``) or from a file of their own.
"""

from __future__ import annotations

import os
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from crystal_search.archives import MAX_CHOPS, MAX_IMAGES
from crystal_search.classes import NAMES
from crystal_search.errors import SettingsError
from crystal_search.score_codes import ScoreCodes

FILE_NAME = "crystal-search.toml"
FILE_VARIABLE = "CRYSTAL_SEARCH_SETTINGS"


def check_identifier(name: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z0-9_$#]{0,29}(\.[A-Z][A-Z0-9_$#]{0,29})?", name):
        raise ValueError(f"{name!r} is not a database name: capital letters, digits, _ $ # only, 30 at most, with one dot for a schema")
    return name


Identifier = Annotated[str, AfterValidator(check_identifier)]


def _scored_class(name: str) -> str:
    if name not in NAMES or name == "rim":
        raise ValueError(f"{name!r} is no class; classes are {', '.join(known for known in NAMES if known != 'rim')}")
    return name


ScoredClass = Annotated[str, AfterValidator(_scored_class)]
ScoreCode = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,10}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paths(_Section):
    """Where files lie."""

    state: Path = Field(Path("crystal-search-state"), description="Everything of ours: ledger, work units, results, CSV files.")
    images: Path = Field(Path("images"), description="The image root: <root>/<barcode>/<inspection number>/<image name>.")


class XtalTrak(_Section):
    """The database with plates, inspections, images and scores. Names are a mapping, never the truth: check them for your site."""

    dialect: Literal["sqlite", "oracle"] = Field("sqlite", description="sqlite is the embedded XtalTrak.")
    database: Path = Field(Path("xtaltrak.sqlite"), description="File of the embedded XtalTrak.")
    scorer: Annotated[str, Field(min_length=1, max_length=30)] = Field(
        "ARTscore", description="Our own name in SCOREDBY; no person may have it."
    )
    names: dict[Identifier, Identifier] = Field(
        default_factory=dict,
        description="Table and column names that differ from the default, as DEFAULT = 'YOURS' (tables: I_SCORES, columns: I_SCORES.SCORE).",
    )
    details: list[Literal["project", "samples", "families", "conditions"]] | None = Field(
        None,
        description="What XtalTrak knows of a plate, for `crystal-search hits`; empty: all with sqlite, project and samples with oracle.",
    )
    queries_per_second: Annotated[float, Field(ge=0.1)] | None = Field(
        None, description="Each of our programs asks the database no more often than this, on average; empty: no limit."
    )
    rows_per_second: Annotated[float, Field(ge=100)] | None = Field(
        None, description="Each of our programs reads and writes no more rows than this, on average; empty: no limit."
    )
    um_per_px: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=lambda: {"HF": 1.131},
        description="Scale of the images by profile (field 14 of the file name); others count as unknown.",
    )
    codes: dict[ScoredClass, ScoreCode] = Field(
        default_factory=dict,
        description="The site's score of a class where it is not the paper's, as CLASS = 'SCORE', such as clear = '0'; read so from people, too.",
    )
    known_triggers: list[Identifier] = Field(
        default_factory=list, description="Triggers of the score table that you have read and found harmless; any other forbids writing."
    )
    accept_dates: bool = Field(
        False, description="Write although people's scores have no dates, or early ones: nobody's viewer here goes by the newest date."
    )
    user: str = Field(
        "", description="Oracle from here on: our own account. Its password: CRYSTAL_SEARCH_ORACLE_PASSWORD, or password_file."
    )
    password_file: Path | None = Field(None, description="File whose first line is the password; nobody else may read it.")
    dsn: str = Field("", description="host:port/service, tcps://host:port/service for TLS, a name in tnsnames.ora, or a whole descriptor.")
    config_dir: Path | None = Field(None, description="Folder of tnsnames.ora (and sqlnet.ora, thick only).")
    wallet: Path | None = Field(
        None, description="Folder of the wallet for TLS: ewallet.pem (thin); its password: CRYSTAL_SEARCH_ORACLE_WALLET_PASSWORD."
    )
    mode: Literal["thin", "thick"] = Field(
        "thin", description="thick needs Oracle's Instant Client: for Oracle 11.2 and for native encryption."
    )
    lib_dir: Path | None = Field(None, description="Folder of the Instant Client; thick only. Empty: where the system looks for libraries.")
    pool: Annotated[int, Field(ge=1, le=64)] = Field(4, description="Connections of one program, at most.")
    connect_seconds: Annotated[float, Field(gt=0, le=600)] = Field(20.0, description="A database that has not let us in by then is away.")
    statement_seconds: Annotated[float, Field(gt=0)] = Field(
        600.0, description="A statement that takes longer is given up, and tried again later."
    )

    @property
    def score_codes(self) -> ScoreCodes:
        """The site's score of each class."""
        return ScoreCodes(self.codes)

    @model_validator(mode="after")
    def _oracle_has_an_address(self) -> Self:
        if self.dialect == "oracle" and not self.dsn:
            raise ValueError('dsn is missing: dialect = "oracle" needs it, such as host:1521/service')
        if self.dialect == "oracle" and not self.user and self.mode == "thin":
            raise ValueError("user is missing: the account that the DBA made for us (docs/how-to/oracle.md)")
        return self


class Ledger(_Section):
    """Our own bookkeeping."""

    url: str = Field("", description="SQLAlchemy URL; empty: a SQLite file in paths.state. CRYSTAL_SEARCH_LEDGER_URL overrides it.")


class Scoring(_Section):
    """What is asked of the client. Changing model, step, threshold, chops or overlays makes a new pass over the images."""

    model: Path | None = Field(None, description="Model folder; empty: the one that ships.")
    step: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Window step in px at the model's resolution; empty: the model's."
    )
    threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="A class counts above this probability (0.85 in P16, 0.80 crystal-friendly); empty: the model's."
    )
    chops: Annotated[int, Field(ge=0, le=MAX_CHOPS)] = Field(5, description="How many of the best chops come back.")
    overlays: list[Literal["all", "crystal", "precipitate", "other", "clear", "unsure", "no_drop"]] = Field(
        ["all"], description="Which results come back as a picture."
    )


class Search(_Section):
    """One search pattern of the work generator (P23). What is left out does not restrict."""

    name: Annotated[str, Field(min_length=1, max_length=120)] = Field(description="Shown in the ledger and the log.")
    profiles: list[str] = Field(default_factory=list, description="Image profiles, such as HF.")
    barcode: Annotated[str, Field(min_length=1)] = Field(
        "*", description="Glob over barcodes: * and ? stand for any characters and any one."
    )
    taken_from: date | None = Field(None, description="First day of inspection.")
    taken_to: date | None = Field(None, description="Last day of inspection.")
    imagers: list[int] = Field(default_factory=list, description="Imager numbers (field 3 of the file name).")
    only_unscored: bool = Field(True, description="Leave out drops that a person has scored.")
    chromophores: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list,
        description="Plates (barcodes), samples and projects with chromophores, on which UV says little (P29): there chromophore_profiles count.",
    )
    chromophore_profiles: list[str] = Field(
        default_factory=list,
        description="Image profiles on those plates, such as that of the colour images; empty: they are left to people.",
    )
    priority: Literal["realtime", "archive"] = Field("archive", description="Real-time work goes before the archive.")

    @model_validator(mode="after")
    def _days_in_order(self) -> Self:
        if self.taken_from and self.taken_to and self.taken_from > self.taken_to:
            raise ValueError("taken_from is after taken_to: nothing would ever be found")
        return self

    @model_validator(mode="after")
    def _chromophores_fit(self) -> Self:
        if self.chromophore_profiles and not self.chromophores:
            raise ValueError("chromophore_profiles without chromophores: name the plates, samples or projects that they are for")
        return self


class Generator(_Section):
    """How work units are made."""

    images_per_work_unit: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = Field(32, description="At most this many images in one work unit.")
    page: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10_000, description="Rows read from XtalTrak at a time, and the most images in one batch."
    )
    max_open_work_units: Annotated[int, Field(ge=1)] = Field(
        1000, description="Archive work waits while the grid has this many; real-time work does not."
    )
    retry_hours: Annotated[float, Field(ge=0)] = Field(
        48.0, description="Images that are missing, empty or unreadable are looked for again while their inspection is younger than this."
    )
    poll_seconds: Annotated[float, Field(gt=0)] = Field(30.0, description="Pause between rounds of every service.")


class GridSettings(_Section):
    """Who computes."""

    kind: Literal["local", "boinc"] = Field(
        "local", description="local: client processes on this machine. boinc: the volunteers of a BOINC server, see [boinc]."
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=lambda: os.cpu_count() or 1,
        description="Client processes at a time; local only, as threads and deadline_seconds are.",
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Threads of each client.")
    attempts: Annotated[int, Field(ge=1, le=10)] = Field(3, description="How often work is sent in all before the grid gives it up.")
    deadline_seconds: Annotated[float, Field(gt=0)] = Field(
        1800.0, description="A client that makes no progress for so long is stopped; it is started again and goes on where it was."
    )


class Boinc(_Section):
    """The BOINC server, where grid.kind is boinc."""

    project: Path | None = Field(None, description="The project's directory, as this machine or container sees it.")
    inbox: Path | None = Field(None, description="Where BOINC's assimilator leaves results; empty: results/inbox beside the project.")
    command: list[str] = Field(
        default_factory=list,
        description="Goes before BOINC's tools, to run them elsewhere in the project's directory with standard input: "
        '["docker", "exec", "-i", "-w", "/home/boincadm/project/NAME", "apache"]. Empty: they run here.',
    )
    url: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$")] = Field(
        "", description="Address of the project's web pages: `crystal-search status` asks them how the server is."
    )


class Finalizer(_Section):
    """What enters XtalTrak, and when."""

    hold: bool = Field(False, description="A finished batch waits until `crystal-search approve BATCH`.")
    protect: Literal["drop", "image"] = Field(
        "drop",
        description="A person's score keeps ours out of the score table for the whole drop (every inspection), or for that image only.",
    )
    rows_per_transaction: Annotated[int, Field(ge=1, le=500)] = Field(500, description="Rows written under one lock.")
    own_table: bool = Field(
        False,
        description="Every ARTscore, a withheld one too, also goes into ARTSCORES, a table of our own in XtalTrak (`crystal-search dba-script`).",
    )
    regions: bool = Field(False, description="The best regions of every image also go into ARTSCORE_REGIONS, another one.")
    pictures: Literal["off", "files", "database"] = Field(
        "off",
        description="The pictures with the best regions drawn: files beside the images, named <image>_ARTscore_<batch>.jpg, or rows of ARTSCORE_PICTURES.",
    )
    picture_folder: Path | None = Field(
        None, description="Where picture files go, as <folder>/<barcode>/<inspection number>/; empty: beside the images."
    )


class Retention(_Section):
    """How long results with their overlays are kept; scores, boxes and best chops stay in the ledger for ever."""

    days: dict[Literal["crystal", "precipitate", "other", "clear", "unsure", "no_drop", "failed"], Annotated[float, Field(ge=1)]] = Field(
        default_factory=dict,
        description="A result ZIP is deleted so many days after it came, by the longest of its images' groups; a group not named: never.",
    )
    refused_days: Annotated[float, Field(ge=1)] | None = Field(
        None, description="Refused results are deleted after so many days; empty: never."
    )


def _link(template: str) -> str:
    try:
        template.format(barcode="", well="", subwell=1, inspection=1, image="")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError("may hold {barcode}, {well}, {subwell}, {inspection} and {image}, and no other braces") from error
    return template


Address = Annotated[str, Field(pattern=r"^[^\s@,<>]+@[^\s@,<>]+$")]


class Digest(_Section):
    """The daily digest of new crystals: files, and a mail."""

    hour: Annotated[int, Field(ge=0, le=23)] | None = Field(
        None, description="The finalize service makes it each day after this hour, local time; empty: only `crystal-search digest` does."
    )
    to: list[Address] = Field(default_factory=list, description="Mail addresses; empty: no mail, only the files.")
    sender: Address = Field("crystal-search@localhost", description="From whom the mail comes.")
    smtp: Annotated[str, Field(pattern=r"^[^\s:]+:[0-9]{1,5}$")] = Field(
        "localhost:25", description="The lab's mail server, which takes mail without a password."
    )
    folder: Path | None = Field(None, description="Where its files go; empty: digests in paths.state.")
    min_probability: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="Crystals below this crystal probability are left out.")
    lines: Annotated[int, Field(ge=1, le=10_000)] = Field(
        100, description="So many of the likeliest crystals stand in the text; the CSV has all."
    )
    link: Annotated[str, AfterValidator(_link)] = Field(
        "",
        description='Address of a drop in the viewer, such as "http://viewer/{barcode}/{inspection}/{well}"; empty: the path of the overlay.',
    )


#: A service that loops and can tell how it is.
ServiceName = Literal["work-generator", "assimilate", "finalize", "set-autoscore", "retention"]


class Services(_Section):
    """How the services that loop tell what they do."""

    log: Literal["plain", "json"] = Field(
        "plain", description="json: one JSON object a log line, for programs that collect logs; the option --log overrides it."
    )
    listen: Annotated[str, Field(pattern=r"^[0-9.]{7,15}$")] = Field(
        "127.0.0.1",
        description="IPv4 address of /health and /metrics (Prometheus): the loopback, or an internal network; there is no password.",
    )
    ports: dict[ServiceName, Annotated[int, Field(ge=1, le=65_535)]] = Field(
        default_factory=dict,
        description="Port of each service that shall answer there, such as { finalize = 9473 }, whose metrics count the images too. Empty: none.",
    )
    silence_seconds: Annotated[float, Field(gt=0)] = Field(
        900.0, description="/health is bad when a round has failed, or gave no sign of life for so long."
    )
    refresh_seconds: Annotated[float, Field(gt=0)] = Field(30.0, description="So often the ledger is read for the metrics.")
    longest_pause_seconds: Annotated[float, Field(gt=0)] = Field(
        300.0, description="While a database or a disk is away the pause between rounds doubles up to this."
    )

    @model_validator(mode="after")
    def _a_port_each(self) -> Self:
        if len(set(self.ports.values())) < len(self.ports):
            raise ValueError("ports: each service needs a port of its own")
        return self


class Viewer(_Section):
    """The viewer, `crystal-search serve`: who may see and score, and from where."""

    host: str = Field("127.0.0.1", description="Address to listen on; the default is this machine only.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8480, description="Port to listen on.")
    access: Literal["local", "passwords", "proxy"] = Field(
        "local",
        description="local: the one who starts it, by the address that it prints. passwords: users of `crystal-search viewer-user`. proxy: a trusted proxy names the user.",
    )
    proxy_header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")] = Field(
        "X-Remote-User", description="Where the proxy puts the user's name; the proxy has to remove it from what comes from outside."
    )
    proxy_addresses: list[str] = Field(["127.0.0.1"], description="Only from these addresses the header is believed.")
    hosts: list[str] = Field(
        default_factory=list,
        description="Names under which browsers reach the viewer, beside localhost and 127.0.0.1, such as viewer.lab.example.",
    )
    https: bool = Field(False, description="Browsers reach the viewer by https, through a proxy: cookies are then sent over it alone.")
    session_hours: Annotated[float, Field(gt=0, le=8760)] = Field(12.0, description="A sign-in ends after so many hours.")
    scoring: bool = Field(False, description="People may score in the viewer; off: XtalTrak is opened for reading only.")
    user: str = Field(
        "",
        description="Oracle, with scoring on: the account that writes people's scores and nothing else (`crystal-search dba-script --viewer`). Its password: CRYSTAL_SEARCH_VIEWER_PASSWORD, or password_file.",
    )
    password_file: Path | None = Field(None, description="File whose first line is that account's password; nobody else may read it.")
    uv_profiles: list[str] = Field(default_factory=list, description="Profiles (field 14 of the file name) of UV images.")
    worklist_inspections: Annotated[int, Field(ge=1, le=500)] = Field(
        40, description="The work list looks at so many of the newest inspections of plates."
    )
    imagers: Annotated[int, Field(ge=1, le=100)] = Field(3, description="Imagers, for the capacity on the grid page (P30).")
    thumbnail_cache_mb: Annotated[int, Field(ge=10)] = Field(
        4000, description="Thumbnails kept in paths.state; those that nobody used for longest go first."
    )
    thumbnails_ahead: bool = Field(
        True, description="Thumbnails of the newest inspections (worklist_inspections) are made while nobody asks for a page."
    )


class Settings(_Section):
    """All of ``crystal-search.toml``."""

    paths: Paths = Paths()
    xtaltrak: XtalTrak = XtalTrak()
    ledger: Ledger = Ledger()
    scoring: Scoring = Scoring()
    search: list[Search] = Field(default_factory=lambda: [Search(name="everything unscored")])
    generator: Generator = Generator()
    grid: GridSettings = Field(default_factory=lambda: GridSettings())
    boinc: Boinc = Field(default_factory=lambda: Boinc())
    finalizer: Finalizer = Finalizer()
    retention: Retention = Retention()
    services: Services = Services()
    digest: Digest = Digest()
    viewer: Viewer = Viewer()

    @model_validator(mode="after")
    def _boinc_has_a_project(self) -> Self:
        if self.grid.kind == "boinc" and self.boinc.project is None:
            raise ValueError('boinc.project is missing: grid.kind = "boinc" needs the directory of a BOINC project')
        return self

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL; the environment wins over the file."""
        return os.environ.get("CRYSTAL_SEARCH_LEDGER_URL") or self.ledger.url or f"sqlite:///{self.paths.state / 'ledger.sqlite'}"

    @property
    def work_units(self) -> Path:
        """Where work units are packed: ``<work unit>.zip``."""
        return self.paths.state / "work_units"

    @property
    def grid_spool(self) -> Path:
        return self.paths.state / "grid"

    @property
    def boinc_spool(self) -> Path:
        """What the BOINC grid notes of its work units."""
        return self.paths.state / "boinc"

    @property
    def boinc_inbox(self) -> Path:
        """Where BOINC's assimilator leaves results. Only where ``boinc.project`` is set."""
        assert self.boinc.project is not None
        return self.boinc.inbox or self.boinc.project.parent / "results" / "inbox"

    @property
    def results(self) -> Path:
        """Accepted results, immutable: ``<batch>/<work unit>.zip``."""
        return self.paths.state / "results"

    @property
    def refused(self) -> Path:
        """Results that were set aside."""
        return self.paths.state / "refused"

    @property
    def thumbnails(self) -> Path:
        """What the viewer keeps of images that it has decoded; may be deleted at any time."""
        return self.paths.state / "thumbnails"

    @property
    def csv(self) -> Path:
        """The finalizer's CSV files: ``<batch>.csv``."""
        return self.paths.state / "csv"

    @property
    def digest_folder(self) -> Path:
        """Where digests lie: ``<day>_<time>.csv`` and ``.txt``."""
        return self.digest.folder or self.paths.state / "digests"

    @property
    def digest_memory(self) -> Path:
        """What digests have told."""
        return self.paths.state / "digest.json"


def settings_path(explicit: Path | None = None) -> Path:
    """The settings file that counts: the option, then ``CRYSTAL_SEARCH_SETTINGS``, then ``crystal-search.toml`` here."""
    return explicit or Path(os.environ.get(FILE_VARIABLE) or FILE_NAME)


def _line(issue: Any) -> str:
    """One mistake in a person's words."""
    where = _where(issue["loc"])
    if issue["type"] == "extra_forbidden":
        return f"{where}: unknown key; `crystal-search settings` lists every key"
    if issue["loc"] == ("search",) and issue["type"] == "list_type":
        return "search: write [[search]] with double brackets, for there may be several"
    return f"{where}: {issue['msg'].removeprefix('Value error, ')}"


def load_settings(explicit: Path | None = None) -> Settings:
    """Read and check the settings. Without a file, the defaults; a file that was named but is not there is an error.

    Raises ``SettingsError`` with one line for each mistake.
    """
    path = settings_path(explicit)
    if not path.exists() and explicit is None and not os.environ.get(FILE_VARIABLE):
        return _resolve(Settings(), Path.cwd())
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such settings file") from None
    except OSError as error:
        raise SettingsError(f"{path}: can not be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    try:
        return _resolve(Settings.model_validate(content), path.resolve().parent)
    except ValidationError as error:
        lines = [f"{path}: {_line(issue)}" for issue in error.errors()]
        raise SettingsError("\n".join(lines)) from error


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(repr(str(part))[1:-1] for part in location) or "top level"  # repr: a key may hold anything, a newline too


def _resolve(settings: Settings, base: Path) -> Settings:
    """The settings with every path absolute."""
    changes: dict[str, Any] = {
        "paths": settings.paths.model_copy(update={"state": base / settings.paths.state, "images": base / settings.paths.images}),
        "xtaltrak": settings.xtaltrak.model_copy(
            update={
                key: base / path
                for key in ("database", "password_file", "config_dir", "wallet", "lib_dir")
                if (path := getattr(settings.xtaltrak, key)) is not None
            }
        ),
    }
    if settings.viewer.password_file is not None:
        changes["viewer"] = settings.viewer.model_copy(update={"password_file": base / settings.viewer.password_file})
    if settings.scoring.model is not None:
        changes["scoring"] = settings.scoring.model_copy(update={"model": base / settings.scoring.model})
    if settings.finalizer.picture_folder is not None:
        changes["finalizer"] = settings.finalizer.model_copy(update={"picture_folder": base / settings.finalizer.picture_folder})
    if settings.digest.folder is not None:
        changes["digest"] = settings.digest.model_copy(update={"folder": base / settings.digest.folder})
    boinc = {key: base / path for key, path in (("project", settings.boinc.project), ("inbox", settings.boinc.inbox)) if path is not None}
    changes["boinc"] = settings.boinc.model_copy(update=boinc)
    return settings.model_copy(update=changes)
