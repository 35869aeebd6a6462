"""A map page holds all it shows, asks for nothing, and does in a real browser what a person expects of it."""

import base64
import csv
import io
import json
import math
import re
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from barlow.report import map_page
from barlow.report.map_page import MapPoints, shown_of, thinned, write_map_page
from tests.report.browser import CHROMIUM, NO_BROWSER, Browser, Spot, browser
from tests.report.html_page import Page

N = 60
COLOURS = ((200, 30, 30), (30, 160, 60), (40, 60, 200))
HOSTILE = 'shirts/</script><img src="http://example.org/a.png" onerror="document.title=1">.png'


def picture(colour: tuple[int, ...], size: tuple[int, int] = (40, 40), kind: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind)
    return buffer.getvalue()


def tone(seconds: float = 0.2, rate: int = 8000, width: int = 2) -> bytes:
    """A sound that grows louder from its beginning to its end."""
    times = np.arange(int(seconds * rate)) / rate
    waveform = np.sin(2 * math.pi * 440 * times) * times / seconds
    samples = {1: 128 + 127 * waveform, 2: 32767 * waveform}[width].astype({1: "u1", 2: "<i2"}[width])
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def some_points(n: int = N, **changed: Any) -> MapPoints:
    """Three rows of samples from left to right, one row a class; neighbours are those next in the row."""
    row, column = np.arange(n) % 3, np.arange(n) // 3
    last = column.max()
    xy = np.stack([0.05 + 0.9 * column / last, 0.1 + 0.4 * row], axis=1).astype(np.float32)
    beside = np.stack(
        [np.where(column < last, np.arange(n) + 3, -1), np.where(column > 0, np.arange(n) - 3, -1)], axis=1
    )
    names = [f"{('hats', 'shirts', 'shoes')[r]}/{c:03d}.png" for r, c in zip(row, column, strict=True)]
    names[4] = HOSTILE
    duplicates = np.full(n, -1)
    duplicates[[6, 48]] = 0
    points = MapPoints(
        title="Map of <clothes>",
        xy=torch.from_numpy(xy),
        names=names,
        method="t-SNE",
        trustworthiness=0.93,
        kept=0.41,
        thumbnails=[picture(COLOURS[r]) for r in row],
        neighbours=torch.from_numpy(beside),
        similarities=torch.full((n, 2), 0.875),
        labels=torch.from_numpy(np.where(np.arange(n) == 5, -1, row)),
        class_names=("hats", "shirts", "shoes"),
        groups=torch.from_numpy((column > last / 2).astype(np.int64)),
        duplicates=torch.from_numpy(duplicates),
        outlier=torch.arange(n) / n,
        remarks=["far from all neighbours" if i == n - 1 else "" for i in range(n)],
        notes=("2 files could not be read.",),
        noun="image",
    )
    return replace(points, **changed)


def content_of(page: Path) -> dict[str, Any]:
    found = re.search(r'id="map-data">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)
    assert found
    return dict(json.loads(found.group(1)))


def numbers(packed: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(packed), kind)


def sheets_of(page: Path) -> list[Image.Image]:
    found = re.findall(r'class="sheet">data:image/\w+;base64,([^<]*)<', page.read_text(encoding="utf-8"))
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


class TestThePageAsAFile:
    def test_is_well_formed_and_refers_to_nothing(self, tmp_path: Path) -> None:
        page = Page.of(write_map_page(tmp_path / "map.html", some_points()))
        assert page.problems == []
        assert [reference for reference in page.references if reference != "data:,"] == []
        assert "Map of <clothes>" in page.text
        assert "img" not in page.tags

    def test_forbids_itself_to_fetch_anything(self, tmp_path: Path) -> None:
        source = write_map_page(tmp_path / "map.html", some_points()).read_text(encoding="utf-8")
        assert re.search(r"<head>.*Content-Security-Policy\" content=\"default-src 'none';.*</head>", source, re.S)

    def test_a_hostile_name_is_text(self, tmp_path: Path) -> None:
        path = write_map_page(tmp_path / "map.html", some_points(title="</title><script>", noun="<i>"))
        assert Page.of(path).problems == []
        assert content_of(path)["names"][4] == HOSTILE
        assert path.read_text(encoding="utf-8").count("</script>") == 4  # the data, one sheet, two scripts

    def test_says_how_far_it_can_be_trusted_how_it_was_made_and_what_is_left_out(self, tmp_path: Path) -> None:
        words = Page.of(write_map_page(tmp_path / "map.html", some_points())).text
        for said in (
            "60 images",
            "trustworthiness 0.93",
            "41% of neighbours kept",
            "t-SNE",
            "2 files could not be read.",
        ):
            assert said in words

    def test_numbers_are_those_given(self, tmp_path: Path) -> None:
        points = some_points()
        content = content_of(write_map_page(tmp_path / "map.html", points))
        assert np.array_equal(numbers(content["xy"], "<f4").reshape(-1, 2), np.asarray(points.xy))
        assert np.array_equal(numbers(content["neighbours"], "<i4").reshape(-1, 2), np.asarray(points.neighbours))
        assert np.array_equal(numbers(content["labels"], "<i4"), np.asarray(points.labels))
        assert np.array_equal(numbers(content["outlier"], "<f4"), np.asarray(points.outlier))
        assert content["k"] == 2

    def test_every_picture_stands_where_the_content_says(self, tmp_path: Path) -> None:
        pictures: list[bytes | None] = [picture(COLOURS[i % 3], (40, 20 + i % 7)) for i in range(N)]
        pictures[10] = None
        path = write_map_page(tmp_path / "map.html", some_points(thumbnails=pictures * 5, **several(5)))
        content, sheets = content_of(path), sheets_of(path)
        sizes = numbers(content["sizes"], "u1").reshape(-1, 2)
        assert len(sheets) == 2  # 300 pictures, 256 a sheet
        assert sizes[10].tolist() == [0, 0]
        for i in (0, 1, 11, 255, 256, 299):
            cell, sheet = i % 256, sheets[i // 256].convert("RGB")
            assert sizes[i].tolist() == [40, 20 + i % N % 7]
            shown = sheet.getpixel((cell % 16 * content["cell"] + 20, cell // 16 * content["cell"] + 10))
            assert np.abs(np.array(shown) - COLOURS[i % 3]).max() < 25, i

    def test_small_pictures_are_kept_to_the_bit_and_large_ones_made_small(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "PNG")
        small = write_map_page(tmp_path / "small.html", some_points(thumbnails=[buffer.getvalue()] * N))
        assert np.array_equal(np.asarray(sheets_of(small)[0].convert("L"))[:8, :8], noise)
        large = write_map_page(tmp_path / "large.html", some_points(thumbnails=[picture((1, 2, 3), (900, 300))] * N))
        assert numbers(content_of(large)["sizes"], "u1")[:2].tolist() == [112, 37]

    def test_a_transparent_picture_is_on_white(self, tmp_path: Path) -> None:
        clear = picture((255, 0, 0, 0), mode="RGBA")
        sheet = sheets_of(write_map_page(tmp_path / "map.html", some_points(thumbnails=[clear] * N)))[0]
        assert min(np.asarray(sheet.convert("RGB"))[20, 20]) > 250

    def test_sounds_can_be_played_and_have_a_curve(self, tmp_path: Path) -> None:
        sound, quiet = tone(), tone(width=1)
        path = write_map_page(tmp_path / "map.html", some_points(media="audio", thumbnails=[sound, quiet, None] * 20))
        content = content_of(path)
        assert base64.b64decode(content["sounds"][0]) == sound
        assert content["sounds"][2] is None
        curves = numbers(content["waves"], "u1").reshape(N, -1)
        for row in curves[:2]:
            assert row[-1] > 240
            assert row[0] < 20
            assert (np.diff(row.astype(int)) > -8).all()
        assert not curves[2].any()

    def test_sounds_beyond_what_a_page_holds_have_no_player_and_it_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sound = tone()
        monkeypatch.setattr(map_page, "MOST_SOUND_BYTES", 10 * len(sound) + 1)
        path = write_map_page(tmp_path / "map.html", some_points(media="audio", thumbnails=[sound] * N))
        assert sum(one is not None for one in content_of(path)["sounds"]) == 10
        assert "50 images without a player" in Page.of(path).text

    def test_ten_thousand_pictures_make_a_light_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # As many bytes a picture as 10,000 of them get, on a twentieth of them.
        monkeypatch.setattr(map_page, "SIDES", [(most, side) for most, side in map_page.SIDES if most > 10_000])
        noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).resize((128, 128), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        path = write_map_page(tmp_path / "map.html", some_points(510, thumbnails=[buffer.getvalue()] * 510))
        assert numbers(content_of(path)["sizes"], "u1")[0] == 64
        assert path.stat().st_size * 10_000 / 510 < 25e6


def several(times: int) -> dict[str, Any]:
    """Fields of a map that has the samples of `some_points` so many times."""
    points = some_points()
    again = {
        name: torch.cat([getattr(points, name)] * times) for name in ("xy", "neighbours", "similarities", "labels")
    }
    again |= {name: torch.cat([getattr(points, name)] * times) for name in ("groups", "duplicates", "outlier")}
    return again | {"names": list(points.names) * times, "remarks": None}


class TestThinning:
    def test_is_said_and_keeps_every_row_with_its_sample(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(map_page, "MOST_POINTS", 20)
        points = some_points()
        path = write_map_page(tmp_path / "map.html", points)
        assert "60 images were thinned to 20" in Page.of(path).text
        assert "20 images of 60" in Page.of(path).text
        content = content_of(path)
        assert len(content["names"]) == 20
        kept = [list(points.names).index(name) for name in content["names"]]
        assert np.array_equal(numbers(content["labels"], "<i4"), np.asarray(points.labels)[kept])

    def test_a_hundred_thousand_samples_make_a_page(self, tmp_path: Path) -> None:
        n = 100_000
        xy = np.random.default_rng(0).random((n, 2))
        path = write_map_page(tmp_path / "map.html", MapPoints("Many", xy, [f"{i}.png" for i in range(n)], "UMAP"))
        assert "100,000 samples were thinned to 20,000" in Page.of(path).text
        assert path.stat().st_size < 1e6

    def test_neighbours_point_to_the_same_samples_or_to_none(self) -> None:
        points = some_points()
        fewer = thinned(points, np.array([0, 3, 5, 6, 30]))
        assert np.asarray(fewer.neighbours).tolist() == [[1, -1], [3, 0], [-1, -1], [-1, 1], [-1, -1]]
        assert fewer.names == [points.names[i] for i in (0, 3, 5, 6, 30)]

    def test_all_are_shown_where_there_are_few_and_the_same_ones_each_time_where_many(self) -> None:
        assert shown_of(5).tolist() == [0, 1, 2, 3, 4]
        drawn = shown_of(1_000, 100)
        assert np.array_equal(drawn, shown_of(1_000, 100))
        assert len(np.unique(drawn)) == 100
        assert (np.diff(drawn) > 0).all()


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"xy": np.zeros((3, 3))}, r"xy: got shape \(3, 3\)"),
            ({"xy": np.full((N, 2), 1.5)}, "xy: got places that are not between 0 and 1"),
            ({"xy": np.full((N, 2), np.nan)}, "xy: got places that are not between 0 and 1"),
            ({"names": ["one"]}, "names: got 1, wanted one for each of 60 samples"),
            ({"thumbnails": [b"", b""]}, "thumbnails: got 2, wanted one for each of 60"),
            ({"neighbours": np.full((N, 1), N)}, "neighbours: got a position beyond the 60"),
            ({"class_names": ("hats",)}, "class_names: got 1, fewer than the classes of labels"),
            ({"media": "video"}, "media: got 'video', wanted 'image' or 'audio'"),
        ],
    )
    @pytest.mark.usefixtures("as_users_call_it")
    def test_is_named(self, changed: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            some_points(**changed)

    def test_what_is_no_picture_or_no_sound_is_named_by_its_sample(self, tmp_path: Path) -> None:
        broken = [picture((1, 2, 3))] * (N - 1) + [b"no picture"]
        with pytest.raises(ValueError, match=r"thumbnails: that of 'shoes/019.png' is no picture"):
            write_map_page(tmp_path / "map.html", some_points(thumbnails=broken))
        with pytest.raises(ValueError, match=r"thumbnails: that of 'shoes/019.png' is no WAV file"):
            write_map_page(tmp_path / "map.html", some_points(media="audio", thumbnails=[tone()] * (N - 1) + [b"none"]))
        assert not (tmp_path / "map.html").exists()


# ---- In a browser


class Map:
    """The page as a person meets it."""

    def __init__(self, driven: Browser) -> None:
        self.browser = driven

    def open(self, page: Path, **how: Any) -> "Map":
        self.browser.open(page, **how)
        self.browser.until("document.querySelector('#key h2')")
        return self

    def at(self, sample: int) -> Spot:
        x, y = self.browser.run(f"document.getElementById('map').where({sample})")
        return x, y

    def between_rows(self) -> Spot:
        """A place in the middle where there is nothing."""
        (x, y), (_, below) = self.at(30), self.at(31)
        return x, (y + below) / 2

    def words(self, place: str) -> str:
        return str(self.browser.run(f"document.querySelector({json.dumps(place)}).innerText"))

    def data(self, name: str) -> str | None:
        value = self.browser.run(f"document.getElementById('map').dataset.{name} ?? null")
        return None if value is None else str(value)

    def button(self, words: str) -> None:
        """Click the button of the panel that says so."""
        find = f"[...document.querySelectorAll('#panel button')].find(b => b.innerText.startsWith({json.dumps(words)}))"
        self.browser.run(f"{find}.setAttribute('data-wanted', '')")
        self.browser.click("[data-wanted]")
        self.browser.run("document.querySelector('[data-wanted]')?.removeAttribute('data-wanted')")

    def colour(self, key: str) -> None:
        self.browser.run(
            f"(c => {{ c.value = '{key}'; c.dispatchEvent(new Event('change')); }})(document.getElementById('colour'))"
        )

    def pixel(self, at: Spot, folder: Path) -> tuple[int, ...]:
        self.browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        with Image.open(self.browser.picture(folder / "seen.png")) as seen:
            value = seen.convert("RGB").getpixel((round(at[0]), round(at[1])))
        assert isinstance(value, tuple)
        return tuple(int(part) for part in value)


def thread_seconds(driven: Browser) -> float:
    metrics = driven.call("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "ThreadTime"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    write_map_page(folder / "map.html", some_points())
    write_map_page(folder / "sounds.html", some_points(media="audio", thumbnails=[tone()] * N, noun="clip"))
    return folder


@pytest.fixture(scope="module")
def driven(folder: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(NO_BROWSER)
    with browser(folder) as started:
        yield started


@pytest.fixture
def shown(driven: Browser, folder: Path) -> Map:
    return Map(driven).open(folder / "map.html")


@pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)
class TestInABrowser:
    def test_asks_for_nothing_logs_nothing_and_runs_no_name(self, shown: Map) -> None:
        assert [url for url in shown.browser.asked if not url.startswith(("file:", "data:"))] == []
        assert shown.browser.console == []
        assert shown.browser.run("document.title") == "Map of <clothes>"

    def test_a_click_shows_the_sample_and_its_neighbours_by_features(self, shown: Map) -> None:
        shown.browser.click(shown.at(30))
        assert shown.data("picked") == "hats/010.png"
        chosen = shown.words("#chosen")
        assert chosen.index("hats/010.png") < chosen.index("hats/011.png") < chosen.index("hats/009.png")
        assert "0.88" in chosen
        shown.button("hats/011.png")
        assert shown.data("picked") == "hats/011.png"

    def test_an_end_of_a_row_says_that_a_neighbour_is_not_on_the_map(self, shown: Map) -> None:
        shown.browser.click(shown.at(N - 1))
        assert "Nearest by features, 1 more not on the map" in shown.words("#chosen")
        assert "far from all neighbours" in shown.words("#chosen")

    def test_the_pointer_over_a_sample_is_told_its_name(self, shown: Map) -> None:
        shown.browser.mouse("mouseMoved", shown.at(31))
        assert "shirts/010.png" in shown.words("#card")
        shown.browser.mouse("mouseMoved", shown.between_rows())
        assert shown.browser.run("document.getElementById('card').hidden")

    def test_the_wheel_zooms_about_the_pointer_and_a_drag_moves(self, shown: Map) -> None:
        fixed, other = shown.at(30), shown.at(33)
        shown.browser.wheel(fixed, -200)
        where = "document.getElementById('map').where"
        shown.browser.until(f"{where}(33)[0] - {where}(30)[0] > {1.2 * (other[0] - fixed[0])}")
        assert shown.at(30) == pytest.approx(fixed, abs=0.5)
        shown.browser.drag([(500.0, 300.0), (540.0, 320.0), (560.0, 340.0)])
        assert shown.at(30) == pytest.approx((fixed[0] + 60, fixed[1] + 40), abs=0.5)
        assert shown.data("picked") is None

    def test_pictures_come_as_one_zooms_in_and_are_those_of_their_samples(self, shown: Map, folder: Path) -> None:
        shown.browser.until("Number(document.getElementById('stage').dataset.pictures) > 0")
        before = int(shown.browser.run("document.getElementById('stage').dataset.pictures"))
        assert before < N
        for sample in (30, 31, 32):
            shown.browser.click("#fit")
            for _ in range(6):
                shown.browser.wheel(shown.at(sample), -240)
            at = shown.at(sample)
            shown.browser.mouse("mouseMoved", (930.0, 790.0))
            assert np.abs(np.array(shown.pixel(at, folder)) - COLOURS[sample % 3]).max() < 25
        shown.browser.click("#pictures")
        shown.browser.until("document.getElementById('stage').dataset.pictures === '0'")

    def test_keys_move_zoom_choose_list_and_go_back(self, shown: Map) -> None:
        press, where = shown.browser.key, shown.at(30)
        shown.browser.run("document.getElementById('over').focus()")
        press("ArrowLeft")
        assert shown.at(30)[0] == pytest.approx(where[0] + 70, abs=0.5)
        press("+")
        assert shown.at(33)[0] - shown.at(30)[0] == pytest.approx(
            1.3 * (shown.at(3)[0] - shown.at(0)[0]) / 1.3, rel=0.01
        )
        press("Enter")
        assert shown.data("picked")
        press(" ")
        assert shown.data("listed") == "1"
        press("Escape")
        assert shown.data("picked") == ""
        press("0")
        shown.browser.until(f"Math.abs(document.getElementById('map').where(30)[0] - {where[0]}) < 1")
        press("/")
        assert shown.browser.run("document.activeElement.id") == "search"

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("label", ("hats\n20", "shirts\n20", "shoes\n19", "no label\n1")),
            ("group", ("group 1\n30", "group 2\n30")),
            ("duplicate", ("there more than once\n2", "there once\n58", "1 group")),
            ("outlier", ("the 1% that fits least", "Those that fit least\nshoes/019.png")),
        ],
    )
    def test_colours_by_what_is_known(self, shown: Map, key: str, said: tuple[str, ...]) -> None:
        shown.colour(key)
        words = re.sub(r"\n+", "\n", shown.words("#key"))
        for part in said:
            assert part in words

    def test_dots_have_the_colour_of_the_key_and_a_click_on_it_leaves_its_own(self, shown: Map, folder: Path) -> None:
        shown.browser.click("#pictures")
        shown.colour("label")
        drawn = [shown.pixel(shown.at(sample), folder) for sample in (30, 31, 33)]
        assert drawn[0] == drawn[2] != drawn[1]
        shown.button("hats")
        assert shown.pixel(shown.at(30), folder) == drawn[0]
        assert shown.pixel(shown.at(31), folder) != drawn[1]
        shown.button("List them")
        assert shown.data("listed") == "20"

    def test_what_the_colours_single_out_has_its_picture_first(self, shown: Map, folder: Path) -> None:
        # At this scale there is room for a part of the pictures; sample 6 has one of them only as a near-copy.
        seen = {}
        for key in ("label", "duplicate"):
            shown.colour(key)
            seen[key] = shown.pixel((shown.at(6)[0], shown.at(6)[1] + 10), folder)
        paper = shown.pixel(shown.between_rows(), folder)
        assert seen["label"] == paper
        assert np.abs(np.array(seen["duplicate"]) - COLOURS[0]).max() < 25

    def test_a_near_copy_lists_the_others_of_its_group(self, shown: Map) -> None:
        shown.browser.click(shown.at(6))
        chosen = shown.words("#chosen")
        assert "Near-copies of it: 1" in chosen
        assert "hats/016.png" in chosen

    def test_a_name_is_found_and_enter_goes_there(self, shown: Map) -> None:
        shown.browser.click("#search")
        shown.browser.type("SHOES/01")
        assert "10 images with “shoes/01”" in shown.words("#found")
        shown.browser.key("Enter")
        assert shown.data("picked") == "shoes/010.png"
        shown.browser.key("Escape")
        assert shown.browser.run("document.getElementById('found').hidden")
        shown.browser.click("#search")
        shown.browser.type("no such name")
        assert "No name has" in shown.words("#found")

    @pytest.mark.parametrize("way", ["button", "shift"])
    def test_a_lasso_makes_a_list_of_what_is_inside(self, shown: Map, way: str) -> None:
        left, top = shown.at(0)[0] - 20, shown.at(0)[1] - 20
        right, bottom = (shown.at(9)[0] + shown.at(12)[0]) / 2, (shown.at(0)[1] + shown.at(1)[1]) / 2
        if way == "button":
            shown.browser.click("#lasso")
        around = [(left, top), (right, top), (right, bottom), (left, bottom)]
        shown.browser.drag(around, shift=way == "shift")
        assert shown.data("listed") == "4"
        assert "List of 4 images" in shown.words("#listed")
        shown.browser.drag([(x, y + bottom - top) for x, y in around], shift=True)  # those of the next row come to it
        assert shown.data("listed") == "8"
        assert shown.at(0)[0] - 20 == left  # the map did not move

    def test_the_list_is_kept_as_text_and_table_and_copied(self, shown: Map, folder: Path) -> None:
        shown.browser.click("#search")
        shown.browser.type("<img")
        shown.button("List them")
        shown.browser.key("Escape")
        shown.button("Save .txt")
        shown.button("Save .csv")
        until = time.monotonic() + 60
        while not ((folder / "list.txt").exists() and (folder / "list.csv").exists()):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert (folder / "list.txt").read_text(encoding="utf-8") == HOSTILE + "\n"
        head, row = csv.reader((folder / "list.csv").read_text(encoding="utf-8").splitlines())
        assert head == ["name", "label", "group", "near_copies", "outlier_score", "x", "y"]
        assert row[:4] == [HOSTILE, "shirts", "group 1", ""]
        shown.button("Copy names")
        shown.browser.until("document.getElementById('said').innerText.includes('names copied')")

    def test_it_fits_a_phone_and_answers_fingers(self, driven: Browser, folder: Path) -> None:
        phone = Map(driven).open(folder / "map.html", size=(390, 780), phone=True)
        assert driven.run("document.documentElement.scrollWidth") <= 390
        assert driven.run("document.getElementById('stage').clientHeight") > 250
        driven.fingers([phone.at(30)])
        assert phone.data("picked") == "hats/010.png"
        wide = phone.at(33)[0] - phone.at(30)[0]
        x, y = phone.at(31)
        driven.fingers([(x - 30, y), (x + 30, y)], [(x - 60, y), (x + 60, y)])
        assert phone.at(33)[0] - phone.at(30)[0] == pytest.approx(2 * wide, rel=0.05)
        before = phone.at(31)
        driven.fingers([(200.0, 400.0)], [(210.0, 400.0)], [(230.0, 410.0)])
        assert phone.at(31) == pytest.approx((before[0] + 30, before[1] + 10), abs=1)
        assert driven.console == []

    def test_it_is_dark_where_the_reader_wants_it_dark(self, driven: Browser, folder: Path) -> None:
        for dark, bright in ((True, False), (False, True)):
            shown = Map(driven).open(folder / "map.html", dark=dark)
            assert (sum(shown.pixel(shown.between_rows(), folder)) > 380) == bright

    def test_sounds_are_played_by_a_click(self, driven: Browser, folder: Path) -> None:
        shown = Map(driven).open(folder / "sounds.html")
        driven.click(shown.at(30))
        driven.until("document.getElementById('map').dataset.played === 'hats/010.png'")
        assert driven.console == []

    def test_ten_thousand_samples_are_drawn_at_once(self, driven: Browser, tmp_path: Path) -> None:
        n = 10_000
        xy = np.random.default_rng(0).random((n, 2)).astype(np.float32)
        points = MapPoints(
            "Many", xy, [f"{i}.png" for i in range(n)], "UMAP", thumbnails=[picture(COLOURS[0], (24, 24))] * n
        )
        shown = Map(driven).open(write_map_page(tmp_path / "many.html", points))
        # In time of the processor, without a GPU: other work on the machine does not count. 25 frames a second.
        driven.call("Performance.enable", timeDomain="threadTicks")
        before = thread_seconds(driven)
        driven.run("for (let frame = 0; frame < 20; frame++) document.getElementById('map').drawNow()")
        assert 0 < (thread_seconds(driven) - before) / 20 < 0.040
        driven.click(shown.at(1234))
        assert shown.data("picked")
