"""The tables of the settings file, but for the rules: every field with unit and reason.

`node.settings` is the door; everyone else imports from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, Strict, field_validator, model_validator

from node.addresses import ae_title, database_url, host, network, time_zone
from node.conditions import Table
from node.rules import Kinds, Name, unique
from pipeline.types import ObjectKind

AeTitle = Annotated[str, AfterValidator(ae_title)]
Host = Annotated[str, AfterValidator(host)]
Network = Annotated[str, AfterValidator(network)]
TimeZone = Annotated[str, AfterValidator(time_zone)]
Port = Annotated[int, Strict(), Field(ge=1, le=65_535)]
Count = Annotated[int, Strict(), Field(ge=1)]
Seconds = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False, le=31 * 86_400)]


class Node(Table):
    """What this node is called, and where its files lie."""

    name: Name = Field(
        "osteon", description="Name of the audit chain; several nodes on one database need several."
    )
    folder: Path = Field(
        Path("osteon-data"),
        description=(
            "Data folder, relative to this file: instances, results, quarantine and the database. "
            "Beside the file, so that a trial leaves nothing elsewhere."
        ),
    )
    time_zone: TimeZone = Field(
        "UTC",
        description=(
            "IANA name, as Europe/Berlin: dates and times inside the result objects are wall "
            "time there. UTC, because a wrong zone is worse than a known one."
        ),
    )


class Receiver(Table):
    """How peers reach this node."""

    ae_title: AeTitle = Field("OSTEON", description="AE title of this node, 1 to 16 characters.")
    host: Host = Field(
        "127.0.0.1", description="Address to listen on. This machine only, until someone opens it."
    )
    port: Annotated[int, Strict(), Field(ge=0, le=65_535)] = Field(
        11112, description="TCP port. IANA's for DICOM; 0 lets the system choose, for tests."
    )
    maximum_associations: Annotated[int, Strict(), Field(ge=1, le=1000)] = Field(
        160, description="Associations at a time. A hundred, from one gateway, and some to spare."
    )
    maximum_associations_per_peer: Annotated[int, Strict(), Field(ge=1, le=1000)] | None = Field(
        None,
        description=(
            "Associations of one AE title at a time. Unset: three quarters of all, so that none "
            "can shut the others out."
        ),
    )
    maximum_pdu_bytes: Annotated[int, Strict(), Field(ge=4096, le=4_194_304)] = Field(
        131_072, description="Bytes. Largest PDU taken: the most that dcmtk sends; fewer reads."
    )
    maximum_instance_mib: Annotated[int, Strict(), Field(ge=1, le=4096)] = Field(
        1024,
        description=(
            "MiB. A larger instance is refused with 0xC002: a radiograph has 10 to 50, and a long "
            "fluoroscopic run some hundred, so what has more is none, or fills the disk."
        ),
    )
    network_timeout_s: Seconds = Field(
        60, description="s. An association on which nothing comes is closed: a modality may pause."
    )
    idle_timeout_s: Seconds = Field(
        30,
        description="s. A peer that owes an ACSE or DIMSE message for this long is gone.",
    )
    accept_any_called_ae_title: Annotated[bool, Strict()] = Field(
        False,
        description="Whether a peer may call any title. False: wrong title, wrong route.",
    )

    @property
    def places_per_peer(self) -> int:
        """How many associations one AE title may have at a time."""
        set_ = self.maximum_associations_per_peer
        return max(1, self.maximum_associations * 3 // 4) if set_ is None else set_


class Peer(Table):
    """A caller that may send here. Nobody else may."""

    ae_title: AeTitle = Field(description="AE title with which it calls.")
    addresses: Annotated[tuple[Network, ...], Field(min_length=1), AfterValidator(unique)] = Field(
        description="IP addresses or CIDR networks from which it calls. AE titles can be claimed."
    )
    port: Port | None = Field(
        None,
        description=(
            "TCP port where it hears what this node answers for (storage commitment), at the "
            "address from which it asked. Unset: where the destination of its AE title is; without "
            "one, it hears only over the association of its request."
        ),
    )


class Destination(Table):
    """Where results go by C-STORE."""

    name: Name = Field(description="Name in rules and in the audit; unique.")
    ae_title: AeTitle = Field(description="AE title that is called.")
    host: Host = Field(description="Host name or address.")
    port: Port = Field(104, description="TCP port. The registered one for DICOM.")
    connect_timeout_s: Seconds = Field(
        10, description="s. A host in the same hospital answers in far less, or is down."
    )
    response_timeout_s: Seconds = Field(
        60, description="s. How long one C-STORE or C-FIND may take: an archive may write to tape."
    )
    calling_ae_title: AeTitle | None = Field(
        None, description="AE title with which this node calls. Unset: the receiver's."
    )
    proof: Literal["asked", "status"] = Field(
        "asked",
        description=(
            "When a result counts as delivered. asked: once storage commitment, else C-FIND, says "
            "that it is kept, where one is offered; status: once C-STORE says so."
        ),
    )
    kinds: Kinds = Field(
        tuple(ObjectKind),
        description=(
            "Kinds of result object it takes; captures always go. All: what it refuses is left out."
        ),
    )


class Completeness(Table):
    """When a study counts as complete."""

    quiet_s: Seconds = Field(
        30, description="s without a new image. Between two views a technician rarely takes longer."
    )
    ceiling_s: Seconds = Field(
        900,
        description="s from the first image until it is taken as it is: none is stuck.",
    )
    ask: Name | None = Field(
        None,
        description="Destination that is asked, by C-FIND, how many images there are. Unset: none.",
    )

    @model_validator(mode="after")
    def _ceiling_is_not_below_quiet(self) -> Self:
        if self.ceiling_s < self.quiet_s:
            raise ValueError("ceiling_s must not be smaller than quiet_s")
        return self


class Reconstruction(Table):
    """How jobs are worked off."""

    workers: Annotated[int, Strict(), Field(ge=1, le=256)] = Field(
        1, description="Processes that reconstruct. One, because it may use all of the machine."
    )
    threads: Annotated[int, Strict(), Field(ge=1, le=256)] = Field(
        2, description="Threads of each. Two, so that the receiver keeps a core on a small machine."
    )
    deadline_s: Seconds = Field(
        300,
        description="s until an attempt counts as lost: many times what one takes.",
    )
    attempts: Annotated[int, Strict(), Field(ge=1, le=100)] = Field(
        3, description="Attempts until a job is FAILED. A third failure is no accident."
    )
    maximum_memory_mib: Count | None = Field(
        None,
        description=(
            "MiB that one worker may use: what needs more fails alone. Unset: three quarters of "
            "the machine's, shared by the workers."
        ),
    )
    poll_s: Annotated[float, Strict(), Field(ge=0.05, le=60)] = Field(
        0.25, description="s between two looks for work: a job opens well within 2 s."
    )


class Retries(Table):
    """How often a delivery is tried again."""

    first_s: Seconds = Field(5, description="s until the second try: most faults are brief.")
    factor: Annotated[float, Strict(), Field(ge=1, le=10, allow_inf_nan=False)] = Field(
        2, description="By how much each wait is longer. Doubling relieves a peer that is overrun."
    )
    longest_s: Seconds = Field(900, description="s. The longest wait: a PACS that is back is seen.")
    give_up_after_s: Seconds = Field(
        86_400, description="s from the first try until it is FAILED. A day outlasts maintenance."
    )

    @model_validator(mode="after")
    def _first_is_not_above_longest(self) -> Self:
        if self.first_s > self.longest_s:
            raise ValueError("first_s must not be greater than longest_s")
        return self


class Retention(Table):
    """How long pixels stay. Rows and the audit stay for ever, and so does what is undelivered."""

    keep_days: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False, le=36_500)] | None = (
        Field(
            None,
            description=(
                "Days from the last image or job of a finished study until its pixels and results "
                "are removed. Unset: never by age, because only the hospital knows how long."
            ),
        )
    )
    make_room_below_mib: Count | None = Field(
        None,
        description=(
            "MiB. Where less is free, the oldest finished studies go until it is. Unset: none goes "
            "for want of room."
        ),
    )
    refuse_below_mib: Annotated[int, Strict(), Field(ge=1)] = Field(
        256,
        description=(
            "MiB. Where less is free, images are refused with 0xA700 until there is room: enough "
            "for what is arriving at the moment, and for the rows."
        ),
    )

    @model_validator(mode="after")
    def _room_is_made_before_images_are_refused(self) -> Self:
        room = self.make_room_below_mib
        if room is not None and room <= self.refuse_below_mib:
            raise ValueError("make_room_below_mib must be greater than refuse_below_mib")
        return self


class Notices(Table):
    """Who is told of studies that no rule takes; what a rule declines is told by the rule."""

    destinations: Annotated[tuple[str, ...], AfterValidator(unique)] = Field(
        (),
        description=(
            "Destinations that get one page with the reasons for each study that no rule takes. "
            "None: a PACS that sends everything here would get a page for every chest."
        ),
    )


class Database(Table):
    """Where the rows are. OSTEON_DATABASE_URL in the environment wins; it may hold a password."""

    url: SecretStr | None = Field(
        None,
        description=(
            "SQLAlchemy URL of SQLite or PostgreSQL, without a password. Unset: osteon.sqlite in "
            "the data folder, because one node needs no server."
        ),
    )

    @field_validator("url")
    @classmethod
    def _url_is_usable(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            database_url(url.get_secret_value())
        return url


class Log(Table):
    """How the node tells what it does. The audit is in the database, not here."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is told. info: one line a step."
    )
    format: Literal["console", "json"] = Field(
        "console", description="console for people, json for a log collector. People come first."
    )
