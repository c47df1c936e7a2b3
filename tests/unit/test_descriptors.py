"""More descriptors than `select` knows: nobody notices."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from node.delivery import associate, storage_contexts
from node.descriptors import readable
from node.settings import Destination
from node.wire import serve

BEYOND_SELECT = 1024
"""FD_SETSIZE of glibc, and of macOS."""


@pytest.fixture
def crowded() -> Iterator[None]:
    """Every descriptor that `select` knows is taken: the next is beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * BEYOND_SELECT:
        pytest.skip("this system lets no process have so many descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * BEYOND_SELECT), hard))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < BEYOND_SELECT:
        taken.append(os.dup(taken[0]))
    yield
    for number in taken:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("crowded")
def test_an_association_beyond_those_that_select_knows_is_asked_for_and_served() -> None:
    ae = AE(ae_title="OSTEON")
    ae.add_supported_context(Verification)
    server = serve(ae, ("127.0.0.1", 0), [])
    to = Destination(
        name="pacs", ae_title="OSTEON", host="127.0.0.1", port=server.server_address[1]
    )

    assoc = associate(to, "OSTEON", storage_contexts([Verification]))

    assert isinstance(assoc, Association)
    assert assoc.dul.socket is not None
    assert assoc.dul.socket.socket is not None
    assert assoc.dul.socket.socket.fileno() >= BEYOND_SELECT
    assert assoc.send_c_echo().Status == 0x0000
    assoc.release()
    server.shutdown()


@pytest.mark.usefixtures("crowded")
def test_only_who_has_something_to_say_is_readable() -> None:
    (ours, theirs), (quiet, other) = socket.socketpair(), socket.socketpair()

    theirs.send(b"x")

    assert readable(0, ours, quiet) == [ours]
    assert readable(0.01, quiet) == []
    other.close()
    assert readable(None, quiet) == [quiet]  # whose peer is gone: the next read says so
    for end in (ours, theirs, quiet):
        end.close()


def test_what_is_closed_on_this_side_is_told() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()

    with pytest.raises((OSError, ValueError)):
        readable(0, ours)


@pytest.mark.parametrize(
    ("soft", "hard", "says"),
    [(256, 5000, "None (1312, 5000)"), (256, 700, "700 (700, 700)"), (4000, 5000, "None (4000, ")],
    ids=["raised as far as needed", "raised as far as allowed", "left as it is"],
)
def test_descriptors_are_allowed_for_the_associations_of_the_settings(
    soft: int, hard: int, says: str
) -> None:
    script = (
        "import resource as r; from node.descriptors import allow_descriptors\n"
        f"r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "print(allow_descriptors(100), r.getrlimit(r.RLIMIT_NOFILE))"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert says in ran.stdout
