#!/usr/bin/env python
"""The one command line of the project: parses, calls the room that does the work, prints what it answers.

`python build.py --help` lists the commands, `python build.py COMMAND --help` says what each takes. The Makefile's
targets call these commands inside `.venv`. Only the standard library is imported before a command is known, so that
`--help` answers at once and a missing package is named in one line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
Run = Callable[[argparse.Namespace], int | None]
COMMANDS: dict[str, tuple[Run, list[tuple[tuple[str, ...], dict[str, Any]]]]] = {}


def argument(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Describe one argument as `ArgumentParser.add_argument` takes it."""
    return names, options


def command(name: str, *arguments: tuple[tuple[str, ...], dict[str, Any]]) -> Callable[[Run], Run]:
    """Register a function as `build.py NAME`; its docstring is the help, its return value the exit status."""

    def register(run: Run) -> Run:
        COMMANDS[name] = (run, list(arguments))
        return run

    return register


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all registered commands."""
    parser = argparse.ArgumentParser(prog="build.py", description="From raw EEG to a Kaggle submission, offline.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (run, arguments) in COMMANDS.items():
        text = (run.__doc__ or "").strip()
        sub = commands.add_parser(
            name,
            help=text.splitlines()[0].rstrip("."),
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for names, options in arguments:
            sub.add_argument(*names, **options)
        sub.set_defaults(run=run)
    return parser


@command(
    "simulate",
    argument("--out", type=Path, default=ROOT / "dist" / "simulated", help="folder to write [%(default)s]"),
    argument("--recordings", type=int, default=200, help="training recordings [%(default)s]"),
    argument("--test-recordings", type=int, help="hidden test recordings [a tenth of them]"),
    argument("--seed", type=int, default=0, help="same seed, same bytes [%(default)s]"),
    argument("--workers", type=int, default=1, help="processes [%(default)s]"),
    argument("--gallery", type=Path, metavar="FILE.png", help="draw pages of every class instead of writing data"),
    argument("--compare", type=Path, metavar="DIR", help="print real and simulated figures (and draw both: --gallery)"),
)
def run_simulate(args: argparse.Namespace) -> int:
    """Write a simulated data set in the competition's layout; run again to go on with an interrupted one."""
    from simulator.dataset import write_data_set

    if args.gallery or args.compare:
        from simulator.gallery import show_gallery

        show_gallery(args.gallery, args.compare, args.seed)
        return 0
    write_data_set(
        args.out,
        recordings=args.recordings,
        test_recordings=args.test_recordings,
        seed=args.seed,
        workers=args.workers,
    )
    print(f"{args.out}: {args.recordings} simulated recordings, seed {args.seed}")
    return 0


@command(
    "eda",
    argument("--data", type=Path, required=True, help="folder with train.csv, and train_eegs/ where there is one"),
    argument("--out", type=Path, default=ROOT / "dist" / "report.html", help="page to write [%(default)s]"),
    argument("--sample", type=int, default=600, metavar="N", help="recordings to read, 0 for none [%(default)s]"),
    argument("--seed", type=int, default=0, help="which recordings those are [%(default)s]"),
    argument("--ideal", type=float, default=0.9, help="ideal: one class has more than this share [%(default)s]"),
    argument("--half", type=float, default=0.45, help="proto, edge: two have at least this share [%(default)s]"),
)
def run_eda(args: argparse.Namespace) -> int:
    """Write the report on a training set: one page, its pictures and tables in a folder beside it."""
    from eda.cases import CaseThresholds
    from eda.report import ReportConfig, write_report

    config = ReportConfig(args.sample, args.seed, CaseThresholds(args.ideal, args.half))
    folder = write_report(args.data, args.out, config)
    print(f"{args.out}: the report; pictures and tables in {folder}")
    return 0


@command(
    "show",
    argument("eeg_id", type=int, metavar="EEG_ID", help="the recording"),
    argument("--data", type=Path, required=True, help="folder with train_eegs/ or test_eegs/"),
    argument("--offset", type=float, metavar="S", help="start of the window [the most voted, or the centre]"),
    argument("--weights", type=Path, default=ROOT / "weights", help="models for the prediction [%(default)s]"),
    argument("--out", type=Path, help="picture to write: .png, .pdf, .svg, ... [dist/show/EEG_ID.png]"),
)
def run_show(args: argparse.Namespace) -> int:
    """Draw one recording: the clinical page, its scalograms, the votes, the prediction."""
    from eda.show import show_recording

    out = args.out or ROOT / "dist" / "show" / f"{args.eeg_id}.png"
    for line in show_recording(args.data, args.eeg_id, out, offset=args.offset, weights=args.weights):
        print(line)
    print(out)
    return 0


@command(
    "train",
    argument(
        "--model", required=True, help="a recipe of training/recipes, a JSON file, or ensemble (a blend of models)"
    ),
    argument("--data", type=Path, help="folder with train.csv and train_eegs/"),
    argument("--draw", type=int, metavar="N", help="instead of --data: N simulated windows an epoch, none seen twice"),
    argument("--seed", type=int, default=0, help="of the simulated windows [%(default)s]"),
    argument("--store", type=Path, help="draw the N windows once and keep them here, for every epoch and model"),
    argument("--workers", type=int, default=1, help="processes that fill the store [%(default)s]"),
    argument(
        "--votes",
        choices=("cast", "expected"),
        default="cast",
        help="of simulated windows: the raters' votes, or the mean of all raters [%(default)s]",
    ),
    argument("--fold", default="all", help="a fold's number, several with commas, or all [%(default)s]"),
    argument("--out", type=Path, help="folder to write [dist/trained/MODEL]"),
    argument("--set", action="append", dest="changes", metavar="FIELD=VALUE", help="such as recipe.batch_size=64"),
    argument("--start-from", type=Path, help="a weights file of the same model, or a folder with one per fold"),
    argument("--backbone", type=Path, help="local ImageNet weights of EfficientNetV2-B2: a .h5 or a preset's folder"),
    argument("--cache", type=Path, help="inputs of --data, as `cache` stored them [DATA/cache]"),
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


def draw_window(seed: int, votes: str, index: int, many: bool = False) -> Any:
    """Draw window number `index` from the simulator: electrodes and votes, cast or expected."""
    from simulator.generate import simulate_window

    window = simulate_window(seed, index, population="many" if many else None)
    return window.samples, window.votes if votes == "cast" else window.truth["expected"] * window.votes.sum()


@command(
    "evaluate",
    argument("--model", required=True, help="a folder of weights/, or ensemble"),
    argument("--data", type=Path, required=True, help="folder with train.csv and its recordings"),
    argument("--weights", type=Path, default=ROOT / "weights", help="where the models lie [%(default)s]"),
    argument("--min-votes", type=int, default=10, help="score rows with as many votes or more [%(default)s]"),
    argument("--picture", type=Path, help="write a reliability diagram here [dist/evaluation/MODEL.png]"),
    argument("--table", type=Path, help="write every row's prediction here, as CSV"),
)
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


@command(
    "cache",
    argument("--data", type=Path, required=True, help="folder with train.csv and train_eegs/"),
    argument("--out", type=Path, help="folder of the stores, one for each kind of input [DATA/cache]"),
    argument("--model", help="store the inputs of this recipe (default: the standard scalogram)"),
    argument("--per-pattern", type=int, metavar="N", help="keep N windows of each recording and vote pattern [all]"),
    argument("--jobs", type=int, default=-1, help="processes; -1 for one a core [%(default)s]"),
    argument("--scheduler", metavar="tcp://HOST:8786", help="run on this Dask cluster, whose workers see the folders"),
)
def run_cache(args: argparse.Namespace) -> int:
    """Store the inputs of every labelled window, for training to read instead of computing.

    Run again it checks everything, goes on with what is missing, adds new recordings, redoes those whose file changed
    and mends what is damaged. One window is 0.46 MB as a scalogram.
    """
    from dataset_builder.cache import build_cache, choose_folder
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


def main(argv: list[str] | None = None) -> int:
    """Run one command; print one line and return non-zero where the user can mend it."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (ROOT / str(error.name).split(".")[0]).exists():
            raise
        print(f"error: the package {error.name!r} is not installed: run `make setup` first", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


@command(
    "bundle",
    argument("--out", type=Path, default=ROOT / "dist" / "dataset", help="folder to write (default: dist/dataset)"),
    argument("--owner", help="your user name on Kaggle, for the data set's metadata"),
)
def bundle(args: argparse.Namespace) -> None:
    """Pack code, weights and wheels into dist/dataset."""
    from dataset_builder.bundle import build_bundle

    manifest = build_bundle(args.out, owner=args.owner)
    size = sum(entry["size"] for entry in manifest["files"])
    models = ", ".join(f"{model['name']} ({model['folds']} folds)" for model in manifest["models"])
    print(f"{args.out}: {len(manifest['files'])} files, {size / 1e6:.1f} MB, {models}, tree {manifest['tree_sha256']}")


@command(
    "rehearse",
    argument("--input", type=Path, help="folder with test.csv and test_eegs/ (default: a simulated hidden test)"),
    argument("--out", type=Path, default=ROOT / "dist" / "rehearsal", help="where submission.csv and the log go"),
    argument("--layout", choices=("flat", "nested"), default="flat", help="where Kaggle mounts data sets"),
    argument("--isolation", choices=("auto", "namespace", "guard"), default="auto", help="how to cut the network"),
    argument("--budget", type=float, metavar="SECONDS", help="time that the kernel may take (default: 8.5 hours)"),
    argument("--recordings", type=int, default=64, help="size of the simulated hidden test (default: 64)"),
    argument("--seed", type=int, default=0, help="seed of the simulated hidden test (default: 0)"),
)
def rehearse(args: argparse.Namespace) -> None:
    """Run the kernel on a hidden test with the network cut, and judge its submission.

    Builds the bundle, mounts it and the input as Kaggle does, runs the pushed file and checks what it wrote. The last
    line is JSON: rows, fallbacks, seconds, ms_per_recording, peak_rss_mb, and kl where the input has votes.
    """
    from dataset_builder.bundle import build_bundle
    from publisher import rehearse as room

    source = args.input
    if source is None:
        from simulator.dataset import write_hidden_test

        source = ROOT / "dist" / f"hidden_test_{args.recordings}_{args.seed}"
        write_hidden_test(source, recordings=args.recordings, seed=args.seed)
    bundle = ROOT / "dist" / "dataset"
    build_bundle(bundle)
    result = room.rehearse(
        source, args.out, bundle=bundle, layout=args.layout, isolation=args.isolation, budget=args.budget
    )
    report = result.report
    print(f"\n{result.submission}: {report['rows']} rows, {report['fallbacks']} answered with the prior")
    print(f"{report['ms_per_recording']:.0f} ms a recording, {result.seconds:.1f} s in all with loading")
    if result.scores:
        kl, uniform, prior = (result.scores[name] for name in ("kl", "kl_uniform", "kl_prior"))
        print(f"KL {kl:.3f}; uniform {uniform:.3f}, prior {prior:.3f}")
    print(json.dumps(result.to_json()))


PUBLISHING = (
    argument("--owner", help="user or organisation on Kaggle (default: the credential's user)"),
    argument("--dataset", metavar="SLUG", help="the data set's slug (default: hms-scalogram-bundle)"),
    argument("--kernel", metavar="SLUG", help="the kernel's slug (default: hms-scalogram-inference)"),
    argument("--competition", metavar="SLUG", help="the competition's slug"),
    argument("--dist", type=Path, default=ROOT / "dist", help="folder of the bundle and the record (default: dist)"),
    argument("--json", action="store_true", help="print one JSON object; lines for people go to standard error"),
    argument("--timeout", type=float, default=60, help="seconds that one call may take [%(default)s]"),
    argument("--interval", type=float, default=5, help="seconds before the second look; they grow [%(default)s]"),
    argument("--patience", type=float, default=3600, help="seconds to wait for a data set in all [%(default)s]"),
)
FORCE = argument("--force", action="store_true", help="overwrite what is not ours; push or submit once more")


def _target(args: argparse.Namespace, owner: str) -> Any:
    """Return where on Kaggle a command works, from its arguments and the credential's user."""
    from dataset_builder.metadata import Target

    given = {name: getattr(args, name) for name in ("owner", "dataset", "kernel", "competition")}
    return Target(**{"owner": owner, **{name: value for name, value in given.items() if value}})


def _connect(args: argparse.Namespace, screen: Any) -> Any:
    """Sign in to Kaggle with the waiting times that were asked for."""
    from publisher.client import Kaggle
    from publisher.pace import Pace

    return Kaggle(Pace(timeout=args.timeout, interval=args.interval, patience=args.patience), screen.say, screen.wait)


@command(
    "push",
    *PUBLISHING,
    FORCE,
    argument("--submit", action="store_true", help="wait for the run and submit it when it completes"),
    argument("--with-cache", type=Path, metavar="DIR", help="publish stored inputs too: DIR is what `cache` wrote"),
    argument("--input", type=Path, help="what to rehearse on (default: a small simulated hidden test)"),
)
def run_push(args: argparse.Namespace) -> int:
    """Rehearse the bundle, publish it as a data set, push the kernel, record the versions.

    Creates the data set, versions it, or leaves it alone when its content is the same; waits until it is READY and
    reads back with our hash. Killed at any moment and run again it goes on, and nothing is published twice.
    """
    from dataset_builder.bundle import build_bundle
    from publisher.push import push
    from publisher.record import read_record
    from publisher.rehearse import rehearse
    from publisher.screen import Screen, show
    from publisher.submit import submit_when_complete

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        def rehearse_bundle(bundle: Path, code_file: Path) -> None:
            source = args.input
            if source is None:
                from simulator.dataset import write_hidden_test

                source = args.dist / "hidden_test_8_0"
                write_hidden_test(source, recordings=8, seed=0)
            rehearse(source, args.dist / "rehearsal", bundle=bundle, code_file=code_file, log=screen.say)

        kaggle = _connect(args, screen)
        target = _target(args, kaggle.credential.username)
        push(
            kaggle,
            target,
            args.dist,
            build_bundle=lambda target, bundle: build_bundle(bundle, owner=target.owner),
            rehearse_bundle=rehearse_bundle,
            force=args.force,
        )
        if args.with_cache:
            from publisher.cache import push_cache

            push_cache(kaggle, target.owner, args.with_cache, args.dist, force=args.force)
        lines, status = (
            [f"{args.dist / 'published.json'} says which version is which; `make status` follows the run"],
            0,
        )
        if args.submit:
            lines, status = submit_when_complete(kaggle, target, args.dist, screen)
        return read_record(args.dist), lines, status

    return show(work, as_json=args.json)


@command(
    "status",
    *PUBLISHING,
    argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="look again until there is a score or a failure (default: on a terminal)",
    ),
)
def run_status(args: argparse.Namespace) -> int:
    """Show data set, run and submission; exit with 0 only for success, 1 for a failure, 3 while Kaggle is at work."""
    from publisher.screen import Screen, show
    from publisher.status import EXIT, Watcher, watch

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        watcher = Watcher(kaggle, _target(args, kaggle.credential.username), args.dist)
        watching = sys.stdout.isatty() if args.watch is None else args.watch
        report = watch(watcher, screen) if watching else watcher.look()
        return report.as_dict(), report.lines(), EXIT[report.state]

    try:
        return show(work, as_json=args.json)
    except KeyboardInterrupt:
        print("\nstopped looking; everything on Kaggle goes on: `make status` looks again", file=sys.stderr)
        return 130


@command("submit", *PUBLISHING, FORCE)
def run_submit(args: argparse.Namespace) -> int:
    """Submit the exact kernel version that was pushed, once its run has ended well."""
    from publisher.screen import Screen, show
    from publisher.submit import submit

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        answer = submit(kaggle, _target(args, kaggle.credential.username), args.dist, force=args.force)
        return answer, [f"submitted as {answer['submission']}; `make status` shows its score"], 0

    return show(work, as_json=args.json)


@command("output", *PUBLISHING)
def run_output(args: argparse.Namespace) -> int:
    """Bring the outputs of the pushed version into dist/output, every file checked, and judge the submission."""
    from publisher.output import bring_output
    from publisher.screen import Screen, show

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        return bring_output(kaggle, _target(args, kaggle.credential.username), args.dist)

    return show(work, as_json=args.json)


@command("doctor", *PUBLISHING)
def run_doctor(args: argparse.Namespace) -> int:
    """Check credentials, client, names, bundle and what the kernel asks for; each finding comes with its mend."""
    from publisher.doctor import doctor
    from publisher.screen import Screen, show

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        return doctor(lambda: _connect(args, screen), lambda owner: _target(args, owner), args.dist)

    return show(work, as_json=args.json)


@command(
    "bench",
    argument("names", nargs="*", help="which of them, by file name in benchmarks/ (default: all)"),
)
def run_bench(args: argparse.Namespace) -> int:
    """Measure speed and memory against the alternatives, as ratios.

    Each measurement is a module of benchmarks/ and runs in a process of its own.
    """
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
    unknown = [name for name in args.names if name not in known]
    if unknown:
        raise ValueError(f"no benchmark called {', '.join(unknown)}; there are {', '.join(known)}")
    status = 0
    for name in args.names or known:
        print(f"\n== {name}", flush=True)
        status |= subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
