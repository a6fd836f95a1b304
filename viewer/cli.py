"""``crystal-search serve`` and ``crystal-search viewer-user``."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote, urlencode

import click

from crystal_search.errors import SettingsError, UsageError
from crystal_search.ledger import open_ledger
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.person_rows import open_for_people

_log = logging.getLogger("serve")
_settings_option = click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml."
)


@click.command()
@_settings_option
@click.option("--host", help="Listen on this address instead of viewer.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead of viewer.port; 0 takes a free one.")
@click.option("--name", help="Your name for scores, where viewer.access is local; default: your user name.")
@click.option("--plate", help="Barcode of the plate that the printed address opens; default: the work list.")
@click.option("--scoring/--no-scoring", default=None, help="Let people score, or not, whatever viewer.scoring says.")
def serve(
    settings_file: Path | None, host: str | None, port: int | None, name: str | None, plate: str | None, scoring: bool | None
) -> None:
    """Show plates, drops and the grid in a browser."""
    settings = load_settings(settings_file)
    given = {key: value for key, value in (("host", host), ("port", port), ("scoring", scoring)) if value is not None}
    settings = settings.model_copy(update={"viewer": settings.viewer.model_copy(update=given)})
    try:
        import uvicorn

        from viewer.app import make_app
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"serve needs {error.name}: in the project's folder, .venv/bin/pip install -c requirements.lock -e '.[viewer]'"
        ) from error
    open_xtaltrak(settings.xtaltrak).close()  # a mistake in the settings is told now, not at the first page
    if settings.viewer.scoring:
        open_for_people(settings.xtaltrak, settings.viewer).close()
    with open_ledger(settings.ledger_url) as ledger:
        app = make_app(settings, ledger, name)
        # Only the peer itself is believed: a forwarded address could be anybody's.
        config = uvicorn.Config(
            app, host=settings.viewer.host, port=settings.viewer.port, proxy_headers=False, server_header=False, log_level="warning"
        )
        try:
            listening = config.bind_socket()
        except SystemExit:
            raise UsageError(
                f"{settings.viewer.host}:{settings.viewer.port} can not be listened on: another program does, or choose another --port"
            ) from None
        listening.listen(config.backlog)  # who opens the address at once waits until the server is there
        address = f"http://{settings.viewer.host}:{listening.getsockname()[1]}"
        page = f"/plates/{quote(plate, safe='')}" if plate else "/"
        gate = app.state.viewer.gate
        key = urlencode({"token": gate.local_token} | ({"next": page} if plate else {}), safe="/")
        click.echo(f"Open {address}/sign-in?{key}" if gate.access == "local" else f"The viewer listens on {address}{page}")
        click.echo("People may score." if settings.viewer.scoring else "Looking only: scoring is off (viewer.scoring).")
        uvicorn.Server(config).run(sockets=[listening])


@click.group("viewer-user")
def viewer_user() -> None:
    """Who may use the viewer, and as what."""


@viewer_user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "scorer", "admin"]), help="viewer looks, scorer scores, admin approves batches.")
@click.option("--project", "projects", multiple=True, help="Sees this project of XtalTrak only; may be given several times.")
@click.option("--all-projects", is_flag=True, help="Sees every plate (the default of a new user without --project).")
@click.option("--no-password", is_flag=True, help="Ask for none: a proxy signs this user in.")
@_settings_option
def add_user(
    name: str, role: str | None, projects: tuple[str, ...], all_projects: bool, no_password: bool, settings_file: Path | None
) -> None:
    """Add user NAME, which is what XtalTrak shows beside the scores; or change the role, projects or password of one who is there."""
    from crystal_search.xtaltrak.person_rows import checked_scorer
    from viewer.passwords import LEAST_CHARACTERS, hash_password
    from viewer.person import Role
    from viewer.users import save_user

    settings = load_settings(settings_file)
    checked = checked_scorer(name, settings.xtaltrak.scorer)
    if projects and all_projects:
        raise UsageError("give --project or --all-projects, not both")
    hashed = None
    if not no_password:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        if len(password) < LEAST_CHARACTERS:
            raise UsageError(f"a password has {LEAST_CHARACTERS} characters or more")
        hashed = hash_password(password)
    with open_ledger(settings.ledger_url) as ledger, ledger.begin() as connection:
        new = save_user(connection, checked, Role(role) if role else None, hashed, projects, all_projects)
    click.echo(f"user {checked} {'added' if new else 'changed'}")


@viewer_user.command("remove")
@click.argument("name")
@_settings_option
def remove_user(name: str, settings_file: Path | None) -> None:
    """Let user NAME in no more; scores stay as they are."""
    from viewer.users import disable_user

    with open_ledger(load_settings(settings_file).ledger_url) as ledger, ledger.begin() as connection:
        disable_user(connection, name)
    click.echo(f"user {name} may come in no more")


@viewer_user.command("list")
@_settings_option
def list_users(settings_file: Path | None) -> None:
    """List the users."""
    from viewer.users import all_users

    with open_ledger(load_settings(settings_file).ledger_url) as ledger, ledger.read() as connection:
        for person, may_come_in in all_users(connection):
            projects = "all projects" if person.projects is None else ", ".join(sorted(person.projects))
            click.echo(f"{person.name}  {person.role}  {projects}{'' if may_come_in else '  (may come in no more)'}")
