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

from eda.cases import CaseThresholds, build_cases_section, sort_cases
from eda.examples import build_examples_section, choose_examples
from eda.remarks import find_remarks, list_recordings_to_leave_out
from eda.rows import list_files, read_windows
from eda.section import Section, Table
from eda.shape import build_shape_section, measure_covered, measure_recordings
from eda.signals import build_signals_section, choose_sample, measure_signals
from eda.style import CLASS_COLOURS, drawing, number, percent
from eda.votes import build_votes_section
from kernel.files import replacing
from kernel.scalogram import ScalogramConfig

TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True)
class ReportConfig:
    """What a report was made with; `config.json` beside its tables."""

    sample: int = 600
    """Recordings whose signals are read, 0 for none."""
    seed: int = 0
    """Which recordings those are."""
    thresholds: CaseThresholds = field(default_factory=CaseThresholds)
    """Where ideal and half-and-half cases begin."""
    scalogram: ScalogramConfig = field(default_factory=ScalogramConfig)
    """How the examples' scalograms are computed."""

    def __post_init__(self) -> None:
        if self.sample < 0:
            raise ValueError(f"the number of recordings to read must not be negative, found {self.sample}")


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
    rows = read_windows(data)
    if not (rows["n_votes"] > 0).any():
        raise ValueError(f"{data / 'train.csv'}: no row has a vote; is it the right file?")
    rows = sort_cases(rows, config.thresholds)
    files = list_files(data, rows)
    recordings = measure_recordings(rows, files)
    sample = choose_sample(rows, files, config.sample, config.seed)
    signals = measure_signals(sample, files) if len(sample) else None
    with drawing():
        sections = [
            build_shape_section(rows, recordings),
            build_votes_section(rows),
            build_cases_section(rows, config.thresholds),
        ]
        if signals is not None:
            recordings["error"] = recordings["error"].fillna(signals.errors)
            available = int((recordings["file"] & (recordings["rows"] > 0)).sum())
            sections.append(build_signals_section(signals, available))
            chosen = choose_examples(rows, files)
            sections.append(build_examples_section(chosen, config.scalogram))
        else:
            sections.append(_without_signals(bool(files)))
    remarks = find_remarks(rows, recordings, signals)
    tiles = {
        "rows": number(len(rows)),
        "recordings": number((recordings["rows"] > 0).sum()),
        "patients": number(rows["patient_id"].nunique()),
        "spectrogram ids": number(rows["spectrogram_id"].nunique()),
        "hours of EEG under a window": number(measure_covered(rows, recordings) / 3600, 1),
        "rows with 10 votes or more": percent(float(rows["many"].mean())),
    }
    folder = out.with_name(f"{out.stem}_files")
    tables = [
        Table("findings", "What it means for training", pd.DataFrame(remarks)),
        Table("recordings_to_leave_out", "Recordings to leave out", list_recordings_to_leave_out(recordings, signals)),
    ]
    _write_files(folder, sections, tables, config)
    page = _load_template().render(
        data=data.resolve().name,
        folder=folder.name,
        simulated=(data / "simulator.json").exists(),
        tiles=tiles,
        remarks=remarks,
        sections=sections,
        config=config,
        colours=CLASS_COLOURS,
    )
    _write(out, page.encode())
    return folder


def _without_signals(have_files: bool) -> Section:
    why = "No recording was to be read" if have_files else "There are no recordings beside train.csv"
    text = f"{why}: amplitudes, gaps, spectra, line noise and the example pages are left out."
    return Section("signals", "Signals", [text])


def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _write_cell
    return environment.get_template(TEMPLATE.name)


def _write_cell(value: float | str) -> str:
    """Write a cell of a table for the page: text as it is, whole numbers whole, others with three digits."""
    if isinstance(value, str):
        return value
    return number(value, 0 if value == int(value) else 3)


def _write_files(folder: Path, sections: list[Section], tables: list[Table], config: ReportConfig) -> None:
    """Write pictures, tables and configuration, each whole or not at all; then what an earlier report left goes."""
    contents = {"config.json": (json.dumps(asdict(config), indent=2) + "\n").encode()}
    for section in sections:
        for picture in [*section.pictures, *(p for example in section.examples for p in example.pictures)]:
            contents[f"figures/{picture.name}.png"] = picture.png
        tables = [*tables, *section.tables]
    for table in tables:
        contents[f"tables/{table.name}.csv"] = table.frame.to_csv(index=False).encode()
    for name, content in contents.items():
        _write(folder / name, content)
    for old in [*folder.glob("figures/*.png"), *folder.glob("tables/*.csv")]:
        if old.relative_to(folder).as_posix() not in contents:
            old.unlink()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)
