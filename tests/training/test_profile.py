from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from nucbook.rows import fingerprint
from nucbook.training.profile import profile, resolve, schedule


@dataclass(frozen=True)
class Config:
    steps: int = 60_000
    margin: float = 3.0
    flip: bool = True
    sizes: tuple[int, ...] = (256, 256)
    window: tuple[int, float] = (3, 0.5)
    clip: float | None = None
    selection: str = "last"

    @classmethod
    def paper(cls, dataset):
        return cls(margin=1.5 if dataset == "tnbc" else 3.0)

    @classmethod
    def short(cls, dataset):
        return replace(cls.paper(dataset), steps=2500)

    @classmethod
    def quick(cls):
        return cls(steps=40, sizes=(64,))


def test_quick_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("NUCBOOK_PROFILE", raising=False)
    assert profile() == "quick"
    monkeypatch.setenv("NUCBOOK_PROFILE", "short")
    assert profile() == "short"
    assert profile("paper") == "paper"
    monkeypatch.setenv("NUCBOOK_PROFILE", "fast")
    with pytest.raises(ValueError, match=r"profile 'fast'\? Choose one of quick, short, paper"):
        profile()


def test_each_layer_overrides_the_one_before():
    assert resolve(Config, "tnbc", "paper") == Config(margin=1.5)
    assert resolve(Config, "tnbc", "short") == Config(margin=1.5, steps=2500)
    assert resolve(Config, "tnbc", "quick") == Config(steps=40, sizes=(64,))
    rows = resolve(Config, "tnbc", "short", {"margin": 2, "steps": 7})
    assert rows == Config(margin=2.0, steps=7)
    assert resolve(Config, "tnbc", "short", {"margin": 2}, {"margin": "0.5"}) == Config(
        margin=0.5, steps=2500
    )


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("steps", "12", 12),
        ("steps", "1e3", 1000),
        ("margin", "2", 2.0),
        ("flip", "False", False),
        ("sizes", "[1, 2, 3]", (1, 2, 3)),
        ("window", "[4, 1]", (4, 1.0)),
        ("clip", "None", None),
        ("clip", "null", None),
        ("clip", "1", 1.0),
        ("selection", "Best", "Best"),
    ],
)
def test_command_line_texts_become_the_fields_type(field, text, value):
    found = getattr(resolve(Config, "kumar", "paper", command_line={field: text}), field)
    assert found == value
    assert type(found) is type(value)


def test_an_unknown_field_lists_those_there_are():
    with pytest.raises(ValueError, match="Config has no field 'stepz'; its fields are steps, margin, flip"):
        resolve(Config, "kumar", "quick", {"stepz": 3})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 1.5, "steps = 1.5: wanted int"),
        ("steps", True, "steps = True: wanted int"),
        ("margin", "wide", "margin = 'wide': wanted float"),
        ("flip", "1", "flip = 1: wanted bool"),
        ("sizes", [1, "a"], "sizes = 'a': wanted int"),
        ("window", [1], r"window = \[1\]: wanted tuple\[int, float\]"),
        ("clip", "x", "clip = 'x'"),
        ("selection", 3, "selection = 3: wanted str"),
    ],
)
def test_a_value_of_another_type_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        resolve(Config, "kumar", "quick", {field: value})


def test_a_config_is_named_by_its_content():
    assert fingerprint(resolve(Config, "a", "paper")) == fingerprint(
        resolve(Config, "b", "paper", {"margin": 3})
    )
    assert fingerprint(resolve(Config, "a", "paper")) != fingerprint(resolve(Config, "tnbc", "paper"))


def test_how_a_run_was_shortened_is_said():
    said = lambda dataset, name, row=None, user=None: schedule(
        resolve(Config, dataset, name, row, user), dataset, name, row
    )
    assert said("tnbc", "paper") == "paper"
    assert said("tnbc", "paper", {"margin": 9}) == "paper"
    assert said("tnbc", "paper", None, {"steps": 9}) == "paper: steps 60000 → 9"
    assert said("tnbc", "short", {"margin": 9}) == "short: steps 60000 → 2500"
    assert said("kumar", "quick") == "quick: steps 60000 → 40, sizes (256, 256) → (64,)"
