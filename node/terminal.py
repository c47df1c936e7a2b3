"""What every command of `osteon` speaks through, and the codes that it ends with."""

from __future__ import annotations

import sys
from typing import Final, NoReturn

from rich.console import Console

FOUND_WRONG: Final = 1
SETTINGS_WRONG: Final = 3
DATABASE_UNUSABLE: Final = 4
NOT_FOUND: Final = 5
CANNOT_START: Final = 6

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def end(message: str, code: int) -> NoReturn:
    """The command ends with a sentence and a code, never with a traceback."""
    err.print(message, markup=False)
    sys.exit(code)
