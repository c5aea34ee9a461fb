"""Settings: where a value comes from, and what a mistake says."""

from pathlib import Path

import pytest

from ethicclip.errors import BadInputError, UsageError
from ethicclip.settings import Settings, resolve


class Inner(Settings):
    depth: int = 1
    width: int = 2


class Outer(Settings):
    size: int = 224
    inner: Inner = Inner()


def test_precedence_is_defaults_file_set_flags(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("make: {size: 1, inner: {depth: 5, width: 6}}\nother: {nonsense: 1}\n")
    settings = resolve(
        Outer, verb="make", config=config, overrides=["inner.depth=7"], flags={"size": 512, "inner": None}
    )
    assert settings == Outer(size=512, inner=Inner(depth=7, width=6))


def test_the_digest_depends_on_values_only() -> None:
    assert Outer().digest() == resolve(Outer, verb="x", overrides=["size=224"]).digest()
    assert Outer().digest() != Outer(size=225).digest()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["size"], "a.b=value"),
        (["=3"], "a.b=value"),
        (["sizes=3"], "sizes"),
        (["inner.depth=deep"], "inner.depth"),
        (["size=[1"], "not YAML"),
    ],
)
def test_a_bad_override_is_named(overrides: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("[", r"\[")):
        resolve(Outer, verb="x", overrides=overrides)


@pytest.mark.parametrize("text", ["- a\n- b\n", "make: 3\n", "make: [\n"])
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(text)
    with pytest.raises(BadInputError, match=r"settings\.yaml"):
        resolve(Outer, verb="make", config=config)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="gone"):
        resolve(Outer, verb="make", config=tmp_path / "gone.yaml")
