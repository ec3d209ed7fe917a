"""The report on a training set: measures, draws, writes one self-contained page, its pictures and tables beside it.

`report.html` has everything in it; `report_files/` holds the same pictures as PNG, the tables as CSV and the
configuration.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

import eda.signals
from eda.content import Content, write_whole
from eda.examples import add_examples, choose_examples
from eda.rows import list_files, read_windows, sort_cases
from eda.shape import add_shape, measure_recordings
from eda.signals import add_signals, choose_sample, measure_signals
from eda.style import CLASS_COLOURS, count, drawing, number, percent
from eda.votes import add_cases, add_votes
from kernel.scalogram import ScalogramConfig


@dataclass(frozen=True)
class ReportConfig:
    """What a report was made with; `config.json` beside its tables."""

    sample: int = 600
    """Recordings whose signals are read, 0 for none."""
    seed: int = 0
    """Which recordings those are."""
    ideal: float = 0.9
    """In an ideal case one class has more than this share of the votes."""
    half: float = 0.45
    """In proto and edge cases two classes have at least this share each."""
    scalogram: ScalogramConfig = field(default_factory=ScalogramConfig)
    """How the examples' scalograms are computed."""

    def __post_init__(self) -> None:
        if self.sample < 0:
            raise ValueError(f"the number of recordings to read must not be negative, found {self.sample}")
        if not 0.5 <= self.ideal < 1:
            raise ValueError(f"the threshold of ideal cases must lie in [0.5, 1), found {self.ideal}")
        if not 1 / 3 < self.half <= 0.5:
            raise ValueError(f"the threshold of about half must lie in (1/3, 0.5], found {self.half}")


def write_report(data: Path, out: Path, config: ReportConfig) -> Path:
    """Write the report on a training set, and return the folder of its pictures and tables, beside the page.

    Every row of train.csv and every recording's footer is read, and the signals of `config.sample` recordings, one at a
    time: memory does not grow with the number or the length of the recordings.

    Raises
    ------
    FileNotFoundError, ValueError
        If train.csv cannot be read, as `kernel.table.read_rows`, or `out` is a folder.
    OSError
        If something cannot be written; an earlier page is then still there.
    """
    if out.is_dir():
        raise ValueError(f"{out}: is a folder; name the page to write, such as {out / 'report.html'}")
    rows = sort_cases(read_windows(data), config.ideal, config.half)
    if not (rows["n_votes"] > 0).any():
        raise ValueError(f"{data / 'train.csv'}: no row has a vote; is it the right file?")
    files = list_files(data, rows)
    recordings = measure_recordings(rows, files)
    sample = choose_sample(rows, files, config.sample, config.seed)
    signals = measure_signals(sample, files)
    recordings["error"] = recordings["error"].fillna(signals.errors)
    content = Content()
    with drawing():
        add_shape(content, rows, recordings)
        add_votes(content, rows)
        add_cases(content, rows)
        add_signals(content, signals, recordings)
        if len(sample):
            add_examples(content, choose_examples(rows, files), config.scalogram)
    folder = out.with_name(f"{out.stem}_files")
    page = _load_template().render(
        **vars(content),
        **content.facts,
        data=data.resolve().name,
        folder=folder.name,
        simulated=(data / "simulator.json").exists(),
        rows=rows,
        recordings=recordings,
        finding=content.add_finding,
        config=config,
        limits=eda.signals,
        colours=CLASS_COLOURS,
    )
    findings = pd.DataFrame(content.findings).sort_values("act", ascending=False, kind="stable")
    content.files["config.json"] = (json.dumps(asdict(config), indent=2) + "\n").encode()
    content.tables["findings"] = findings.set_index("title")
    content.write(folder)
    write_whole(out, page.encode())
    return folder


def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _write_cell, "counted": count, "number": number, "percent": percent}
    return environment.get_template("report.html.j2")


def _write_cell(value: float | str) -> str:
    """Write a cell of a table for the page: text as it is, whole numbers whole, others with three digits."""
    return value if isinstance(value, str) else number(value, 0 if value == int(value) else 3)
