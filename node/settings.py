"""The settings: one frozen tree from one TOML file; secrets come from the environment.

Every field says its unit and the reason for its default, and a default stands only here. An
unknown key is a refusal to start, and all faults are told at once. `config/node.example.toml`
shows every key, and a test holds it against this file.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, model_validator

from node.addresses import database_url
from node.conditions import Table
from node.contradictions import contradictions
from node.errors import Fault, SettingsError
from node.faults import faults_of, line_of, lines_of, path_of
from node.rules import Rule
from node.sections import (
    Completeness,
    Database,
    Destination,
    Log,
    Node,
    Notices,
    Peer,
    Receiver,
    Reconstruction,
    Retention,
    Retries,
)

__all__ = [
    "Completeness",
    "Database",
    "Destination",
    "Log",
    "Node",
    "Notices",
    "Peer",
    "Receiver",
    "Reconstruction",
    "Retention",
    "Retries",
    "Rule",
    "Settings",
    "digest",
    "load",
]

DATABASE_URL = "OSTEON_DATABASE_URL"


class Settings(Table):
    """Everything that can be set."""

    node: Node = Field(default_factory=Node, description="Name and data folder.")
    receiver: Receiver = Field(default_factory=Receiver, description="The C-STORE SCP.")
    peers: tuple[Peer, ...] = Field((), description="Who may send. Nobody, until named.")
    destinations: tuple[Destination, ...] = Field((), description="Who can be sent results.")
    completeness: Completeness = Field(
        default_factory=Completeness, description="When a study is complete."
    )
    reconstruction: Reconstruction = Field(
        default_factory=Reconstruction, description="Workers and deadlines."
    )
    retries: Retries = Field(default_factory=Retries, description="Back-off of deliveries.")
    retention: Retention = Field(
        default_factory=Retention, description="How long pixels stay, and how much room is kept."
    )
    notices: Notices = Field(
        default_factory=Notices, description="Who is told of studies that no rule takes."
    )
    database: Database = Field(default_factory=Database, description="Where the rows are.")
    log: Log = Field(default_factory=Log, description="What is told to the terminal.")
    rules: tuple[Rule, ...] = Field((), description="What is made of which images, in this order.")

    @model_validator(mode="after")
    def _tables_agree(self) -> Self:
        found = [f"{path_of(c.loc)}: {c.message}" for c in contradictions(self.model_dump())]
        if found:
            raise ValueError("; ".join(found))
        return self

    @property
    def database_url(self) -> str:
        """The URL of the database; it may hold a password, so it is never shown."""
        url = self.database.url
        if url is not None:
            return url.get_secret_value()
        return f"sqlite:///{self.node.folder / 'osteon.sqlite'}"

    def calling_ae_title(self, destination: Destination) -> str:
        """The AE title with which this node calls `destination`."""
        own = destination.calling_ae_title
        return self.receiver.ae_title if own is None else own

    def destination(self, name: str) -> Destination | None:
        """The destination of that name; None where the settings have lost it."""
        return next((d for d in self.destinations if d.name == name), None)


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the file, with its data folder made absolute.

    Raises:
        SettingsError: the file cannot be read, or anything in it is wrong; holds all faults.
    """
    text = _text_of(path)
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError((Fault("", f"not TOML: {error}"),), str(path)) from error
    lines = lines_of(text)
    faults = [*_faults_of_environment(environ)]
    faults += [Fault(path_of(c.loc), c.message, line_of(c.loc, lines)) for c in contradictions(raw)]
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        faults += faults_of(error, Settings, lines)
    if faults:
        in_order = sorted(faults, key=lambda one: one.line or 0)
        raise SettingsError(tuple(in_order), str(path))
    return _settled(settings, path, environ)


def digest(settings: Settings) -> str:
    """SHA-256 of all that a decision hangs on, in hexadecimal.

    Where files and rows lie is left out: it decides nothing, and the URL may hold a password.
    """
    known: dict[str, Any] = settings.model_dump(
        mode="json", exclude={"node": {"folder"}, "database": True}
    )
    canonical = json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError((Fault("", f"cannot be read: {why}"),), str(path)) from error


def _faults_of_environment(environ: Mapping[str, str]) -> list[Fault]:
    if DATABASE_URL not in environ:
        return []
    try:
        database_url(environ[DATABASE_URL], may_hold_password=True)
    except ValueError as error:
        return [Fault(DATABASE_URL, str(error))]
    return []


def _settled(settings: Settings, path: Path, environ: Mapping[str, str]) -> Settings:
    folder = (path.resolve().parent / settings.node.folder.expanduser()).resolve()
    node = settings.node.model_copy(update={"folder": folder})
    database = settings.database
    if DATABASE_URL in environ:
        database = database.model_copy(update={"url": SecretStr(environ[DATABASE_URL])})
    return settings.model_copy(update={"node": node, "database": database})
