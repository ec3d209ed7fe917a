"""The report on a training set: measures, draws, writes one self-contained page, its pictures and tables beside it.

Called by `build.py eda`. `report.html` has everything in it; `report_files/` holds the same pictures as PNG, the tables
as CSV and the configuration.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from eda.cases import CaseThresholds, build_cases_section, sort_cases
from eda.examples import build_examples_section, choose_examples
from eda.findings import find
from eda.leave_out import list_recordings_to_leave_out
from eda.rows import find_recordings, read_rows
from eda.section import Finding, Section, Table
from eda.shape import Shape, build_shape_section, measure_shape
from eda.signals import build_signals_section, choose_sample, measure_signals
from eda.style import CLASS_COLOURS, drawing, number, percent
from eda.votes import build_votes_section, measure_votes
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


def write_report(data: Path, out: Path, config: ReportConfig, progress: bool = True) -> Path:
    """Write the report on the training set in `data` to `out`, and its files beside it; return their folder.

    Raises
    ------
    FileNotFoundError, ValueError
        If train.csv cannot be read, as `read_rows`, or `out` is a folder.
    """
    if out.is_dir():
        raise ValueError(f"{out}: is a folder; name the page to write, such as {out / 'report.html'}")
    rows = read_rows(data)
    if not (rows["n_votes"] > 0).any():
        raise ValueError(f"{data / 'train.csv'}: no row has a vote; is it the right file?")
    files = find_recordings(data, rows)
    with drawing():
        shape = measure_shape(rows, files, progress)
        votes = measure_votes(rows)
        cases = sort_cases(rows, config.thresholds)
        sections = [build_shape_section(shape), build_votes_section(votes), build_cases_section(cases)]
        sample = choose_sample(rows, files, config.sample, config.seed)
        signals = measure_signals(sample, files, progress) if len(sample) else None
        if signals is not None:
            sections.append(
                build_signals_section(signals, len(rows.loc[rows["eeg_id"].isin(files), "eeg_id"].unique()))
            )
            chosen = choose_examples(rows, files, progress)
            sections.append(build_examples_section(chosen, config.scalogram, progress))
        else:
            sections.append(_without_signals(bool(files)))
    findings = find(rows, shape, votes, cases, signals)
    tables = [
        Table("findings", "What it means for training", pd.DataFrame([asdict(one) for one in findings])),
        Table("recordings_to_leave_out", "Recordings to leave out", list_recordings_to_leave_out(shape, signals)),
    ]
    folder = out.with_name(f"{out.stem}_files")
    _write_files(folder, sections, tables, config)
    simulated = (data / "simulator.json").exists()
    page = render_page(data, folder, simulated, shape, rows, findings, sections, config)
    part = out.with_name(f".{out.name}.part")
    part.write_text(page, encoding="utf-8")
    part.replace(out)
    return folder


def _without_signals(have_files: bool) -> Section:
    why = (
        "No recording was to be read (a sample of 0)"
        if have_files
        else "There are no recordings beside train.csv (train_eegs/*.parquet)"
    )
    text = f"{why}: amplitudes, gaps, spectra, line noise and the example pages are left out."
    return Section("signals", "Signals", [text])


def _write_files(folder: Path, sections: list[Section], tables: list[Table], config: ReportConfig) -> None:
    """Write pictures, tables and configuration; what an earlier report left under other names goes."""
    for sub, pattern in (("figures", "*.png"), ("tables", "*.csv")):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        for old in (folder / sub).glob(pattern):
            old.unlink()
    for section in sections:
        for picture in [*section.pictures, *(p for example in section.examples for p in example.pictures)]:
            (folder / "figures" / f"{picture.name}.png").write_bytes(picture.png)
        tables = [*tables, *section.tables]
    for table in tables:
        table.frame.to_csv(folder / "tables" / f"{table.name}.csv", index=False)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")


def render_page(
    data: Path,
    folder: Path,
    simulated: bool,
    shape: Shape,
    rows: pd.DataFrame,
    findings: list[Finding],
    sections: list[Section],
    config: ReportConfig,
) -> str:
    """Return the page as HTML."""
    tiles = [
        ("rows", number(shape.totals["rows"])),
        ("recordings", number(shape.totals["recordings"])),
        ("patients", number(shape.totals["patient_id"])),
        ("spectrogram ids", number(shape.totals["spectrogram_id"])),
        ("hours of EEG labelled", number(shape.covered_seconds / 3600, 1)),
        ("rows with 10 votes or more", percent(float(rows["many"].mean()))),
    ]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        data=data.resolve().name,
        folder=folder.name,
        simulated=simulated,
        tiles=tiles,
        findings=findings,
        sections=sections,
        colours=CLASS_COLOURS,
        config=config,
    )
