"""No pattern that is admitted can hang the node."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.patterns import compiled, is_found

HANGING = [
    "(a+)+$", "(a*)*b", "(a|aa)+$", "(.*)(.*)(.*)(.*)x", "a?" * 30 + "a" * 30, "(a|a)" * 20,
    "((a{0,9}){0,9}){0,9}b", "(?:x+x+)+y", ".*.*.*=.*", r"(a+)\1", "(?=a+)b", "(?!a)b", "(?<=a)b",
    "(?>a+)b", "(a)?(?(1)b|c)", "a" * 129, "", "(((" * 30, "[a-", "x*+y", "[[a]b]",
]  # fmt: skip


@pytest.mark.parametrize("pattern", HANGING, ids=range(len(HANGING)))
def test_a_pattern_that_could_hang_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|regular expression"):
        compiled(pattern)


PIECES = st.sampled_from(
    ["a", "b", "a*", "a+", "a?", ".*", "(a|ab)", "(a|b|ab)?", "[ab]{1,5}", "$"]
)


@given(pieces=st.lists(PIECES, min_size=1, max_size=8), text=st.text("ab", max_size=300))
@settings(deadline=2000)
def test_a_pattern_that_is_admitted_ends_soon_on_every_text(pieces: list[str], text: str) -> None:
    """Within hypothesis' deadline of 2 s; patterns like these take hours where not bounded."""
    try:
        pattern = compiled("".join(pieces))
    except ValueError:
        return

    assert is_found(pattern, text) in {True, False}
