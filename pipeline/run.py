"""The whole pipeline as one function that a worker process can be handed."""

from __future__ import annotations

from dataclasses import replace

from pipeline.additions import with_additions
from pipeline.encode.notice import MODEL as NOTICE
from pipeline.encode.notice import write_notice
from pipeline.encode.write import write
from pipeline.errors import StudyError
from pipeline.quality import judge
from pipeline.radiograph import read_all
from pipeline.reconstruct import reconstruct
from pipeline.types import Outcome, Reconstructed, Refused, Request, Withheld


def run(request: Request) -> Outcome:
    """What came of `request`; its objects lie in `request.folder`.

    The same request gives the same bytes. What the study itself lacks is an outcome and not an
    exception: it will be the same at the next attempt.

    Raises:
        PipelineError: the fault is ours, or passing.
    """
    try:
        if request.model == NOTICE:
            return write_notice(request)
        images = read_all(request)
        made = reconstruct(images, region=request.region, side=request.side, model=request.model)
        made = replace(made, assumptions=request.assumptions + made.assumptions)
        if reasons := judge(made.figures):
            return Withheld(reasons, made.algorithm, made.assumptions, made.figures)
        if request.complete:
            made = with_additions(made, request.region)
        objects = write(made, images, request)
        return Reconstructed(objects, made.algorithm, made.assumptions, made.figures)
    except StudyError as fault:
        return Refused((str(fault),))
