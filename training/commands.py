"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("train", help="Train a model's folds")
    command.set_defaults(run=run_train)
    command.add_argument(
        "--model", required=True, help="a recipe of training/recipes, a JSON file, or ensemble (a blend of models)"
    )
    command.add_argument("--data", type=Path, help="folder with train.csv and train_eegs/")
    command.add_argument(
        "--draw", type=int, metavar="N", help="instead of --data: N simulated windows an epoch, none seen twice"
    )
    command.add_argument("--seed", type=int, default=0, help="of the simulated windows")
    command.add_argument(
        "--store", type=Path, help="draw the N windows once and keep them here, for every epoch and model"
    )
    command.add_argument("--workers", type=int, default=1, help="processes that fill the store")
    command.add_argument(
        "--votes",
        choices=("cast", "expected"),
        default="cast",
        help="of simulated windows: the raters' votes, or the mean of all raters",
    )
    command.add_argument("--fold", default="all", help="a fold's number, several with commas, or all")
    command.add_argument("--out", type=Path, help="folder to write [dist/trained/MODEL]")
    command.add_argument(
        "--set", action="append", dest="changes", metavar="FIELD=VALUE", help="such as recipe.batch_size=64"
    )
    command.add_argument(
        "--start-from", type=Path, help="a weights file of the same model, or a folder with one per fold"
    )
    command.add_argument(
        "--backbone", type=Path, help="local ImageNet weights of EfficientNetV2-B2: a .h5 or a preset's folder"
    )
    command.add_argument("--cache", type=Path, help="inputs of --data, as `cache` stored them [DATA/cache]")

    command = commands.add_parser("evaluate", help="Score a model on recordings with votes")
    command.set_defaults(run=run_evaluate)
    command.add_argument("--model", required=True, help="a folder of weights/, or ensemble")
    command.add_argument("--data", type=Path, required=True, help="folder with train.csv and its recordings")
    command.add_argument("--weights", type=Path, default=ROOT / "weights", help="where the models lie")
    command.add_argument("--min-votes", type=int, default=10, help="score rows with as many votes or more")
    command.add_argument("--picture", type=Path, help="write a reliability diagram here [dist/evaluation/MODEL.png]")
    command.add_argument("--table", type=Path, help="write every row's prediction here, as CSV")

    command = commands.add_parser("cache", help="Compute the inputs of every labelled window once, for training")
    command.set_defaults(run=run_cache)
    command.add_argument("--data", type=Path, required=True, help="folder with train.csv and train_eegs/")
    command.add_argument("--out", type=Path, help="folder of the stores, one for each kind of input [DATA/cache]")
    command.add_argument("--model", help="store the inputs of this recipe [the standard scalogram]")
    command.add_argument(
        "--per-pattern", type=int, metavar="N", help="keep N windows of each recording and vote pattern [all]"
    )
    command.add_argument("--jobs", type=int, default=-1, help="processes; -1 for one a core")
    command.add_argument(
        "--scheduler", metavar="tcp://HOST:8786", help="run on this Dask cluster, whose workers see the folders"
    )


def run_train(args: argparse.Namespace) -> int:
    """Train a model's folds; run again to go on with an interrupted one."""
    from training.recipe import read_recipe

    if args.model == "ensemble":
        from training.blending import fit_ensemble

        for model, weight in fit_ensemble(args.out or ROOT / "weights").items():
            print(f"{model:20} {weight:.3f}")
        return 0
    from training.cached import find_caches
    from training.cross_validation import Data, DrawnData, FolderData, train_model
    from training.evaluation import print_summary
    from training.store import fill_store

    if (args.data is None) == (args.draw is None):
        raise ValueError("give either --data DIR or --draw N, the data to train on")
    config, recipe = read_recipe(args.model, args.changes)
    origin, draw = f"the simulator, seed {args.seed}, {args.votes} votes", partial(draw_window, args.seed, args.votes)
    data: Data
    if args.data:
        data = FolderData(args.data, find_caches(args.cache or args.data / "cache", config.inputs))
    elif args.store:
        data = fill_store(args.store, draw, args.draw, origin, args.workers)
    else:
        data = DrawnData(draw, args.draw, origin)
    if args.fold != "all" and not args.fold.replace(",", "").isdecimal():
        raise ValueError(f"--fold {args.fold}: expected a number, several with commas between them, or all")
    folds = list(range(recipe.folds)) if args.fold == "all" else [int(fold) for fold in args.fold.split(",") if fold]
    out = args.out or ROOT / "dist" / "trained" / Path(args.model).stem
    metrics = train_model(config, recipe, data, folds, out, start_from=args.start_from, backbone=args.backbone)
    print(f"{out}: folds {', '.join(metrics['folds'])}; out of fold:")
    print_summary(metrics["out_of_fold"])
    print(f"to ship it, copy {out} into {ROOT / 'weights'}; what ships is never overwritten by a training")
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    """Score a model on recordings with votes: KL with an interval, by class, confusion, reliability."""
    from kernel.constants import VOTES, WINDOW_SECONDS
    from training.evaluation import PREDICTED, describe, print_summary, write_reliability
    from training.scoring import predict_folder

    table = predict_folder(args.data, args.weights, args.model, args.min_votes)
    long = table.seconds >= WINDOW_SECONDS
    parts = {f"recordings of {WINDOW_SECONDS} s and more": table[long], "shorter recordings": table[~long]}
    picture = args.picture or ROOT / "dist" / "evaluation" / f"{args.model}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    for number, (title, part) in enumerate((title, part) for title, part in parts.items() if len(part)):
        summary = describe(part[list(VOTES)].to_numpy(), part[list(PREDICTED)].to_numpy(), part.patient_id.to_numpy())
        print(f"{title}:")
        print_summary(summary)
        if number == 0:
            write_reliability(summary, picture)
            print(f"reliability diagram: {picture}")
    if args.table:
        table.to_csv(args.table, index=False)
    return 0


def draw_window(seed: int, votes: str, index: int, many: bool = False) -> Any:
    """Draw window number `index` from the simulator: electrodes and votes, cast or expected."""
    from simulator.generate import simulate_window

    window = simulate_window(seed, index, population="many" if many else None)
    return window.samples, window.votes if votes == "cast" else window.truth["expected"] * window.votes.sum()


def run_cache(args: argparse.Namespace) -> int:
    """Store the inputs of every labelled window, for training to read instead of computing.

    Run again it checks everything, goes on with what is missing, adds new recordings, redoes those whose file changed
    and mends what is damaged. One window is 0.46 MB as a scalogram.
    """
    from cache.build import build_cache, choose_folder
    from kernel.scalogram import ScalogramConfig

    inputs: list[Any] = [ScalogramConfig()]
    if args.model:
        from training.recipe import read_recipe

        inputs = list(dict.fromkeys(read_recipe(args.model)[0].inputs))
    for config in inputs:
        folder = choose_folder(args.out or args.data / "cache", config)
        made = build_cache(
            args.data, folder, config, per_pattern=args.per_pattern, jobs=args.jobs, scheduler=args.scheduler
        )
        print(
            f"{made.folder}: {made.windows} windows of {made.recordings} recordings, {made.size / 1e6:.1f} MB; "
            f"{made.written} of {made.shards} shards written, the others were up to date"
        )
    return 0
