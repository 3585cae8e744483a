# tests/viewer_test.py - the page of `regard look --html`, opened in headless Chromium and clicked through.
"""What is drawn is compared with the weights that went in, within the error that the page states: a stored weight is
off by at most (largest weight of its row) / (2^bits - 1)."""
import array
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGARD = pathlib.Path(os.environ.get("REGARD_CLI", ROOT / "build/release/bin/regard"))
MAKE_PAGE = pathlib.Path(os.environ.get("REGARD_MAKE_PAGE", REGARD.parent / "make_page"))
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
MODEL = CACHE / "regard/models/minilm/model.safetensors"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1360,900"]

pytestmark = pytest.mark.skipif(not os.access(MAKE_PAGE, os.X_OK), reason=f"no {MAKE_PAGE}: ./dev build")


# Pages from given weights.

class Page:
    """A text of tokens, weights [layer][head][query][key] as one array, and the page made of them."""

    def __init__(self, folder, text, pieces, layers, heads, rows):
        self.layers, self.heads, self.count = layers, heads, len(pieces)
        self.header = {
            "model": {"name": "made-up", "family": "bert", "path": "/nowhere/made-up", "sha256": "0" * 64,
                      "num_layers": layers, "num_heads": heads, "num_kv_heads": heads, "head_dim": 8},
            "engine": {"version": "0", "isa": "SCALAR", "dtype": "float32", "threads": 1},
            "text": text, "truncated": False, "tokens": tokens_of(text, pieces),
            "layers": list(range(layers)), "heads": list(range(heads))}
        self.weights = array.array("f")
        for row in range(layers * heads * self.count):
            self.weights.extend(rows[(row * 7 + row // self.count) % len(rows)])
        self.path = folder / "page.html"
        self.run = self.write(folder)

    def write(self, folder):
        (folder / "header.json").write_text(json.dumps(self.header))
        (folder / "weights.f32").write_bytes(self.weights.tobytes())
        command = [MAKE_PAGE, folder / "header.json", folder / "weights.f32", self.path]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def row(self, layer, head, query):
        begin = ((layer * self.heads + head) * self.count + query) * self.count
        return self.weights[begin:begin + self.count]

    def weight(self, layer, head, queries, keys):
        """To several tokens the sum, from several the mean; layer or head None: the mean over all."""
        pairs = [(l, h) for l in (range(self.layers) if layer is None else [layer])
                 for h in (range(self.heads) if head is None else [head])]
        total = sum(self.row(l, h, query)[key] for l, h in pairs for query in queries for key in keys)
        return total / len(pairs) / len(queries)


def tokens_of(text, pieces):
    """Tokens from ("piece", word); word -1 is special. A piece covers its own letters in the text."""
    tokens, at = [], 0
    for piece, word in pieces:
        surface = piece.removeprefix("##")
        begin = end = 0
        if word >= 0:
            at = text.index(surface, at)
            begin, end = len(text[:at].encode()), len(text[:at + len(surface)].encode())
            at += len(surface)
        tokens.append({"text": piece, "id": {"[CLS]": 101, "[SEP]": 102}.get(piece, 1000 + len(tokens)),
                       "begin": begin, "end": end, "special": word < 0, "word": word})
    return tokens


def random_rows(count, width, seed):
    """Rows that sum to 1, with weights over several orders of magnitude, and some zeros."""
    source, rows = random.Random(seed), []
    for _ in range(count):
        row = [0.0 if source.random() < 0.1 else math.exp(source.gauss(0, 2)) for _ in range(width)]
        total = math.fsum(row) or 1.0
        rows.append(array.array("f", [weight / total for weight in row]))
    return rows


HOSTILE = 'I sat on the "riverbank" of </script><b>&amp; \u2028 бег.'
PIECES = [("[CLS]", -1), ("I", 0), ("sat", 1), ("on", 2), ("the", 3), ('"', 4), ("river", 5), ("##bank", 5), ('"', 6),
          ("of", 7), ("<", 8), ("/", 9), ("script", 10), (">", 11), ("<", 12), ("b", 13), (">", 14), ("&", 15),
          ("amp", 16), (";", 17), ("бег", 18), (".", 19), ("[SEP]", -1)]
WORDS = {"I": [1], "sat": [2], "on": [3], "the": [4], "riverbank": [6, 7], "of": [9], "script": [12], "b": [15],
         "amp": [18], "бег": [20]}
RIVERBANK = "6"  # index of its first token, as the address says it


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Page(tmp_path_factory.mktemp("small"), HOSTILE, PIECES, 3, 4, random_rows(400, len(PIECES), 1))


def plain(folder, count, layers=6, heads=12):
    text = " ".join(f"w{index}" for index in range(count - 2))
    pieces = [("[CLS]", -1), *((f"w{index}", index) for index in range(count - 2)), ("[SEP]", -1)]
    return Page(folder, text, pieces, layers, heads, random_rows(997, count, count))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return plain(tmp_path_factory.mktemp("large"), 512)


# The browser.

@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    why = None if CHROMIUM and DRIVER else "needs a browser: chromium and chromedriver are not in PATH"
    try:
        from selenium import webdriver
    except ImportError:
        why = "needs a browser: selenium is not installed"
    if why and os.environ.get("REGARD_REQUIRE_BROWSER") == "1":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


class Browser:
    """One page on the screen, and what tests ask of it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, page, address=""):
        self.page = page
        self.driver.get("about:blank")
        self.driver.get_log("performance"), self.driver.get_log("browser")
        self.driver.get(getattr(page, "path", page).as_uri() + address)
        self.wait("return document.documentElement.dataset.ready !== undefined")
        return self

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, script, seconds=20):
        until = time.monotonic() + seconds
        while not (value := self.js(script)):
            assert time.monotonic() < until, f"still not so after {seconds} s: {script}"
            time.sleep(0.02)
        return value

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def click(self, selector):
        self.find(selector).click()

    def word(self, name):
        """The span of a word."""
        spans = self.driver.find_elements("css selector", "#text .tok")
        return next(span for span in spans if span.text == name)

    def select(self, which, value):
        self.click(f"#{which} option[value='{value}']")

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).send_keys(*keys).perform()

    def press_shift(self, key):
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys
        ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(key).key_up(Keys.SHIFT).perform()

    def point_at(self, element, x=0, y=0):
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).move_to_element_with_offset(element, x, y).perform()

    def names(self):
        return self.js("return unitSet().units.map((unit) => unit.name)")

    def links(self):
        """{(from, to): weight} of the curves on the screen, by name; sinks apart."""
        names = self.names()
        drawn = self.js("return [...document.querySelectorAll('#links path:not(.sink)')].map((path) => ({...path.dataset}))")
        return {(names[int(one["from"])], names[int(one["to"])]): float(one["weight"]) for one in drawn}

    def hash(self):
        return dict(part.split("=") for part in self.js("return location.hash.slice(1)").split("&") if part)

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        entries = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]

    def media(self, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


@pytest.fixture
def browser(chromium):
    yield Browser(chromium)
    Browser(chromium).media("light")


def assert_weight(shown, expected, bits=16):
    assert shown == pytest.approx(expected, rel=1e-5, abs=1 / (2 ** bits - 1))


def expected_links(page, layer, head, focus=None):
    return {(one, other): page.weight(layer, head, WORDS[one], WORDS[other])
            for one in WORDS for other in WORDS if one != other and focus in (None, one)}


def assert_links(shown, expected):
    assert set(shown) == {pair for pair, weight in expected.items() if weight > 0}
    for pair, weight in shown.items():
        assert_weight(weight, expected[pair])


# What must be true.

def test_asks_nobody_and_does_not_complain(browser, small):
    browser.open(small)
    for view in ("matrix", "heads", "links"):
        browser.click(f"#tab-{view}")
    time.sleep(0.3)
    assert browser.complaints() == []
    assert {url for url in browser.requests() if not url.startswith("data:")} == {small.path.as_uri()}


def test_policy_refuses_a_request_and_a_foreign_script(browser, small):
    browser.open(small)
    refused = browser.driver.execute_async_script("""
        const done = arguments[0];
        const seen = [];
        document.addEventListener('securitypolicyviolation', (event) => {
          seen.push(event.effectiveDirective);
          if (seen.length === 3) done(seen.sort());
        });
        const script = document.createElement('script');
        script.textContent = 'window.foreign = true';
        document.body.append(script);
        document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/image'}));
        fetch('http://127.0.0.1:9/').catch(() => {});""")
    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert browser.js("return window.foreign === undefined")


def test_text_is_shown_as_it_is(browser, small):
    browser.open(small)
    assert browser.js("return data.text") == HOSTILE
    shown = browser.js("return document.getElementById('text').textContent")
    assert shown == f" [CLS] {HOSTILE} [SEP]"
    assert browser.js("return document.querySelectorAll('#text b, main > b, body > b').length") == 0


def test_opens_on_the_mean_of_all_heads(browser, small):
    browser.open(small)
    assert_links(browser.links(), expected_links(small, None, None))


@pytest.mark.parametrize("layer, head", [(0, 0), (2, 3), (1, None), (None, 2)])
def test_layer_and_head_selectors(browser, small, layer, head):
    browser.open(small)
    browser.select("layer", -1 if layer is None else layer)
    browser.select("head", -1 if head is None else head)
    assert_links(browser.links(), expected_links(small, layer, head))


def test_a_word_in_hand_shows_its_own_links_as_thick_as_their_weight(browser, small):
    browser.open(small, "#layer=1&head=2")
    browser.word("riverbank").click()
    expected = expected_links(small, 1, 2, "riverbank")
    assert_links(browser.links(), expected)
    drawn = browser.js("""return [...document.querySelectorAll('#links path:not(.sink)')].map(
        (path) => [Number(path.dataset.weight), Number(path.getAttribute('stroke-width')), Number(path.getAttribute('stroke-opacity'))])""")
    thickness = [width for _, width, _ in sorted(drawn)]
    assert thickness == sorted(thickness) and thickness[-1] > 3 * thickness[0]
    slopes = {round((width - 0.4) / weight, 3) for weight, width, _ in drawn if weight > 1e-3}
    assert len(slopes) == 1, "thickness is proportional to weight"
    assert browser.hash()["focus"] == RIVERBANK
    first = browser.driver.find_elements("css selector", "#ranking li .number")
    assert [float(one.text) for one in first] == sorted((float(one.text) for one in first), reverse=True)


def test_direction_turns_rows_into_columns(browser, small):
    browser.open(small, f"#layer=0&head=1&focus={RIVERBANK}")
    browser.click("#direction [data-value=in]")
    expected = {(one, "riverbank"): small.weight(0, 1, WORDS[one], WORDS["riverbank"]) for one in WORDS if one != "riverbank"}
    assert_links(browser.links(), expected)


def test_pieces_instead_of_words(browser, small):
    browser.open(small, f"#layer=2&head=0&focus={RIVERBANK}")
    browser.click("#words")
    links = browser.links()
    assert ("river", "##bank") in links or small.weight(2, 0, [6], [7]) == 0
    for (one, other), weight in links.items():
        key = {"##bank": [7], **WORDS}.get(other)
        assert one == "river"
        assert_weight(weight, small.weight(2, 0, [6], key))


def test_numbers_of_a_word_sum_to_one(browser, small):
    browser.open(small, f"#layer=0&head=3&focus={RIVERBANK}")
    words, itself, sinks = (float(span.text.split()[-1]) for span in browser.driver.find_elements("css selector", "#mass .key span"))
    expected = {"words": (words, [key for name, keys in WORDS.items() if name != "riverbank" for key in keys]),
                   "itself": (itself, WORDS["riverbank"]),
                   "sinks": (sinks, [key for key in range(small.count) if all(key not in keys for keys in WORDS.values())])}
    for shown, keys in expected.values():
        assert shown == pytest.approx(small.weight(0, 3, WORDS["riverbank"], keys), abs=5e-4)
    assert words + itself + sinks == pytest.approx(1, abs=2e-4)


def test_sinks_apart_shown_hidden(browser, small):
    browser.open(small, f"#layer=0&head=3&focus={RIVERBANK}")
    count = "return document.querySelectorAll('#links path.sink').length"
    assert 0 < browser.js(count) <= 3
    browser.click("#sinks [data-value=show]")
    assert browser.js(count) == 0
    weight = small.weight(0, 3, WORDS["riverbank"], [0])
    assert_weight(browser.links().get(("riverbank", "[CLS]"), 0), weight)
    browser.click("#sinks [data-value=hide]")
    assert_links(browser.links(), expected_links(small, 0, 3, "riverbank"))
    browser.click("#tab-matrix")
    assert f"{len(WORDS)} by {len(WORDS)}" in browser.find("#matrix").get_attribute("aria-label")


def test_pointing_shows_the_weight_and_the_head_that_links_most(browser, small):
    browser.open(small, f"#layer=1&head=1&focus={RIVERBANK}")
    browser.point_at(browser.word("sat"))
    tip = browser.find("#tip")
    assert tip.is_displayed()
    expected = small.weight(1, 1, WORDS["riverbank"], WORDS["sat"])
    assert float(tip.find_element("css selector", ".number").text) == pytest.approx(expected, abs=1e-4)
    assert "riverbank → sat" in tip.text and "river ##bank" in tip.text
    by_head = {(l, h): small.weight(l, h, WORDS["riverbank"], WORDS["sat"]) for l in range(3) for h in range(4)}
    layer, head = max(by_head, key=by_head.get)
    assert f"layer {layer}, head {head}" in browser.find("#head-map-caption").text
    browser.word("sat").click()
    browser.click("#head-map-caption button")
    assert (browser.hash()["layer"], browser.hash()["head"]) == (str(layer), str(head))
    assert_weight(browser.links()["riverbank", "sat"], by_head[layer, head])


def test_pointing_at_a_word_with_none_in_hand(browser, small):
    browser.open(small, "#layer=1&head=1")
    browser.point_at(browser.word("of"))
    assert_links(browser.links(), expected_links(small, 1, 1, "of"))
    browser.point_at(browser.find("h1"))
    assert_links(browser.links(), expected_links(small, 1, 1))


def test_keyboard(browser, small):
    from selenium.webdriver.common.keys import Keys
    browser.open(small)
    browser.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    browser.press_shift(Keys.ARROW_DOWN)
    assert (browser.hash().get("layer"), browser.hash().get("head")) == ("1", "0")
    browser.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert browser.find("#text .focus").text == "I"
    assert_links(browser.links(), expected_links(small, 1, 0, "I"))
    assert "I attends to" in browser.js("return document.getElementById('live').textContent")
    browser.keys("d", "s", "w", "2")
    assert {"direction": "in", "sinks": "show", "words": "0", "view": "matrix"}.items() <= browser.hash().items()
    browser.keys("3", Keys.ARROW_RIGHT, Keys.ARROW_UP)
    assert (browser.hash()["layer"], browser.hash()["head"], browser.hash()["view"]) == ("0", "1", "heads")
    browser.keys("m", "1", Keys.ESCAPE)
    assert not {"layer", "head", "view", "focus"} & browser.hash().keys()
    browser.keys("?")
    assert browser.find("#help").is_displayed()
    browser.keys(Keys.ARROW_DOWN)
    assert "layer" not in browser.hash()
    browser.keys(Keys.ESCAPE)
    assert not browser.find("#help").is_displayed()


def test_every_control_has_a_name_and_a_visible_focus(browser, small):
    from selenium.webdriver.common.keys import Keys
    browser.open(small)
    for view in ("matrix", "heads", "links"):
        browser.click(f"#tab-{view}")
        named = browser.js("""return [...document.querySelectorAll('button, select, input, [role=tab], [role=listbox], canvas[role=img]')]
            .filter((one) => one.offsetParent).map((one) => Boolean(one.ariaLabel || one.textContent.trim() || one.labels?.length))""")
        assert len(named) > 20 and all(named)
    browser.keys(Keys.TAB)
    for _ in range(8):
        assert browser.js("return getComputedStyle(document.activeElement).outlineStyle") != "none"
        browser.keys(Keys.TAB)


def test_matrix_shows_and_says_the_weights(browser, small):
    browser.open(small, "#view=matrix&layer=0&head=0")
    cell, margin = browser.js("return [matrixView.cell, matrixView.margin]")
    names, canvas = browser.names(), browser.find("#matrix")
    rows = [(name, other) for name in ("sat", "riverbank", "of") for other in ("I", "riverbank", "бег")]
    half = canvas.size["width"] / 2, canvas.size["height"] / 2
    shades = []
    for one, other in rows:
        x, y = (margin + (names.index(name) + 0.5) * cell for name in (other, one))
        browser.point_at(canvas, round(x - half[0]), round(y - half[1]))
        tip, expected = browser.find("#tip"), small.weight(0, 0, WORDS[one], WORDS[other])
        assert tip.text.startswith(f"{one} → {other}")
        assert_weight(float(tip.get_attribute("data-weight")), expected)
        # A corner of the cell, clear of the number in it; the pointer is then moved off.
        browser.point_at(browser.find("h1"))
        pixel = browser.js("""const dots = devicePixelRatio, canvas = document.getElementById('matrix');
            return [...canvas.getContext('2d').getImageData(arguments[0] * dots, arguments[1] * dots, 1, 1).data]""",
                           x - cell / 2 + 2, y - cell / 2 + 2)
        shades.append((expected, sum(pixel[:3])))
    light = [shade for _, shade in sorted(shades)]
    assert light == sorted(light, reverse=True) and light[0] - light[-1] > 100, "the larger the darker"


def test_matrix_zoom_and_click(browser, small):
    browser.open(small, "#view=matrix&layer=0&head=0")
    before = browser.js("return matrixView.cell")
    browser.click("#zoom-in")
    assert browser.js("return matrixView.cell") > before
    browser.keys("-", "-")
    assert browser.js("return matrixView.cell") < before
    browser.find("#matrix").click()
    assert {"focus", "other"} <= browser.hash().keys()


def test_overview_of_all_heads(browser, small):
    browser.open(small)
    browser.click("#tab-heads")
    browser.wait("return document.querySelectorAll('.thumb[data-drawn]').length === 4 * 5")
    pictures = browser.js("return [...document.querySelectorAll('.thumb canvas')].map((canvas) => canvas.toDataURL())")
    assert len(set(pictures)) == 20
    browser.click(".thumb[data-layer='2'][data-head='1']")
    assert (browser.hash()["layer"], browser.hash()["head"]) == ("2", "1")
    assert browser.find(".thumb[aria-current=true]").get_attribute("aria-label") == "layer 2, head 1"
    browser.click("#tab-links")
    assert_links(browser.links(), expected_links(small, 2, 1))


def test_address_keeps_what_is_shown(browser, small):
    browser.open(small, f"#view=matrix&direction=in&sinks=hide&layer=2&head=1&focus={RIVERBANK}&other=2&words=0")
    kept = browser.js("return {...state}")
    assert kept == {"view": "matrix", "layer": 2, "head": 1, "focus": 6, "other": 2, "direction": "in",
                    "sinks": "hide", "words": False, "theme": ""}
    browser.open(small, "#view=nonsense&layer=99&head=-3&focus=1e9&other=x&sinks=")
    assert browser.js("return [state.view, state.layer, state.head, state.focus, state.other, state.sinks]") == [
        "links", -1, -1, -1, -1, "apart"]
    assert browser.complaints() == []


def test_light_and_dark(browser, small):
    paper = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    browser.open(small)
    browser.media("light")
    assert min(browser.js(paper)) > 200
    browser.media("dark")
    assert max(browser.js(paper)) < 60
    browser.click("#theme")
    assert min(browser.js(paper)) > 200 and browser.hash()["theme"] == "light"
    browser.keys("t")
    assert max(browser.js(paper)) < 60 and browser.hash()["theme"] == "dark"


@pytest.mark.parametrize("width", [360, 800, 1920])
def test_fits_the_width(browser, small, large, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for page in (small, large):
            for view in ("links", "matrix", "heads"):
                browser.open(page, f"#view={view}&focus=3")
                assert browser.js("return document.documentElement.scrollWidth") <= width
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_names_beside_the_matrix_and_numbers_on_links_have_room(browser, tmp_path):
    browser.open(plain(tmp_path, 70, 1, 2), "#view=matrix")
    assert browser.js("return matrixView.cell") >= 9
    browser.keys("1")
    numbers = 0
    for focus in range(1, 69):
        browser.js("change({focus: arguments[0]})", focus)
        boxes = browser.js("""return [...document.querySelectorAll('#links text')].map((one) => one.getBoundingClientRect())
            .map((box) => [box.left, box.right, box.top, box.bottom])""")
        numbers += len(boxes)
        for index, (left, right, top, bottom) in enumerate(boxes):
            for other in boxes[:index]:
                assert left >= other[1] or right <= other[0] or top >= other[3] or bottom <= other[2], (focus, boxes)
    assert numbers > 68


@pytest.mark.parametrize("text, direction", [("جلست على ضفة", "rtl"), ("坐 在 河岸", "ltr")])
def test_direction_of_the_script(browser, tmp_path, text, direction):
    pieces = [("[CLS]", -1), *((word, index) for index, word in enumerate(text.split())), ("[SEP]", -1)]
    browser.open(Page(tmp_path, text, pieces, 1, 1, random_rows(9, len(pieces), 2)))
    assert browser.js("return getComputedStyle(document.getElementById('text')).direction") == direction
    first, second = (browser.word(word).rect["x"] for word in text.split()[:2])
    assert (first > second) == (direction == "rtl")


def test_one_token_one_head(browser, tmp_path):
    browser.open(Page(tmp_path, "x", [("x", 0)], 1, 1, [array.array("f", [1.0])]))
    for key in "123":
        browser.keys(key)
    assert browser.complaints() == []
    assert browser.hash() == {"view": "heads"}


def test_says_what_weights_are_not_and_how_they_are_stored(browser, small, large):
    browser.open(small)
    assert "not an explanation" in browser.find("footer").text
    browser.click("footer summary")
    assert "16 bits each" in browser.find("#about").text and "1/65535" in browser.find("#about").text
    browser.open(large)
    browser.click("footer summary")
    assert "8 bits each" in browser.find("#about").text and "1/255" in browser.find("#about").text


def test_size(tmp_path, large):
    assert plain(tmp_path, 32).path.stat().st_size < 3_000_000
    assert large.path.stat().st_size < 30_000_000


def test_512_tokens_are_usable_within_two_seconds(browser, large, record_property):
    """From the click to the first picture drawn, at best of three: the machine that tests may be busy elsewhere."""
    times = []
    for _ in range(3):
        browser.open(large)
        times.append(int(browser.js("return document.documentElement.dataset.ready")))
        if times[-1] < 2000:
            break
    record_property("ready_ms", times)
    print(f"512 tokens: usable after {times} ms, {min(times) / 2000:.2f} of what is allowed")
    assert min(times) < 2000


def test_512_tokens_show_the_right_weights(browser, large):
    browser.open(large, "#layer=4&head=7&focus=200")
    row = large.row(4, 7, 200)
    bound = max(row) / 255
    shown = browser.links()
    assert len(shown) == 300 and "300 strongest of" in browser.find("#legend-note").text
    for (_, other), weight in shown.items():
        assert weight == pytest.approx(row[int(other[1:]) + 1], abs=bound)
    browser.keys("2")
    stored = browser.js("return [...weights.matrix(4, 7).subarray(200 * 512, 201 * 512)]")
    assert stored == pytest.approx(list(row), abs=bound)
    assert [index for index, weight in enumerate(row) if weight == 0] == [i for i, weight in enumerate(stored) if weight == 0]
    mean = browser.js("return [...weights.matrix(-1, -1).subarray(0, 512)]")
    expected = [large.weight(None, None, [0], [key]) for key in range(512)]
    assert mean == pytest.approx(expected, abs=1 / 255 / 4)
    assert browser.complaints() == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.5])
def test_weights_that_are_none_are_refused(tmp_path, bad):
    page = Page(tmp_path, "x y", [("x", 0), ("y", 1)], 1, 1, [array.array("f", [0.5, bad])])
    assert page.run.returncode == 1 and page.run.stderr.count("\n") == 1
    assert "look --html" in page.run.stderr and "expected" in page.run.stderr


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_is_an_error(tmp_path, small):
    folder = small.path.parent
    result = subprocess.run([MAKE_PAGE, folder / "header.json", folder / "weights.f32", "/dev/full"], capture_output=True, text=True)
    assert result.returncode == 1 and "writing the page failed" in result.stderr


@pytest.mark.skipif(not os.access(REGARD, os.X_OK), reason=f"no {REGARD}: ./dev build")
@pytest.mark.skipif(not MODEL.is_file(), reason="no model minilm: regard models get minilm")
def test_the_commands_page_holds_the_commands_weights(browser, tmp_path):
    sentence = "I sat on the bank of the river and watched the water."
    files = tmp_path / "look.html", tmp_path / "look.json"
    command = [REGARD, "look", "--html", files[0], "--json", files[1], "--focus", "bank", sentence]
    subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)
    document = json.loads(files[1].read_text())
    browser.open(files[0])
    assert browser.find("#panel-title").text == "bank attends to"
    assert browser.find("#ranking li .name").text == "river"
    for layer, heads in enumerate(document["attention"]):
        for head, rows in enumerate(heads):
            stored = browser.js("return [...weights.matrix(arguments[0], arguments[1])]", layer, head)
            assert stored == pytest.approx([weight for row in rows for weight in row], abs=1 / 65535)
    assert browser.complaints() == []
