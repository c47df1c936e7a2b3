"""The commands that need no node: bones from files, what is missing, the training of networks.

What they do stands in `prediction`, `complete` and `learning`, which are imported when they are
called: a help text must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.terminal import FOUND_WRONG, SETTINGS_WRONG, end, err, out


def predict(
    files: Annotated[list[Path], typer.Argument(help="Radiographs as DICOM files, one a view.")],
    region: Annotated[str, typer.Option(help="What they show, as hip or knee.")],
    out_folder: Annotated[Path, typer.Option("--out", help="A new folder for what is made.")],
    side: Annotated[
        str | None, typer.Option(help="R, L or U (unpaired); by default what the files say.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            "--model",
            help="One of `osteon models`; by default lifting where trained, else visual-hull.",
        ),
    ] = None,
    sid: Annotated[
        float | None, typer.Option(help="Source to detector, mm, where a file lacks it.")
    ] = None,
    sod: Annotated[
        float | None, typer.Option(help="Source to patient, mm, where a file lacks it.")
    ] = None,
    spacing: Annotated[
        float | None, typer.Option(help="Pixel spacing, mm, where a file lacks it.")
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Add bones that are missing: predicted, not imaged.")
    ] = False,
) -> None:
    """Make bones of radiographs on this machine, without a node.

    Writes a surface (STL) and a volume (NIfTI) for each bone, a picture, and quality.json; of an
    engine that weighs several views also the share of each view (NIfTI).
    Exits with 1 if a node would withhold the result, and says why.
    """
    from node import prediction
    from pipeline.types import Assume, Side

    if side not in (None, *Side):
        raise typer.BadParameter(f"--side is R, L or U, not {side}")
    assume = Assume(source_to_detector=sid, source_to_patient=sod, pixel_spacing=spacing)
    try:
        with err.status("Reconstructing"):
            found = prediction.predict(
                files,
                out_folder,
                region=region,
                side=Side(side) if side else None,
                model=engine,
                assume=assume,
                complete=complete,
            )
    except prediction.PredictionError as fault:
        end(str(fault), FOUND_WRONG)
    prediction.show(out, found, out_folder)
    if found.reasons:
        raise typer.Exit(FOUND_WRONG)


def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")] = False,
) -> None:
    """List the engines and the completions: what each gives, and how good it was found to be.

    A rule chooses an engine, as in engine = "pix2vox++/F". A completion adds bones that a map of
    labels lacks. The figures are those of the people that the weights were judged on; what stands
    in no weights file is not told.
    """
    from node import catalogue
    from pipeline.safetensors_header import BrokenWeights

    try:
        catalogue.show(out, is_json=json)
    except BrokenWeights as fault:
        end(str(fault), FOUND_WRONG)


RunArgument = Annotated[
    Path, typer.Argument(help="A run file; config/train-hip.toml explains every key.")
]


def train(
    run: RunArgument,
    fold: Annotated[
        str,
        typer.Option(
            help="Leave out the people of this fold instead of the run file's, in a folder of its"
            " own: for a cross-validation. As 1, or as 1,2 for two folds together.",
            metavar="FOLD",
        ),
    ] = "",
) -> None:
    """Train a network on this machine, as a run file says.

    Simulates the scenes that are missing, then learns from them. Stop it when you like: the
    next call goes on from the last checkpoint. Curves are drawn into the run's folder.
    """
    from node import learning

    try:
        is_done = learning.train(out, run, learning.folds_of(fold) if fold else ())
    except learning.LearningError as fault:
        end(str(fault), SETTINGS_WRONG)
    if not is_done:
        raise typer.Exit(FOUND_WRONG)


def begin(
    run: RunArgument,
    weights: Annotated[Path, typer.Argument(help="A weights file, as of pipeline/weights.")],
) -> None:
    """Begin a run with the network of a weights file.

    To judge and compare shipped weights with `evaluate` and `compare`, or to train on from them,
    as with people of your own: `train` goes on from there. The run file must be of the same
    network, leave out the same people, and have no checkpoint yet.
    """
    from node import learning

    try:
        learning.begin(out, run, weights)
    except learning.LearningError as fault:
        end(str(fault), SETTINGS_WRONG)


def evaluate(
    run: RunArgument,
    fold: Annotated[
        list[str] | None,
        typer.Option(
            help="A fold that `train --fold` left out; once for each. All stand in one table, each"
            " judged by its own network.",
            metavar="FOLD",
        ),
    ] = None,
) -> None:
    """Judge a trained network on the people that it has not seen.

    Prints the table of results, and writes it into the run's folder as Markdown and as JSON.
    Distances are between surfaces, mm; every image is simulated.
    """
    from node import learning

    try:
        learning.evaluate(out, run, [learning.folds_of(one) for one in fold or ()])
    except learning.LearningError as fault:
        end(str(fault), SETTINGS_WRONG)


def compare(
    run: RunArgument,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Train the networks over cubes, and lifting once more from scratch, for so long"
            " each; by default all are judged as far as they are trained.",
        ),
    ] = None,
) -> None:
    """Judge a network beside published ones, the visual hull and a shape model.

    All are given the same views of the people that the run left out, 1, 2, 3 and 5 of them, and
    judged in the same cube. Prints the table with paired differences, and writes it into the
    run's folder as Markdown and as JSON. What was found of an engine is kept until its weights
    change: another one can be added without judging all again.
    """
    from node import learning

    try:
        learning.compare(out, run, minutes=minutes)
    except learning.LearningError as fault:
        end(str(fault), SETTINGS_WRONG)


def export(
    run: RunArgument,
    to: Annotated[
        Path,
        typer.Argument(
            help="The weights file: REGION.safetensors, of a family REGION.ENGINE.safetensors."
        ),
    ],
    may_be_missing: Annotated[
        list[str] | None,
        typer.Option(help="A bone that a result may lack, as fibula; once for each."),
    ] = None,
) -> None:
    """Write the network of a run as a weights file.

    Its own error scale is calibrated on the people that the run left out. Put the file into
    pipeline/weights, and beside it a model card that names its SHA-256.
    """
    from node import learning

    try:
        learning.export(out, run, to, may_be_missing or ())
    except learning.LearningError as fault:
        end(str(fault), SETTINGS_WRONG)


def complete(
    source: Annotated[Path, typer.Argument(help="A DICOM segmentation, or an image of labels.")],
    target: Annotated[Path, typer.Argument(help="A new file of the same kind, as out.nii.gz.")],
    weights: Annotated[Path, typer.Option(help="What completes: a file of trained weights.")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="Which label is what, as 5=femur_R; codes of DICOM segments are known."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Add only this structure; may be repeated.")
    ] = None,
) -> None:
    """Add what a map of labels lacks, as labels or segments of their own.

    What was given keeps its labels, and nothing is added to a structure inside the field of view
    that it was seen in. All that is added is predicted, not imaged, and says so.
    """
    from node import complete as completion

    try:
        with err.status("Completing"):
            added = completion.complete_file(
                source, target, weights, labels=label or [], only=only or []
            )
    except completion.CompletionError as fault:
        end(str(fault), FOUND_WRONG)
    for one in added:
        said = f"{one.label}: {one.name}, predicted, not imaged, {one.volume_ml:.1f} ml"
        out.print(said, markup=False)
    out.print(f"Written to {target}" if added else f"Nothing was missing: {target} is the same.")


def add_to(app: typer.Typer) -> None:
    """The commands are there."""
    for command in (models, predict, complete, train, begin, evaluate, compare, export):
        app.command()(command)
