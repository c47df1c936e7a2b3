"""A dispatcher without a network, whose engine does what the test says, when the test says it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import Engine

from node import dispatch
from node.dispatch import Dispatcher
from node.engine import EngineRoom
from node.settings import Completeness, Destination, Reconstruction, Settings, digest
from node.translate import Folders
from pipeline.attributes import attributes
from pipeline.types import (
    Algorithm,
    Assumption,
    Figure,
    ObjectKind,
    Reconstructed,
    Request,
    ResultObject,
)
from storage import database, ledger, queries
from storage.records import Instance, Job, Study
from tests.storage_cases import T0
from tests.storage_cases import digest as sha256_of
from tests.studies import rule

__all__ = ["MADE_BY", "Scene", "ScriptedExecutor", "made_objects", "scene"]

MADE_BY = Algorithm("Osteon visual hull", "1.0.0")


class ScriptedExecutor(Executor):
    """An engine that does what the test says, when the test says it."""

    def __init__(self) -> None:
        self.tasks: list[tuple[Request, Future[Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if args:
            self.tasks.append((args[0], future))
        return future


@dataclass
class Scene:
    """A node without a network, at a time that the test moves."""

    engine: Engine
    world: Dispatcher
    executors: list[ScriptedExecutor]
    now: datetime = T0

    def arrive(self, *images: Dataset) -> None:
        for ds in images:
            instance = an_instance_of(ds, self.now)
            (self.world.folders.instances / instance.path).touch()
            with database.begin(self.engine) as conn:
                ledger.receive(conn, "osteon", instance)

    def tick(self, seconds: float = 0) -> None:
        self.now += timedelta(seconds=seconds)
        dispatch.tick(self.world)

    @property
    def task(self) -> tuple[Request, Future[Any]]:
        return self.executors[-1].tasks[-1]

    def job(self, number: int = 1) -> Job:
        with database.reading(self.engine) as conn:
            found = queries.job(conn, number)
        assert found is not None
        return found

    def jobs(self) -> tuple[Job, ...]:
        with database.reading(self.engine) as conn:
            return queries.jobs(conn)

    def study(self) -> Study:
        with database.reading(self.engine) as conn:
            (found,) = queries.recent_studies(conn)
        return found

    def set(self, **changes: object) -> None:
        """The node runs with other settings."""
        settings = self.world.settings.model_copy(update=changes)
        self.world = replace(self.world, settings=settings, configuration=digest(settings))


def an_instance_of(ds: Dataset, at: datetime) -> Instance:
    """The row of a radiograph that was received at `at`."""
    return Instance(
        sop_instance_uid=ds.SOPInstanceUID,
        study_instance_uid=ds.StudyInstanceUID,
        series_instance_uid=ds.SeriesInstanceUID,
        sop_class_uid=ds.SOPClassUID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=sha256_of(ds.SOPInstanceUID),
        size_bytes=1,
        path=f"{ds.SOPInstanceUID}.dcm",
        received_at=at,
        calling_ae_title="XRAY",
        called_ae_title="OSTEON",
        peer_address="127.0.0.1",
        attributes=attributes(ds),
    )


@pytest.fixture
def scene(engine: Engine, tmp_path: Path) -> Scene:
    settings = Settings(
        destinations=(
            Destination(name="pacs", ae_title="PACS", host="127.0.0.1"),
            Destination(
                name="planning",
                ae_title="PLAN",
                host="127.0.0.1",
                kinds=(ObjectKind.SURFACE_SEGMENTATION,),
            ),
        ),
        completeness=Completeness(quiet_s=30, ceiling_s=900),
        reconstruction=Reconstruction(attempts=3, deadline_s=60),
        rules=(rule(destinations=["pacs", "planning"]),),
    )
    executors: list[ScriptedExecutor] = []

    def make(_: Reconstruction) -> Executor:
        executors.append(ScriptedExecutor())
        return executors[-1]

    folders = Folders(tmp_path / "instances", tmp_path / "quarantine", tmp_path / "results")
    folders.instances.mkdir()
    room = EngineRoom(settings.reconstruction, make_pool=make)
    world = Dispatcher(settings, digest(settings), engine, folders, room, lambda: made.now)
    made = Scene(engine, world, executors)
    return made


MADE = (
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.SURFACE_SEGMENTATION,
)


def made_objects(request: Request) -> Reconstructed:
    objects = tuple(
        ResultObject(kind, "1.2.3", f"2.25.{n}", request.folder / f"{kind}.dcm", sha256_of(kind), 9)
        for n, kind in enumerate(MADE, 1)
    )
    return Reconstructed(
        objects,
        MADE_BY,
        (Assumption("DistanceSourceToPatient", 950.0, "mm", "not in the image"),),
        (Figure("silhouette agreement AP", 0.97, "", low=0.8),),
    )
