"""What can go wrong in the node, by who must act."""

from __future__ import annotations

from dataclasses import dataclass


class NodeError(Exception):
    """The node could not go on."""

    retryable: bool = False

    def __init__(self, message: str | None = None) -> None:
        """The docstring of the class is the message where none is given."""
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a settings file."""

    path: str
    """Where, as in `rules[0].match.modality`; the name of a variable of the environment; or ""."""
    message: str
    line: int | None = None
    """1-based line of the file, where it is known."""

    def __str__(self) -> str:
        """One line for a terminal."""
        line = "" if self.line is None else f"line {self.line}: "
        path = f"{self.path}: " if self.path else ""
        return f"{line}{path}{self.message}"


class SettingsError(NodeError):
    """The settings are wrong; whoever configures the node must act."""

    def __init__(self, faults: tuple[Fault, ...], file: str = "") -> None:
        """All faults are told at once, in the order of the file."""
        self.faults = faults
        head = f"{file}: {len(faults)} fault{'' if len(faults) == 1 else 's'}"
        super().__init__("\n".join([head.removeprefix(": "), *(f"  {fault}" for fault in faults)]))
