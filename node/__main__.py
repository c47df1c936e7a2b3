"""The command `osteon`.

Exit codes: 0 done; 1 looked, and found something wrong; 2 used wrongly; 3 the settings are
wrong; 4 the database cannot be used; 5 there is no such study or job; 6 the node cannot start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from node import offline
from node.errors import SettingsError
from node.terminal import (
    CANNOT_START,
    DATABASE_UNUSABLE,
    FOUND_WRONG,
    NOT_FOUND,
    SETTINGS_WRONG,
    end,
    err,
    out,
)

if TYPE_CHECKING:
    from node.settings import Settings

app = typer.Typer(
    name="osteon",
    help="Turn radiographs into three-dimensional bones inside the PACS.\n\n"
    "Results are models from radiographs, for research use: not a CT, and not a diagnosis.",
    epilog=(__doc__ or "").partition("\n\n")[2].strip(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
audit_app = typer.Typer(help="Look after the audit chain.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="OSTEON_CONFIG",
        help="The settings file; config/node.example.toml explains every key.",
        show_default=True,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]
DEFAULT_CONFIG: Final = Path("node.toml")


@app.command()
def serve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the node: receive, reconstruct, deliver, until SIGTERM or Ctrl-C.

    An empty database is set up by itself. What was unfinished at the last stop, a crash
    included, is taken up again.
    """
    from node import app as composition
    from node import logs

    with _faults_as_exit_codes():
        station = composition.compose(_settings(config))
        logs.configure(station.settings.log)
        composition.serve_until_signal(station)


@app.command()
def migrate(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring the database to this version. Stop the node and back the database up first."""
    from node import app as composition
    from storage import database

    with _faults_as_exit_codes():
        station = composition.compose(_settings(config))
        with err.status("Migrating"):
            applied = database.migrate(station.engine)
    out.print(f"Applied: {', '.join(applied)}" if applied else "Nothing to do: it is current.")


@app.command()
def doctor(
    config: ConfigOption = DEFAULT_CONFIG,
    destination: Annotated[
        str | None,
        typer.Option(help="Ask only this destination, by its name, which result objects it takes."),
    ] = None,
    send_test_set: Annotated[
        bool,
        typer.Option(
            "--send-test-set",
            help="Send it the results of a phantom, and ask back what it has kept of them.",
        ),
    ] = False,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print only the table of the destination, to paste.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the settings, folders, database, port, and that each destination answers C-ECHO.

    With a destination: propose every kind of result object to it in every transfer syntax, and
    say which `kinds` to set for it.

    Exits with 1 if anything is wrong, and says what to do about it.
    """
    from node import app as composition
    from node import doctor as examination

    if destination is None and (send_test_set or toml):
        raise typer.BadParameter("--send-test-set and --toml need --destination")
    if destination is not None and _climb(config, destination, send_test_set, toml, json):
        return

    with _faults_as_exit_codes():
        station = composition.compose(_settings(config))
        with err.status("Looking; a destination that is down takes a while"):
            findings = examination.examine(station, destination)
    examination.show(out, findings, json)
    if any(not finding.is_fine for finding in findings):
        raise typer.Exit(FOUND_WRONG)


def _climb(config: Path, name: str, is_sent: bool, toml: bool, json: bool) -> bool:
    """True if the destination could be asked, and its answers were shown.

    Raises:
        typer.Exit: it was asked, and something is wrong.
    """
    from node import app as composition
    from node import doctor as examination
    from node import ladder
    from node.delivery import Unreachable

    with _faults_as_exit_codes():
        station = composition.compose(_settings(config))
        destination = station.settings.destination(name)
        if destination is None:
            return False
        with err.status("Asking the destination"):
            try:
                probed = ladder.climb(station, destination, is_sent=is_sent)
            except ladder.RehearsalError as fault:
                end(str(fault), CANNOT_START)
    if isinstance(probed, Unreachable):
        finding = examination.Finding(f"destination {name}", False, probed.reason)
        examination.show(err if toml else out, (finding,), json)
        raise typer.Exit(FOUND_WRONG)
    calling = station.settings.calling_ae_title(destination)
    sentences = ladder.advice(probed, destination, calling)
    if toml:
        out.print(ladder.toml(probed, destination), markup=False, soft_wrap=True)
    elif json:
        out.print_json(data=ladder.as_json(probed, sentences), default=list)
    else:
        ladder.show(out, probed, sentences)
    if not probed.is_fine:
        raise typer.Exit(FOUND_WRONG)
    return True


@app.command()
def show(
    what: Annotated[
        str | None,
        typer.Argument(help="A Study Instance UID, a job's number, or nothing for the latest."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the latest.")] = 20,
) -> None:
    """Show studies, jobs, and why each stands where it stands.

    Without an argument: the latest studies and what was refused. With a study: its images, each
    decision with its reason, and its jobs. With a job: everything that the audit can answer.
    """
    from node import app as composition
    from node import show as display

    with _faults_as_exit_codes():
        station = composition.compose(_settings(config))
        composition.require_schema(station)
        found = display.look_up(station.engine, what, limit)
    if found is None:
        err.print(f"There is no study and no job '{what}' in this database.", markup=False)
        raise typer.Exit(NOT_FOUND)
    display.show(out, found, json)


@app.command()
def requeue(
    job: Annotated[int, typer.Argument(help="The job's number, as `osteon show` prints it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    again: Annotated[
        bool, typer.Option("--reconstruct", help="Make the objects again, though they are there.")
    ] = False,
) -> None:
    """Take up a finished job again.

    A job with objects delivers them again, under the same UIDs; a failed one only what was not
    accepted. A job without objects is reconstructed again. The running node does the work.
    """
    from node import app as composition
    from node import requeue as requeueing
    from storage.errors import NotAllowed, UnknownJob

    with _faults_as_exit_codes():
        station = composition.compose(_settings(config))
        composition.require_schema(station)
        try:
            said = requeueing.requeue(station, job, again)
        except UnknownJob as fault:
            end(str(fault), NOT_FOUND)
        except NotAllowed as fault:
            end(str(fault), FOUND_WRONG)
    out.print(said, markup=False)


@audit_app.command()
def verify(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Recompute the chain of the audit and name the first entry that is not as it was written.

    Exits with 1 if an entry was changed, removed or inserted.
    """
    from node import app as composition
    from node import verification

    with _faults_as_exit_codes():
        station = composition.compose(_settings(config))
        composition.require_schema(station)
        with err.status("Recomputing the chain"):
            verified = verification.verify(station.engine)
    verification.show(out, verified, json)
    if not verification.is_whole(verified):
        raise typer.Exit(FOUND_WRONG)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option(help="Where to write; what an earlier demo left there is replaced.")
    ] = Path("demo-output"),
) -> None:
    """Show the whole way on this machine: two radiographs in, bones back in an archive.

    A phantom made in code is imaged, sent to a node that this command starts, reconstructed,
    and delivered to a small archive that plays the PACS. Nothing else is needed.
    """
    from node import demo as demonstration

    try:
        is_delivered = demonstration.show(out, folder)
    except demonstration.DemoError as fault:
        end(str(fault), CANNOT_START)
    if not is_delivered:
        raise typer.Exit(FOUND_WRONG)


offline.add_to(app)


def main() -> None:
    """Run the command."""
    app()


def _settings(config: Path) -> Settings:
    from node.settings import load

    return load(config, os.environ)


@contextmanager
def _faults_as_exit_codes() -> Iterator[None]:
    """Faults that somebody can act on end with a sentence and a code, never with a traceback."""
    from node.app import PortTakenError, SchemaDiffersError
    from storage.errors import StorageError

    try:
        yield
    except SettingsError as fault:
        end(str(fault), SETTINGS_WRONG)
    except (SchemaDiffersError, StorageError) as fault:
        end(str(fault), DATABASE_UNUSABLE)
    except (PortTakenError, OSError) as fault:
        end(str(fault), CANNOT_START)


if __name__ == "__main__":
    main()
