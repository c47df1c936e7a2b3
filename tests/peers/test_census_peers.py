"""Real archives say how many instances a study has, or that they do not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node import census
from node.settings import Destination
from tests.factories import file_bytes, radiograph, two_views
from tests.orthanc import running_orthanc
from tests.peer_programs import Address, running_dcmqrscp, storescu
from tests.processes import LOOPBACK

pytestmark = pytest.mark.peer

CALLING = "OSTEON"


@pytest.fixture(scope="module", params=["orthanc", "dcmqrscp"])
def archive(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    """An empty archive."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "orthanc":
        with running_orthanc(folder) as orthanc:
            yield Address(orthanc.ae_title, orthanc.dicom_port)
    else:
        with running_dcmqrscp(folder) as address:
            yield address


def _counted(archive: Address, study_instance_uid: str) -> int | None:
    destination = Destination(
        name="pacs", ae_title=archive.ae_title, host=LOOPBACK, port=archive.port
    )
    return census.count(study_instance_uid, destination, CALLING)


def test_a_study_is_counted_with_all_of_its_images_and_no_other(
    archive: Address, tmp_path: Path
) -> None:
    images = [*two_views(study="two"), radiograph(study="one")]
    for number, ds in enumerate(images):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(file_bytes(ds))
        assert storescu(archive, path).is_success

    two, one = (_counted(archive, str(ds.StudyInstanceUID)) for ds in (images[0], images[2]))

    assert (two, one) == (2, 1)


def test_a_study_that_the_archive_does_not_have_is_no_evidence(archive: Address) -> None:
    assert _counted(archive, "2.25.4711") is None
