"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TRAINED = ROOT / "dist" / "trained"
"""Where `train` writes a model, and `ship` takes it from."""
WEIGHTS = ROOT / "weights"
"""What ships."""
RECIPES = sorted(path.stem for path in Path(__file__).with_name("recipes").glob("*.json"))
FIELDS = """fields for --set, a value is JSON:
  recipe.FIELD            stages, augmentation, batch_size, weight_decay, ema_momentum, prior_votes, shift_seconds,
                          precision, folds, validation_windows, seed, calibrated
  recipe.stages.N.FIELD   name, epochs, learning_rate, min_votes, min_top_share, weight_by_votes, windows
  recipe.augmentation.NAME=PROBABILITY
                          crop_and_concatenate, mixup, mirror, time_reversal, sign, speed, gain, band_stop,
                          tilt, field, waveform, lag, colour, swell, noise, channel_dropout, short
  model.FIELD             network, inputs, options, temperature, prior_share
  model.inputs.N.FIELD, model.options.FIELD
                          of the input and the network: a wrong name lists what there is"""


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("train", help="Train a model's folds", epilog=FIELDS)
    command.set_defaults(run=run_train)
    add = command.add_argument
    add("--model", required=True, help=f"a JSON file, or a recipe of training/recipes: {', '.join(RECIPES)}")
    add("--data", type=Path, help="folder with train.csv and train_eegs/")
    add("--draw", type=int, metavar="N", help="instead of --data: N simulated windows an epoch, none seen twice")
    add("--seed", type=int, default=0, help="of the simulated windows")
    add("--workers", type=int, help="processes that draw them ahead [one a core]")
    add(
        "--votes",
        choices=("cast", "expected"),
        default="cast",
        help="of simulated windows, drawn or in --data: the raters' votes, or the mean of all raters",
    )
    add("--mix", type=Path, nargs="+", metavar="DIR", help="folders to draw more windows from, classes equally often")
    add("--mix-share", type=float, default=0.33, help="of the windows of --mix in an epoch")
    add("--fold", default="all", help="a fold's number, several with commas, or all")
    add("--out", type=Path, help="folder to write [dist/trained/MODEL]")
    add(
        "--set",
        action="append",
        dest="changes",
        metavar="FIELD=VALUE",
        help="change a field of the recipe, such as recipe.batch_size=64; again for another. Fields are listed below",
    )
    add(
        "--start-from",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="a weights file of the same model, or a folder with one per fold; the mean of several",
    )
    add("--backbone", type=Path, help="local ImageNet weights of EfficientNetV2-B2: a .h5 or a preset's folder")
    add("--cache", type=Path, help="what `cache` made of --data [DATA/cache]")

    command = commands.add_parser("evaluate", help="Score a model on recordings with votes")
    command.set_defaults(run=run_evaluate)
    add = command.add_argument
    add("--model", required=True, help="a trained model's name, or ensemble for the blend that ships")
    add("--data", type=Path, nargs="+", required=True, metavar="DIR", help="folders with train.csv and its recordings")
    add("--weights", type=Path, help="folder of the models [dist/trained, then weights]")
    add("--min-votes", type=int, default=10, help="score rows with as many votes or more")
    add("--halves", action="store_true", help="score two halves too: choose on one, confirm on the other")
    add("--table", type=Path, help="write every row's prediction here, as CSV")

    command = commands.add_parser("ship", help="Put trained models into weights/: verified, blended, nothing lost")
    command.set_defaults(run=run_ship)
    add = command.add_argument
    add("models", nargs="*", metavar="MODEL", help="a model of dist/trained, or a folder [fit the shares anew]")
    add("--replace", action="store_true", help="ship these alone, in place of all that ship now")
    add("--on", type=Path, nargs="+", metavar="DIR", help="folders to fit the shares on [what the folds left out]")
    add("--min-votes", type=int, default=10, help="fit them on rows of --on with as many votes or more")
    add(
        "--keep",
        action="append",
        default=[],
        metavar="MODEL=FOLD,FOLD",
        help="of this model ship these folds alone, with the share that all of them earn; again for another",
    )
    add("--yes", action="store_true", help="do not ask")
    add("--weights", type=Path, default=WEIGHTS, help="folder of what ships")

    command = commands.add_parser("cache", help="Prepare every labelled window of a folder once, for training")
    command.set_defaults(run=run_cache)
    add = command.add_argument
    add("--data", type=Path, required=True, help="folder with train.csv and train_eegs/")
    add("--out", type=Path, help="folder of the cache [DATA/cache]")
    add("--per-pattern", type=int, metavar="N", help="keep N windows of each recording and vote pattern [all]")
    add("--jobs", type=int, default=-1, help="processes; -1 for one a core")
    add("--scheduler", metavar="tcp://HOST:8786", help="run on this Dask cluster, whose workers see the folders")


def run_train(args: argparse.Namespace) -> int:
    """Train a model's folds; run again to go on with an interrupted one."""
    from training.cross_validation import train_model
    from training.drawn import draw_windows
    from training.evaluation import print_summary
    from training.folds import choose_folds
    from training.mixed import mix_windows
    from training.recipe import read_recipe
    from training.windows import WindowSource, open_cache, read_folder

    if (args.data is None) == (args.draw is None):
        raise ValueError("give either --data DIR or --draw N, the data to train on")
    if args.cache and not args.cache.is_dir():
        raise FileNotFoundError(f"{args.cache}: no such folder; `python build.py cache --data DIR` makes one")
    config, recipe = read_recipe(args.model, args.changes)
    data: WindowSource
    if args.data:
        data = read_folder(args.data, open_cache(args.cache or args.data / "cache"), votes=args.votes)
    else:
        data = draw_windows(args.draw, args.seed, votes=args.votes, workers=args.workers)
    if args.mix:
        data = mix_windows(data, args.mix, args.mix_share)
    folds = choose_folds(args.fold, range(recipe.folds))
    name = Path(args.model).stem
    out = args.out or TRAINED / name
    metrics = train_model(config, recipe, data, folds, out, start_from=args.start_from, backbone=args.backbone)
    print(f"{out}: {'fold' if len(metrics['folds']) == 1 else 'folds'} {', '.join(metrics['folds'])}; out of fold:")
    print_summary(metrics["out_of_fold"])
    print(f"to ship it: python build.py ship {name if out == TRAINED / name else out}")
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    """Score a model on recordings with votes: KL with an interval, by class, confusion, reliability.

    What a model was trained on is answered out of fold: by the fold that did not see the patient; a model that does not
    say which patients its folds have seen is answered by all of them, with a warning. Several folders are
    pooled, and scored one by one too. Intervals are of a bootstrap by patient. The two halves of --halves have the same
    share of each class and no patient in common; the same folders always give the same halves.
    """
    from training.evaluation import describe_table, print_summary, write_reliability
    from training.folds import assign_halves
    from training.scoring import cut_parts, find_models, predict_folders

    models, temperature = find_models(args.model, [args.weights] if args.weights else [TRAINED, WEIGHTS])
    print(f"model: {', '.join(f'{folder} ({share:.3f})' for folder, share in models.items())}")
    table = predict_folders(args.data, models, args.min_votes, temperature)
    table.insert(1, "half", assign_halves(table))
    summary = describe_table(table)
    print(f"{' and '.join(table['data'].unique())}:")
    print_summary(summary)
    for title, part in cut_parts(table, args.halves):
        print(f"{title}:")
        print_summary(describe_table(part), confusion=False)
    picture = ROOT / "dist" / "evaluation" / f"{args.model}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_reliability(summary, picture)
    print(f"reliability diagram: {picture}")
    if args.table:
        table.to_csv(args.table, index=False)
    return 0


def run_ship(args: argparse.Namespace) -> int:
    """Ship trained models: verify them, fit their shares of the answer, compare with what ships now, and put them in.

    Shares are fitted on the rows that all the models have predicted out of fold, and with them a temperature that makes
    all surer or less sure, where cross-validation says that it helps. Models without such rows, because one was trained
    on simulated data and another on the competition's, are asked about the recordings of --on (out of fold where they
    were trained on them), or --replace ships the new ones alone. Without a model's name only the shares are fitted
    anew. What ships is stored in eight bits a value, half of what was trained and with nearly its answers; the trained
    weights stay as they are. What shipped before is kept in dist/replaced.
    """
    return ship_models(args.models, args.weights, args.replace, args.yes, args.on, args.min_votes, args.keep)


def ship_models(
    names: list[str],
    weights: Path,
    replace: bool,
    yes: bool,
    on: list[Path] | None = None,
    min_votes: int = 10,
    keep: Sequence[str] = (),
) -> int:
    """Do what `run_ship` says, for models of dist/trained or folders; return the exit status."""
    from training.shipping import name_copy, plan_shipment, ship

    folders = [Path(name) if Path(name).is_dir() else TRAINED / name for name in names]
    shipment = plan_shipment(folders, weights, replace=replace, on=on, min_votes=min_votes, keep=keep)
    print("\n".join(shipment.lines))
    if not yes:
        if not sys.stdin.isatty():
            raise ValueError("nothing was changed: --yes ships it without asking")
        if input("ship this? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was changed")
            return 1
    replaced = name_copy(ROOT / "dist" / "replaced")
    ship(shipment, replaced)
    print(f"{weights}: ships {', '.join(model.name for model in shipment.models)}; what was there is in {replaced}")
    card = weights / "README.md"
    if card.is_file():
        print(f"{card} tells of what shipped before: bring it up to date, then `make rehearse`")
    return 0


def run_cache(args: argparse.Namespace) -> int:
    """Prepare every labelled window of a folder once: its channels, which serve every training.

    Run again it checks everything, goes on with what is missing, adds new recordings, redoes those whose file changed
    and repairs what is damaged.
    """
    from cache.build import build_cache

    folder = args.out or args.data / "cache"
    made = build_cache(args.data, folder, per_pattern=args.per_pattern, jobs=args.jobs, scheduler=args.scheduler)
    print(
        f"{made.folder}: {made.windows} windows of {made.recordings} recordings, {made.size / 1e6:.1f} MB; "
        f"{made.written} of {made.shards} shards written, the others were up to date"
    )
    return 0
