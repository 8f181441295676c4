"""The arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ProblemFile = Annotated[Path, typer.Argument(metavar="PROBLEM.PY", help="The problem file: simulator, prior, x_o.")]
RunFile = Annotated[Path, typer.Argument(metavar="RUN.HOMING", help="The run file.")]
Store = Annotated[
    Path | None,
    typer.Option("--store", metavar="RUN.HOMING", help="The run file; by default the problem's name with .homing."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
Round = Annotated[
    int | None, typer.Option("--round", "-r", min=1, metavar="N", help="After which round; by default the newest.")
]
NumSamples = Annotated[int, typer.Option("--samples", "-n", min=1, metavar="N", help="How many draws.")]
ForPrior = Annotated[
    Path | None,
    typer.Option("--problem", metavar="PROBLEM.PY", help="Needed only for a prior or an embedding of your own."),
]
Method = Annotated[str, typer.Option("--method", metavar="NAME", help="SNPE, or another class of homing.inference.")]
Workers = Annotated[int, typer.Option("--workers", "-w", min=1, metavar="N", help="Processes that simulate.")]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, metavar="N", help="Makes the run repeatable; by default a new one.")
]
Estimator = Annotated[
    str | None, typer.Option("--density-estimator", metavar="NAME", help="maf, nsf or mdn; by default what run uses.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Simulations = Annotated[
    int | None,
    typer.Option(
        "--simulations", "-n", min=1, metavar="N", help="In all rounds; by default as in the run file or 1000."
    ),
]
Rounds = Annotated[
    int | None, typer.Option("--rounds", min=1, metavar="N", help="By default budget and dimension decide.")
]
Proposal = Annotated[
    str | None,
    typer.Option("--proposal", metavar="NAME", help="Where later rounds simulate: truncated, posterior or mixture."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
