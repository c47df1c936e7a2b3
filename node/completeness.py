"""When a study counts as complete: evidence first, timers last, the reason always.

Nothing in DICOM says that a study is complete. A decision that comes too early costs a second job,
because a late view supersedes the first result; one that never comes costs the result. So the
evidence is, in this order:

1. every view that the rule expects is here,
2. nobody is sending, and the PACS counts no more instances than are here,
3. nobody is sending, and nothing came for `quiet_s`,
4. `ceiling_s` have passed since the first image of this round.

Times are those of the wall clock, which is all that survives a restart. A clock that is set back
makes the last image lie in the future. Within `quiet_s` that only prolongs the wait; beyond, the
wait can no longer be measured, and the study is taken as it is as soon as nobody is sending.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from node.settings import Completeness
from node.study import ReceivedStudy


@dataclass(frozen=True, slots=True)
class Complete:
    """The study may be routed."""

    evidence: str
    """One clause for a technician."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The study may still grow."""

    until: datetime
    """When time alone can change the decision; aware UTC, later than the `now` it was made at."""
    reason: str


def decide(
    study: ReceivedStudy, now: datetime, policy: Completeness, is_satisfied: bool
) -> Complete | Waiting:
    """Complete with its evidence, or Waiting until time alone can decide.

    Args:
        study: as received so far; the order in which its images came has no influence.
        now: aware.
        policy: the quiet period and the ceiling.
        is_satisfied: whether a rule has every view that it expects (`routing.is_satisfied`).
    """
    here = len(study.images)
    is_sending = study.open_associations > 0
    if is_satisfied:
        return Complete("every view that the rule expects is here")
    if not is_sending and study.pacs_count is not None and study.pacs_count <= here:
        return Complete(f"nobody is sending, and the PACS counts no more than the {here} here")
    if not is_sending and (evidence := _evidence_of_silence(study, now, policy)):
        return Complete(evidence)
    ceiling_at = _first(study) + timedelta(seconds=policy.ceiling_s)
    if now >= ceiling_at:
        return Complete(f"{policy.ceiling_s:g} s have passed since the first image")
    return _waiting(study, now, policy, ceiling_at)


def _evidence_of_silence(study: ReceivedStudy, now: datetime, policy: Completeness) -> str | None:
    quiet = timedelta(seconds=policy.quiet_s)
    silence = now - study.last_received_at
    if silence >= quiet:
        return f"nobody is sending, and nothing came for {policy.quiet_s:g} s"
    if silence < -quiet:
        return f"nobody is sending, and the clock was set back by {-silence.total_seconds():.0f} s"
    return None


def _waiting(
    study: ReceivedStudy, now: datetime, policy: Completeness, ceiling_at: datetime
) -> Waiting:
    if study.open_associations > 0:
        return Waiting(ceiling_at, f"{study.open_associations} association(s) still sending")
    quiet_at = study.last_received_at + timedelta(seconds=policy.quiet_s)
    missing = "" if study.pacs_count is None else f"; the PACS counts {study.pacs_count}"
    remaining = (quiet_at - now).total_seconds()
    return Waiting(
        min(quiet_at, ceiling_at),
        f"{len(study.images)} image(s) here{missing}; complete after {remaining:.0f} s of quiet",
    )


def _first(study: ReceivedStudy) -> datetime:
    """Never after the last: they change places where the clock was set back between them."""
    return min(study.first_received_at, study.last_received_at)
