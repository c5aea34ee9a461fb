"""What a page may hold: nothing remote, nothing that runs, nothing of a patient, nothing a caption smuggled in."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ethicclip.provenance import artifact_of_file, commit_cohort
from ethicclip.reports import ReportSettings, write_report
from tests.reports.conftest import eye, verdict_file

VOID = {"meta", "img", "br", "link", "input", "line", "rect", "path"}


class Page(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def write(tmp_path: Path):
    def run(world, name: str = "report", **settings) -> Path:
        # Typst takes its time: the PDF has tests of its own.
        chosen = ReportSettings(**{"formats": ("html", "json"), **settings})
        return write_report(chosen, world.ledger, tmp_path / name, keys=world.keys).out

    return run


def pictures(html: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/(?:jpeg|png|webp);base64,([A-Za-z0-9+/=]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found]


@pytest.mark.parametrize("audience", ["shareable", "restricted"])
def test_the_page_loads_nothing_and_runs_nothing(world, write, audience: str) -> None:
    html = (write(world, audience=audience) / "report.html").read_text()
    assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]", html, re.IGNORECASE)
    page = Page(html)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "link", "form", "base", "input"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("style", "srcset", "action") for name in attributes), tag
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ") and f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy and "url(" not in style and "@import" not in style


def test_the_page_can_be_read_by_everyone(world, write) -> None:
    page = Page((write(world, audience="restricted") / "report.html").read_text())
    assert ("html", {"lang": "en"}) in page.tags
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(a["href"][1:] in ids for tag, a in page.tags if tag == "a")
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def likeness(one: np.ndarray, two: np.ndarray) -> float:
    """Highest correlation over the eight ways to turn and mirror, at a size where JPEG and resizing do not matter."""
    small = [
        np.asarray(Image.fromarray(image).convert("RGB").resize((48, 48), Image.Resampling.BOX), float)
        for image in (one, two)
    ]
    inside = np.hypot(*(np.mgrid[0:48, 0:48] - 23.5)) < 20
    best = -1.0
    for turn in range(4):
        for mirror in (False, True):
            turned = np.rot90(small[1], turn)
            turned = turned[:, ::-1] if mirror else turned
            a, b = ((image[inside] - image[inside].mean(0)).ravel() for image in (small[0], turned))
            best = max(best, float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return best


@pytest.mark.parametrize("verdict", ["PASS", "LEAK", "INCONCLUSIVE"])
def test_the_shareable_form_holds_nothing_of_a_patient(make_world, write, verdict: str) -> None:
    world = make_world(verdict=verdict)
    out = write(world)
    for path in out.iterdir():
        data = path.read_bytes()
        for secret in world.secrets:
            assert secret.encode() not in data, (path.name, secret)
        assert str(world.folder).encode() not in data
    html = (out / "report.html").read_text()
    shown = pictures(html)
    assert len(shown) == 12
    assert max(likeness(picture, real) for picture in shown for real in world.real) < 0.9
    # The search would find one: a real picture, made small, turned and saved again, is recognised.
    copy = Image.fromarray(np.rot90(world.real[0])).resize((60, 60))
    stream = io.BytesIO()
    copy.save(stream, "JPEG", quality=40)
    assert likeness(np.asarray(Image.open(stream)), world.real[0]) > 0.9
    restricted = pictures((write(world, "restricted", audience="restricted") / "report.html").read_text())
    halves = [half for picture in restricted for half in (picture[:, :96], picture[:, -96:])]
    assert max(likeness(half, real) for half in halves for real in world.real) > 0.99


def test_a_flagged_image_is_not_shown(make_world, write) -> None:
    clean, leaking = make_world("clean"), make_world("leaking", verdict="LEAK")
    assert "pair-0003" in (write(clean, "one") / "report.html").read_text()
    html = (write(leaking, "two") / "report.html").read_text()
    assert "pair-0003" not in html
    assert max(likeness(picture, np.asarray(eye(1003))) for picture in pictures(html)) < 0.99


def test_pictures_that_nobody_vouches_for_are_not_shown(make_world, write) -> None:
    swapped = make_world("swapped")
    shard = swapped.folder / "pairs" / "shards" / "000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"number 1", b"number 9"))
    assert pictures((write(swapped, "one") / "report.html").read_text()) == []
    edited = make_world("edited")
    manifest = edited.folder / "pairs" / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert pictures((write(edited, "two") / "report.html").read_text()) == []
    lost = make_world("lost", verdict="LEAK")
    (lost.folder / "audit" / "flagged.csv").unlink()
    assert pictures((write(lost, "three") / "report.html").read_text()) == []


@pytest.mark.parametrize(("verdict", "count"), [("PASS", 12), ("INCONCLUSIVE", 0), ("LEAK", 0)])
def test_a_generator_that_saw_patients_shows_pictures_only_after_a_pass(make_world, write, verdict, count) -> None:
    html = (write(make_world(verdict=verdict, engine="diffusion")) / "report.html").read_text()
    assert len(pictures(html)) == count


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% for x in y %}",
    "</style><style>body{display:none}</style>",
    "\x00\x1b[31mred\x07",
    "safe\u202egnp.exe\u200b",
    "x" * 5000,
    "javascript:alert(1)",
    "see https://evil.example/x.png and HTTP://other.example",
    "眼底照片 & <b>bold</b>",
]


def test_hostile_text_is_harmless(make_world, write) -> None:
    world = make_world(captions=HOSTILE, cohort="<svg onload=alert(1)>\u202eclinic")
    with world.record("generate<script>", {"engine": "</code><script>alert(2)</script>", "x\u202e": "\x1b]0;"}) as run:
        run.note_exit(0, "<b>FINE</b>")
    out = write(world, title='Title </title><script>alert("t")</script>', released_to="<i>all</i>", attacker="\x1b[2J")
    html = (out / "report.html").read_text()
    page = Page(html)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "b", "i"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert len([tag for tag, _ in page.tags if tag == "style"]) == 1
    hidden = {c for c in html if unicodedata.category(c)[0] == "C" and c not in "\n\t"}
    assert hidden == set()
    assert "{{ 7 * 7 }}" in page.text and "49" not in re.findall(r"\{\{.*?\}\}", page.text)
    assert "<script>alert(1)</script>" in page.text
    assert "://" not in html and "evil.example/x.png" in page.text
    assert "\\u202egnp.exe" in page.text and "x" * 1000 not in html
    written = (out / "report.json").read_text()
    assert not {c for c in written if unicodedata.category(c)[0] == "C" and c not in "\n\t"}


NAMES = [
    "<img src=x onerror=alert(1)>.jpg",
    '"><svg onload=alert(1)>.png',
    "photo\u202egpj.exe",
    "line\nbreak\x1b]0;title\x07.jpg",
    "a" * 3000 + ".jpg",
    "\u0645\u0631\u064a\u0636.jpg",
    "../../../../etc/passwd",
    "{{ report.ledger }}",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize("audience", ["shareable", "restricted"])
def test_hostile_file_names_are_harmless(make_world, write, audience: str) -> None:
    world = make_world(verdict="LEAK")
    rows = [{"file": name, "reference_file": name, "score": "1", "rule": name} for name in NAMES]
    files = world.audit_files("audit-hostile", verdict_file("LEAK", flagged=9, synthetic=40), rows)
    odd = world.folder / "run" / "<b>&\"'\u202e weights.safetensors"
    odd.write_bytes(b"w")
    with world.record("audit-leakage", {"alpha": 0.05}) as run:
        run.use(commit_cohort(["cd" * 32], NAMES[0], world.keys, kind="image_set", origin="mixed"))
        for artifact in files:
            run.generate(artifact)
        run.generate(artifact_of_file(odd, kind="model", alias=NAMES[1]))
        run.note_exit(10, "LEAK")
    html = (write(world, audience=audience) / "report.html").read_text()
    page = Page(html)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "b", "i"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all((attributes.get("src") or "data:image/").startswith("data:image/") for _, attributes in page.tags)
    assert {c for c in html if unicodedata.category(c)[0] == "C" and c not in "\n\t"} == set()
    shown = page.text
    assert ("photo\\u202egpj.exe" in shown) == (audience == "restricted")
    assert "a" * 500 not in html and "alert(1)" in shown
    if audience == "restricted":
        assert "\u0645\u0631\u064a\u0636.jpg" in shown and "{{ report.ledger }}" in shown


def test_paths_of_the_machine_are_withheld(world, write) -> None:
    html = (write(world) / "report.html").read_text()
    assert "(a path; withheld)" in html and "p.yaml" not in html
