from __future__ import annotations

from dataclasses import field, replace
from typing import Literal

import pytest

from nucbook.fingerprint import fingerprint
from nucbook.profile import Count, as_before, build, configuration, flat, identity, profile, resolve, schedule


@configuration
class Config:
    steps: Count = 60_000
    margin: float = 3.0
    flip: bool = True
    sizes: tuple[int, ...] = (256, 256)
    window: tuple[int, float] = (3, 0.5)
    clip: float | None = None
    selection: Literal["last", "masks"] = "last"

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
        ("selection", "masks", "masks"),
    ],
)
def test_command_line_texts_become_the_fields_type(field, text, value):
    found = getattr(resolve(Config, "kumar", "paper", command_line={field: text}), field)
    assert found == value
    assert type(found) is type(value)


def test_an_unknown_field_lists_those_there_are():
    with pytest.raises(
        ValueError,
        match="Config has no field 'stepz'; did you mean 'steps'\\? Its fields are steps, margin, flip",
    ):
        resolve(Config, "kumar", "quick", {"stepz": 3})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 1.5, "steps = 1.5: expected int, got float"),
        ("steps", True, "steps = True: expected int, got bool"),
        ("steps", -5, "steps = -5: expected int >= 1"),
        ("steps", "0", "steps = '0': expected int >= 1"),
        ("margin", "wide", "margin = 'wide': expected float, got str"),
        ("flip", "1", "flip = '1': expected bool, got int"),
        ("sizes", [1, "a"], r"sizes = \[1, 'a'\]: expected int, got str"),
        ("window", [1], r"window = \[1\]: expected array of length 2"),
        ("clip", "x", "clip = 'x'"),
        ("selection", "mask", "selection = 'mask': one of last, masks; did you mean 'masks'"),
        ("selection", 3, "selection = 3: one of last, masks"),
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


@configuration
class Outer:
    inner: Config = field(default_factory=Config)
    rounds: Count = 1
    later: bool = as_before(False)

    @classmethod
    def paper(cls, dataset):
        return cls(Config.paper(dataset))

    @classmethod
    def short(cls, dataset):
        return cls(Config.short(dataset))

    @classmethod
    def quick(cls):
        return cls(Config.quick())


@pytest.mark.parametrize("name", ["inner.steps", "steps"])
def test_a_field_of_an_inner_configuration_has_two_names(name):
    found = resolve(Outer, "kumar", "short", {"rounds": 2}, {name: "7"})
    assert found == Outer(Config(steps=7), rounds=2)
    assert flat(found)["inner.steps"] == 7
    assert schedule(found, "kumar", "short", {"rounds": 2}) == "short: inner.steps 60000 → 7"


def test_values_are_checked_wherever_they_come_from():
    with pytest.raises(ValueError, match="steps = 0: expected int >= 1"):
        Config(steps=0)
    with pytest.raises(ValueError, match="steps = 0: expected int >= 1"):
        replace(Config(), steps=0)
    with pytest.raises(ValueError, match="selection = 'lost': one of last, masks; did you mean 'last'"):
        build(Outer, {"inner": {"selection": "lost"}})
    with pytest.raises(ValueError, match="inner = 3: expected a Config"):
        Outer(inner=3)


def test_what_was_written_is_built_again():
    assert build(Outer, {"inner": {"steps": 5, "sizes": [1, 2]}, "rounds": 3}) == Outer(
        Config(steps=5, sizes=(1, 2)), rounds=3
    )


def test_a_new_field_that_means_as_before_is_no_part_of_the_identity():
    assert "later" not in identity(Outer())
    assert identity(Outer(later=True))["later"] is True
    assert identity(Outer())["inner"] == flat(Config())
