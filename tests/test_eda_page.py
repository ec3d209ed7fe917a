"""The report in a real browser at three widths, and what lies in its pictures; and one recording drawn on a sheet.

The browser is Debian's chromium with its driver (`apt-get install chromium chromium-driver`); without them its tests
are skipped.
"""

import itertools
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import build
import eda.examples
import eda.show
from eda.examples import rank_windows
from eda.page import CHAIN_NAMES, chain_rows, choose_gain, cone_of_influence, draw_page, draw_scalograms
from eda.report import ReportConfig, write_report
from eda.style import drawing, new_figure
from kernel.constants import CLASS_NAMES, SFREQ, VOTES, WINDOW_SAMPLES
from kernel.inputs import RawConfig
from kernel.montage import CHANNELS
from kernel.scalogram import ScalogramConfig, build_magnitude
from tests.conftest import make_eeg, write_recording

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)

UNREADABLE, UNNAMED, ABSENT, GAPPY = 7, 8, 9, 16

LOOK = """
const faults = [], wide = document.documentElement.clientWidth;
const words = e => (e.textContent || e.alt || '').trim().slice(0, 40);
const name = e => e.tagName + (e.className ? '.' + e.className : '') + ' ' + words(e);
for (const e of document.querySelectorAll('body *')) {
  const box = e.getBoundingClientRect(), display = getComputedStyle(e).display;
  if (display === 'none') continue;
  if (box.right > wide + 1 || box.left < -1) faults.push('outside the page: ' + name(e));
  if (display === 'inline') continue;
  if (e.clientWidth && e.scrollWidth > e.clientWidth + 1) faults.push('cut off: ' + name(e));
  if (e.clientHeight && e.scrollHeight > e.clientHeight + 2) faults.push('cut below: ' + name(e));
}
for (const e of document.images) {
  if (!e.complete || !e.naturalWidth) faults.push('not drawn: ' + name(e));
  if (e.alt.length < 20) faults.push('no alt text: ' + name(e));
  const shape = e.naturalWidth / e.naturalHeight, box = e.getBoundingClientRect();
  if (Math.abs(box.width / box.height / shape - 1) > 0.02) faults.push('distorted: ' + name(e));
  if (box.width < 280) faults.push('too small to read: ' + name(e));
}
for (const e of document.querySelectorAll('a[href^="#"]'))
  if (!document.getElementById(e.getAttribute('href').slice(1))) faults.push('leads nowhere: ' + name(e));
for (const e of performance.getEntriesByType('resource'))
  if (!e.name.startsWith('data:')) faults.push('fetched: ' + e.name);
for (const e of document.querySelectorAll('p, td, th, li, figcaption, h1, h2, h3'))
  if (parseFloat(getComputedStyle(e).fontSize) < 13) faults.push('small type: ' + name(e));
return faults;
"""


def write_training_set(folder) -> None:
    """Eighteen recordings, three a class, one with a hole, and one each: unreadable, without a row, without a file."""
    (folder / "train_eegs").mkdir()
    lines = []
    for number in range(18):
        c, eeg_id, kind = number % 6, 10 + number, number // 6
        eeg = make_eeg(WINDOW_SAMPLES + 10 * SFREQ, seed=number)
        if eeg_id == GAPPY:
            eeg[:, 4000:9000] = np.nan
        write_recording(folder / "train_eegs" / f"{eeg_id}.parquet", eeg)
        votes = np.zeros((2, 6), int)
        votes[:, c] = (12, 3, 6)[kind]
        votes[:, (c + 1) % 6] += (0, 0, 5)[kind]
        lines += [(eeg_id, 6.0 * k, 100 + eeg_id, kind, CLASS_NAMES[votes[k].argmax()], *votes[k]) for k in range(2)]
    (folder / "train_eegs" / f"{UNREADABLE}.parquet").write_bytes(b"not parquet" * 99)
    write_recording(folder / "train_eegs" / f"{UNNAMED}.parquet", make_eeg())
    lines += [(eeg_id, 0.0, eeg_id, 5, "LPD", 0, 4, 0, 0, 0, 0) for eeg_id in (UNREADABLE, ABSENT)]
    names = ["eeg_id", "eeg_label_offset_seconds", "spectrogram_id", "patient_id", "expert_consensus", *VOTES]
    pd.DataFrame(lines, columns=names).to_csv(folder / "train.csv", index=False)


@pytest.fixture(scope="module")
def training_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    write_training_set(folder)
    return folder


@pytest.fixture(scope="module")
def report(training_set, tmp_path_factory):
    """The report on that set, of whose examples the first is drawn; what reaches over a picture's edge is noted."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    cut, save, drawn = [], Figure.savefig, []

    def watch(figure, *arguments, **options):
        save(figure, *arguments, **options)  # lays the figure out
        if options["format"] == "png":
            box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
            if min(box.x0, box.y0, width - box.x1, height - box.y1) < -0.02:
                cut.append((options["metadata"]["Title"], box.extents.round(2).tolist(), (width, height)))

    def draw_once(draw):
        def wrapped(figure, *arguments):
            if draw in drawn:  # the examples are two drawings, twelve times, a second each
                figure.text(0.5, 0.5, "not drawn again")
            else:
                draw(figure, *arguments)
                drawn.append(draw)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", watch)
        for draw in (draw_page, draw_scalograms):
            patch.setattr(eda.examples, draw.__name__, draw_once(draw))
        files = write_report(training_set, out, ReportConfig())
    return out, files, cut


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not BROWSER or not DRIVER:
        pytest.skip(
            "no chromium with chromedriver here: `apt-get install chromium chromium-driver` to look at the page"
        )
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    chromium = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield chromium
    chromium.quit()


@pytest.mark.parametrize(
    ("width", "mobile", "medium"), [(360, True, "screen"), (1280, False, "screen"), (720, False, "print")]
)
def test_nothing_is_cut_off_or_missing(report, browser, width, mobile, medium):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium})
    browser.get(report[0].as_uri())
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script(LOOK) == []
    assert browser.execute_script("return document.images.length") == len(list(report[1].glob("figures/*.png")))
    headings = browser.execute_script("return [...document.querySelectorAll('h2')].map(e => e.textContent)")
    wanted = ["What it means for training", "Shape of the data", "Votes", "Ideal, proto and edge cases"]
    assert headings == [*wanted, "Signals", "Example pages"]


def test_cards_leave_no_hole_and_the_contents_stay_in_sight(report, browser):
    """Every row of cards ends where the others end, cards of a row are equally high, and every picture is listed."""
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
    browser.get(report[0].as_uri())
    groups = browser.execute_script(
        "return [...document.querySelectorAll('.cards, .findings')].map(group => [group.getBoundingClientRect().right,"
        "[...group.children].map(e => { const b = e.getBoundingClientRect(); return [b.top, b.right, b.bottom] })])"
    )
    rows = [(right, [b for b in boxes if b[0] == top]) for right, boxes in groups for top in {b[0] for b in boxes}]
    assert len(rows) > 8
    for right, row in rows:
        assert max(box[1] for box in row) == pytest.approx(right, abs=1)
        assert len({round(box[2]) for box in row}) == 1
    browser.execute_script("document.getElementById('examples').scrollIntoView()")
    links = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].filter(e => { const b = e.getBoundingClientRect();"
        "return b.height && b.top >= 0 && b.bottom <= innerHeight }).map(e => e.getAttribute('href').slice(1))"
    )
    assert {"findings", "shape", "votes", "cases", "signals", "examples", "co_vote", "example_gpd_clearest"} <= set(
        links
    )


def test_check_sees_what_is_cut_off(report, browser):
    browser.get(report[0].as_uri())
    browser.execute_script(
        "document.querySelector('h2').style.cssText = 'white-space: nowrap; width: 3em; overflow: hidden'"
    )
    browser.execute_script("document.images[0].src = 'data:image/png;base64,AAAA'; document.images[1].alt = ''")
    faults = " ".join(
        browser.execute_async_script(f"const done = arguments[0]; setTimeout(() => done((() => {{{LOOK}}})()), 300)")
    )
    assert all(word in faults for word in ("cut off: H2", "not drawn", "no alt text"))


def test_nothing_reaches_over_a_pictures_edge(report):
    assert report[2] == []


def test_page_stands_alone(report):
    page = re.sub(r'src="data:[^"]*"', "", report[0].read_text())
    assert not re.search(r"https?:|<script|<link|url\(|src=", page)
    assert 'lang="en"' in page


def test_findings_name_what_is_wrong_with_the_set(report):
    files = report[1]
    findings = pd.read_csv(files / "tables" / "findings.csv", index_col="title")
    assert "18 recordings" not in str(findings.loc["Rows without a file", "found"])
    assert "1 recording has" in findings.loc["Rows without a file", "found"]
    assert "1 file has" in findings.loc["Files without a row", "found"]
    assert f"{UNREADABLE}.parquet" in findings.loc["Recordings to leave out", "found"]
    assert bool(findings.loc["Split by patient", "act"])
    left_out = pd.read_csv(files / "tables" / "recordings_to_leave_out.csv", index_col="eeg_id").reason
    assert left_out.to_dict() == {UNREADABLE: "cannot be read"}
    signals = pd.read_csv(files / "tables" / "signals.csv", index_col="eeg_id")
    assert signals.nan_inside.idxmax() == GAPPY
    assert signals.nan_inside[GAPPY] == pytest.approx(5000 / 12000)


def test_examples_are_the_clearest_and_the_most_disputed(report):
    page = report[0].read_text()
    shown = re.findall(r"<h3>(\w+), the (clearest|most disputed)</h3>\s*<p>Recording (\d+),", page)
    assert [(name, kind) for name, kind, _ in shown] == list(
        itertools.product(CLASS_NAMES, ("clearest", "most disputed"))
    )
    expected = []
    for c in range(6):
        # GAPPY has more than a tenth of its window missing: another recording of its class must stand in.
        expected += [str(10 + c), str(22 + c)]
    assert [eeg_id for _, _, eeg_id in shown] == expected


def test_ranking_prefers_rows_with_many_votes_for_disputes():
    rows = pd.DataFrame(
        {"eeg_id": [1, 2, 3, 3], "consensus": "LPD", "top_share": [0.5, 0.6, 0.9, 1.0], "n_votes": [2, 15, 10, 12],
         "many": [False, True, True, True], "start": 0.0}
    )  # fmt: skip
    assert rank_windows(rows, "LPD", "disputed").eeg_id.tolist() == [2, 3, 1]
    assert rank_windows(rows, "LPD", "clearest").n_votes.tolist() == [12, 15, 2]


# The clinical page


def test_page_shows_every_channel_once_from_left_to_right():
    rows = [row for chain in CHAIN_NAMES for row in chain_rows(chain)]
    assert sorted(rows) == list(range(18))
    assert CHANNELS[rows[0]] == "Fp1-F7"
    assert CHANNELS[rows[-1]] == "T6-O2"


def test_no_label_lies_on_a_trace():
    """Not even where every trace reaches as far as it may."""
    times = np.arange(WINDOW_SAMPLES) / SFREQ
    channels = np.tile(100 * np.sin(2 * np.pi * 5 * times) * (1 + 30 * (times % 7 < 0.5)), (18, 1)).astype("f4")
    with drawing():
        figure = new_figure(5)
        draw_page(figure, channels, (15, 35))
        figure.canvas.draw()
    axes = figure.axes[0]
    traces = [line.get_window_extent() for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(traces) == 18
    assert min(trace.height for trace in traces) > 20  # tall ones
    texts = [*axes.texts, *axes.get_yticklabels()]
    assert len(texts) == 18 + len(CHAIN_NAMES) + 2
    for text in texts:
        box = text.get_window_extent()
        assert not any(box.overlaps(trace) for trace in traces), text.get_text()


def test_negative_is_up_and_the_scale_is_true():
    channels = np.random.default_rng(0).normal(0, 5, (18, WINDOW_SAMPLES)).astype("f4")
    times = np.arange(WINDOW_SAMPLES) / SFREQ
    channels[0] += -22 * np.exp(-(((times - 25) / 0.1) ** 2)).astype("f4")
    with drawing():
        figure = new_figure(5)
        draw_page(figure, channels, (15, 35))
        figure.canvas.draw()
    axes = figure.axes[0]
    trace = axes.lines[0]
    low, high = (axes.transData.transform((25, y))[1] for y in (trace.get_ydata().min(), np.median(trace.get_ydata())))
    assert low > high  # the negative wave stands above its base line
    scale = next(line for line in axes.lines if len(line.get_xdata()) == 2)
    gain = next(int(text.get_text().removesuffix(" µV")) for text in axes.texts if text.get_text().endswith(" µV"))
    depth = np.median(trace.get_ydata()) - trace.get_ydata().min()
    assert depth / np.ptp(scale.get_ydata()) * gain == pytest.approx(22, rel=0.2)


@pytest.mark.parametrize(("microvolts", "gain"), [(8, 50), (100, 500), (0, 20), (5000, 2000)])
def test_gain_fits_the_signal(microvolts, gain):
    noise = np.random.default_rng(0).normal(0, 1, (18, WINDOW_SAMPLES))
    assert choose_gain(microvolts * noise) == gain


@pytest.mark.parametrize("spacing", ["log", "linear"])
def test_scalograms_axes_are_true(spacing):
    """A cosine of 50 microvolts near 4 Hz lies at the tick that says 4, and has 50 in the colour bar's unit."""
    config = ScalogramConfig(spacing=spacing)
    freq = config.freqs[np.abs(config.freqs - 4).argmin()]
    wave = 50 * np.cos(2 * np.pi * freq * np.arange(WINDOW_SAMPLES) / SFREQ)
    magnitude = build_magnitude(np.tile(wave, (18, 1)).astype("f4"), config)
    figure = Figure(figsize=(4, 5))
    draw_scalograms(figure, magnitude, config, (1, 100))
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    image = axes.images[0].get_array()
    rows = np.asarray(image)[:, 300]
    assert abs(axes.get_yticks()[labels.index("4")] - rows.argmax()) < 0.6
    assert rows.max() == pytest.approx(50, rel=0.01)
    assert axes.images[0].get_extent()[:2] == [0, 50]


def test_cone_of_influence_is_where_an_edge_has_faded():
    """Its border is the e-folding time: a step's power there is 1 / e^2 of what it is at the edge, row by row."""
    config = ScalogramConfig(w0=7.0)
    times = np.linspace(0, 10, 20_001)
    for freq, reach in zip(config.freqs[::13], cone_of_influence(config)[::13], strict=True):
        envelope = np.exp(-0.5 * (times * 2 * np.pi * freq / config.w0) ** 2)
        assert np.interp(reach, times, envelope**2) == pytest.approx(np.exp(-2), rel=1e-3)


# One recording


def draw_nothing(*_):
    return Figure()


def test_show_draws_the_most_voted_window_or_the_one_asked_for(training_set, tmp_path, capsys, monkeypatch):
    out = tmp_path / "sheets" / "22.png"
    command = ["show", "22", "--data", str(training_set), "--weights", str(training_set), "--out", str(out)]
    assert build.main(command) == 0
    said = capsys.readouterr().out
    assert "votes: Seizure 6, LPD 5" in said
    assert "no model has weights" in said
    assert Image.open(out).size == (2475, 1530)
    monkeypatch.setattr(eda.show, "draw_sheet", draw_nothing)
    assert build.main([*command, "--offset", "6"]) == 0
    assert "the window starts at 6 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["999"], ["999.parquet", "no such recording"]),
        ([str(UNREADABLE)], [f"{UNREADABLE}.parquet", "not a readable parquet file"]),
        (["22", "--offset", "3"], ["no labelled window at 3 s", "0, 6 s"]),
        (["22", "--out", "sheet.tiffany"], ["sheet.tiffany", "unknown format"]),
    ],
)
def test_show_says_what_is_wrong_in_one_line(arguments, words, training_set, capsys):
    assert build.main(["show", *arguments, "--data", str(training_set)]) == 1
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert all(word in said for word in words), said


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A model of random numbers whose answers differ between windows."""
    import keras

    from kernel.model import ModelConfig, build_model, write_config, write_weights

    folder = tmp_path_factory.mktemp("weights")
    config = ModelConfig("raw_1d", (RawConfig(),))
    keras.utils.set_random_seed(0)
    (folder / "random").mkdir()
    write_config(config, folder / "random" / "config.json")
    write_weights(build_model(config), folder / "random" / "fold_0.weights.h5")
    return folder


def test_prediction_is_the_kernels_own(weights, training_set, tmp_path, capsys, monkeypatch):
    """The answer to a labelled window is what the kernel says to a file that holds this window and nothing else."""
    from kernel.ensemble import load_ensemble
    from kernel.predict import predict_recording

    window = make_eeg(WINDOW_SAMPLES + 10 * SFREQ, seed=12)[:, 6 * SFREQ : 6 * SFREQ + WINDOW_SAMPLES]
    alone = write_recording(tmp_path / "alone.parquet", window)
    expected = predict_recording(alone, load_ensemble(weights))
    monkeypatch.setattr(eda.show, "draw_sheet", draw_nothing)
    out = str(tmp_path / "sheet.png")
    command = ["show", "22", "--data", str(training_set), "--weights", str(weights), "--out", out]
    said = []
    for offset in ("6", "0"):
        assert build.main([*command, "--offset", offset]) == 0
        said.append(re.search("prediction: (.*)", capsys.readouterr().out).group(1))
    assert said[0] == ", ".join(f"{name} {p:.3f}" for name, p in zip(CLASS_NAMES, expected, strict=True))
    assert said[0] != said[1]
