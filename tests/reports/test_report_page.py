"""The report in a real browser: it sorts, filters, plays, switches without a jump, and asks nothing of any network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import xaibench as xb
from tests.support.browser import browser as started_browser
from tests.support.made_up_runs import FF, SPS, noise, write_run
from tests.support.objects import LoudBins, bells

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AG = ("average_gain", 0.1)
EVIL = '</script><img src=x onerror="document.title=1"><!--'
READY = "current !== null && document.querySelectorAll('.card').length > 0"
COLUMN = "[...document.querySelectorAll('#board tbody.method th[scope=row]')].map((one) => one.textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as found:
        yield found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> xb.Results:
    """LoudBins is no registered method: its maps are those that the run kept."""
    methods = ["saliency", LoudBins, "random", "attenuated"]
    out = tmp_path_factory.mktemp("run")
    metrics = ["faithfulness", "sparseness"]
    return xb.evaluate(
        xb.toy_classifier(), bells(), methods, metrics, out=out, keep_maps=True, progress=False, controls=False
    )


@pytest.fixture(scope="module")
def report(results: xb.Results) -> Path:
    return results.report(results.path.parent / "report.html", clips=3, progress=False)


def wait(page: Page, condition: str) -> None:
    """Wait until something is true; the page's own policy forbids what playwright would do."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(condition)


def content(page: Path) -> dict[str, Any]:
    """The data of a page."""
    _, _, after = page.read_text().partition('id="data">')
    found: dict[str, Any] = json.loads(after.partition("</script>")[0])
    return found


class Opened:
    """A page, and what it said and asked for."""

    def __init__(self, browser: Browser, path: Path, ready: str = READY, **settings: Any) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 900}, **settings)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        wait(self.page, ready)

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert self.said == []
        outside = [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))]
        assert outside == []


def test_a_board_sorts_and_filters(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report)
    with opened as page:
        first = page.evaluate(COLUMN)
        page.click("#board th[data-key=faithfulness] button")
        assert page.evaluate(COLUMN) == first[::-1] and len(first) == 2
        assert page.get_attribute("#board th[data-key=faithfulness]", "aria-sort") == "ascending"
        page.click("#board th[data-key=sparseness] button")
        assert page.get_attribute("#board th[data-key=sparseness]", "aria-sort") == "descending"
        page.fill("#search", "sali")
        assert page.evaluate(COLUMN) == ["saliency"] and page.locator("#board tbody.control").count() == 0
        page.fill("#search", "")
        page.uncheck("#kinds input[value=control]")
        assert page.locator("#board tbody.control").count() == 0
        page.uncheck("#families input[value=complexity]")
        assert page.locator("#board th[data-key=sparseness]").count() == 0
        page.select_option("#area", "0.2")
        assert "top 20%" in page.inner_text("#notes")
        assert "Saliency" not in page.inner_text("#method-agreement") and page.is_hidden("#metric-agreement")
        cell = "#method-agreement tbody tr:first-child td:last-child"
        before = page.inner_text(cell)
        page.select_option("#method-agreement-by", "overlap")
        assert before != page.inner_text(cell) and 0 <= float(page.inner_text(cell)) <= 1
        assert page.locator("#profile th[scope=col]").count() > 2
    assert len([url for url in opened.asked if url.startswith("file:")]) == 1, "the page is one file"


def test_the_opposite_order_has_another_colour_than_the_same(browser: Browser, tmp_path: Path) -> None:
    """FF and AG place four methods alike, and SPS the other way round."""
    levels = {"a": 0.3, "b": 0.4, "c": 0.5, "random": 0.2}
    methods = {
        name: {FF: noise(1, level), AG: noise(2, level), SPS: noise(3, 0.6 - level / 4)}
        for name, level in levels.items()
    }
    page_file = xb.load_results(write_run(tmp_path / "run", methods)).report(tmp_path / "report.html", clips=0)
    with Opened(browser, page_file, "document.querySelectorAll('#metric-agreement td').length > 0") as page:
        table = "#metric-agreement tbody"
        cells = [f"{table} tr:nth-child({row}) td:nth-of-type({column})" for row, column in ((1, 2), (1, 3))]
        assert [page.inner_text(cell) for cell in cells] == ["1.00", "-1.00"]
        mixed = [page.evaluate("(one) => document.querySelector(one).style.background", cell) for cell in cells]
        assert ["--against" in one for one in mixed] == [False, True]
        drawn = [
            page.evaluate("(one) => getComputedStyle(document.querySelector(one)).backgroundColor", one)
            for one in cells
        ]
        assert len({*drawn}) == 2


def test_a_cell_says_by_keyboard_what_it_rests_on(browser: Browser, report: Path) -> None:
    with Opened(browser, report) as page:
        assert page.locator("#board td[tabindex='0']").count() == 1, "one stop of the tabulator key"
        page.focus("#board td[tabindex='0']")
        assert "95% interval" in page.inner_text("#tip") and "3 clips" in page.inner_text("#tip")
        before = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.textContent") != before
        assert page.get_attribute("#board td:focus", "aria-describedby") == "tip"
        page.keyboard.press("Escape")
        assert page.is_hidden("#tip")
        page.focus("#board tbody.method a")
        assert "Loud bins" in page.inner_text("#tip") or "Saliency" in page.inner_text("#tip")


def test_parts_are_switched_at_the_same_position_while_the_playhead_moves(browser: Browser, report: Path) -> None:
    loudness = "player.voices.map((one) => one.gain.gain.value > 0.01 * player.gainOf(one.part))"
    clock = "[player.position(), player.context.currentTime]"
    with Opened(browser, report) as page:
        page.click("#play")
        wait(page, "player.playing && player.position() > 0.15")
        assert page.inner_text("#play") == "Pause"
        assert page.evaluate(loudness) == [True, False, False]
        head = "parseFloat(document.querySelector('#spectrogram .head').style.left)"
        place = page.evaluate(head)
        for do in (
            lambda: page.check("#parts input[value=kept]"),
            lambda: page.click(".card:nth-child(2) [data-part=kept]"),
        ):
            position, time = page.evaluate(clock)
            do()
            page.wait_for_timeout(150)
            later, at = page.evaluate(clock)
            assert (later - position) % 5 == pytest.approx((at - time) % 5, abs=0.03), "no jump"
            assert page.evaluate(loudness) == [False, True, False]
        assert page.evaluate(head) > place
        assert page.evaluate("player.name") == page.get_attribute(".card:nth-child(2)", "data-method")
        page.click("#play")
        stopped = page.evaluate("player.position()")
        page.wait_for_timeout(60)
        assert page.evaluate("player.position()") == stopped
        page.fill("#position", "1.5")
        assert page.inner_text("#time") == "1.5 s"


def test_the_page_plays_what_was_scored(browser: Browser, report: Path) -> None:
    sixteenth = "Array.from(a.filter((_, i) => i % 16 === 0))"
    sounds = f"partsOf(current, '{{}}').then((one) => [one.original, one.kept, one.removed].map((a) => {sixteenth}))"
    with Opened(browser, report) as page:
        clip = page.evaluate("current.clip.id")
        sound = dict(zip([one.id for one in bells().clips], bells().clips, strict=True))[clip]
        explained = xb.explain(xb.toy_classifier(), bells().waveform(sound), "saliency", rate=16_000)
        original, kept, removed = (np.array(one) for one in page.evaluate(sounds.format("saliency")))
        np.testing.assert_allclose(original, explained.waveform[::16], atol=2**-14)
        np.testing.assert_allclose(kept, explained.kept()[::16], atol=2**-14)
        np.testing.assert_allclose(removed, explained.removed()[::16], atol=2**-14)
        _, softer, _ = page.evaluate(sounds.format("attenuated"))
        np.testing.assert_allclose(softer, 0.1 * original, atol=2**-14)


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds that is serious, in light and dark."""
    pytest.importorskip("axe_playwright_python", reason="no axe; pip install '.[test]' brings it")
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")["violations"]
    page.emulate_media(color_scheme="dark")
    found += page.evaluate("axe.run({runOnly: ['color-contrast']})")["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in serious]


def test_a_site_sorts_has_its_files_and_says_how_to_submit(
    browser: Browser, results: xb.Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xaibench.reports import plots, style

    def only_one(rows: pd.DataFrame, lines: pd.DataFrame, folder: Path, marks: object) -> list[Path]:
        folder.mkdir(parents=True)
        return style.save(plots.draw("cost", rows, lines), folder / "cost-clips")  # the others take longer

    monkeypatch.setattr(plots, "write_plots", only_one)
    index = xb.site(results.path, folder=tmp_path / "site", submit="https://example.org/issues")
    with Opened(browser, index, "state.board !== null", bypass_csp=True) as page:
        first = page.evaluate(COLUMN)
        page.click("#board th[data-key=faithfulness] button")
        assert page.evaluate(COLUMN) == first[::-1] and page.is_hidden("#clips")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.locator(".drawn img").scroll_into_view_if_needed()
        wait(page, "document.querySelector('.drawn img').naturalWidth > 0")
        files = page.evaluate(
            "[...document.querySelectorAll('#files a, .drawn a')].map((one) => one.getAttribute('href'))"
        )
        assert len(files) == 5 and all((index.parent / name).is_file() for name in files)
        assert violations(page) == []
        page.click("nav a[href='submit.html']")
        assert "https://example.org/issues" in page.inner_text("main") and violations(page) == []
    again = xb.load_results(next((index.parent / "rows").iterdir()))
    assert again.comparison().equals(results.comparison()), "the rows are the whole run"


def test_axe_finds_no_serious_violation(browser: Browser, report: Path) -> None:
    with Opened(browser, report, bypass_csp=True) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert violations(page) == []


@pytest.mark.parametrize("width", [360, 820])
def test_nothing_is_wider_than_the_screen(browser: Browser, report: Path, width: int) -> None:
    with Opened(browser, report) as page:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_folder_loads_each_clip_when_it_is_looked_at(browser: Browser, report: Path, tmp_path: Path) -> None:
    from xaibench.reports import report_page

    report_page.write_folder(content(report), tmp_path)
    opened = Opened(browser, tmp_path / report_page.PAGE)
    with opened as page:
        loaded = [Path(url).name for url in opened.asked if url.endswith(".js")]
        assert loaded == ["0-0000.js"]
        page.click("#next")
        wait(page, "current.clip === listening.clips[1]")
        assert len([url for url in opened.asked if url.endswith(".js")]) == 2


def test_names_of_strangers_are_text(browser: Browser, report: Path, tmp_path: Path) -> None:
    from xaibench.reports import report_page

    data = content(report)
    for one in data["methods"]:
        one["title"] = EVIL
    data["title"] = data["shown"][0]["clips"][0]["credit"] = EVIL
    data["shown"][0]["clips"][0]["labels"] = [EVIL]
    data["groups"][0]["boards"][0]["rows"][0] |= {"title": EVIL, "marks": EVIL}
    path = tmp_path / "evil.html"
    path.write_text(report_page.rendered(data))
    with Opened(browser, path) as page:
        assert page.title() == EVIL and page.locator("img").count() == 0
        assert EVIL in page.inner_text("#clip-about")
