from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nucbook.results import KEYS, Results
from nucbook.rows import Row, Table
from nucbook.tables.pairs import differences
from nucbook.tables.run import run_table

ROWS = (Row("A", "toys.toy", "kumar"), Row("B", "toys.toy", "kumar"))
TABLE = Table("toys", "2", "Toys.", ROWS, {"AJI": "aji"})


def stored(path, gap, seeds=5, images=12, noise=0.01):
    """Results in which row B is `gap` above row A, whatever the seed and the image."""
    rng, results = np.random.default_rng(0), Results(path)
    for seed in range(seeds):
        luck, worth = rng.normal(0, 0.1), rng.random(images)
        for row, more in (("A", 0.0), ("B", gap)):
            values = worth + luck + more + rng.normal(0, noise, images)
            per_image = [{"name": f"i{i}", "aji": float(value)} for i, value in enumerate(values)]
            known = {"paper": "toys", "table": "2", "row": row, "profile": "quick", "seed": seed, "fold": 0}
            results.append(dict.fromkeys(KEYS, "") | known | {"metrics": {}, "per_image": per_image})
    return results


def test_pairing_takes_out_what_both_rows_share(tmp_path):
    """Images differ by 1, seeds by 0.1; a gap of 0.05 is seen all the same."""
    found = differences(TABLE, "aji", "A", results=stored(tmp_path / "toys.jsonl", 0.05))
    assert found.difference["B"] == pytest.approx(0.05, abs=0.01)
    assert 0.03 < found.low["B"] < found.difference["B"] < found.high["B"] < 0.07
    assert found.loc["A", ["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert found.seeds.tolist() == [5, 5]


def test_runs_of_what_a_row_was_are_left_out_where_it_has_newer_ones(toys, tmp_path):
    table, results = toys.TABLES["2"], Results(tmp_path / "toys.jsonl")
    run_table(table, rows=["spn", "SPN+IEN"], profile="quick", results=results, progress=False)
    now = differences(table, "aji", "SPN", results=results)
    for line in results.lines():  # another seed of both rows as they were, and far worse
        worse = [{**image, "aji": 0.0} for image in line["per_image"]]
        results.append({**line, "run": f"old {line['row']}", "seed": 7, "per_image": worse})
    pd.testing.assert_frame_equal(differences(table, "aji", "SPN", results=results), now)
    assert now.seeds["SPN+IEN"] == 1


def test_the_interval_of_nothing_holds_nought(tmp_path):
    found = differences(TABLE, "aji", "A", results=stored(tmp_path / "toys.jsonl", 0.0, noise=0.2))
    assert found.low["B"] < 0 < found.high["B"]


def test_a_row_without_runs_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"toys/2 has no quick run of 'C'; run it first"):
        differences(TABLE, "aji", "C", results=stored(tmp_path / "toys.jsonl", 0.0))


def test_only_the_cells_asked_for_are_paired(tmp_path):
    """Two shares of labels lie in one table; in one of them the rows are alike."""
    results = Results(tmp_path / "toys.jsonl")
    known = {"paper": "toys", "table": "2", "profile": "quick", "seed": 0, "fold": 0, "metrics": {}}
    for labels, gap in (("1/8", 0.0), ("1/4", 0.2)):
        for row, more in (("A", 0.0), ("B", gap)):
            per_image = [{"name": f"i{i}", "aji": 0.5 + more} for i in range(3)]
            results.append(
                dict.fromkeys(KEYS, "") | known | {"row": row, "labels": labels, "per_image": per_image}
            )
    for labels, gap in (("1/8", 0.0), ("1/4", 0.2)):
        found = differences(TABLE, "aji", "A", results=results, labels=labels)
        assert found.difference["B"] == pytest.approx(gap)
        assert found.seeds["B"] == 1


def test_an_image_hard_in_every_seed_is_one_image(tmp_path):
    """Twelve images of which B is better in seven, in all seeds alike: more seeds make no more of them."""
    results, rng = Results(tmp_path / "toys.jsonl"), np.random.default_rng(1)
    worth = np.where(np.arange(12) < 7, 0.1, -0.1) + rng.normal(0, 0.01, 12)
    known = {"paper": "toys", "table": "2", "profile": "quick", "fold": 0, "metrics": {}}
    for seed in range(20):
        for row, more in (("A", np.zeros(12)), ("B", worth)):
            per_image = [{"name": f"i{i}", "aji": 0.5 + float(m)} for i, m in enumerate(more)]
            results.append(
                dict.fromkeys(KEYS, "") | known | {"row": row, "seed": seed, "per_image": per_image}
            )
    found = differences(TABLE, "aji", "A", results=results).loc["B"]
    spread = 2 * 1.96 * worth.std() / np.sqrt(12)
    assert found.low < 0 < found.high
    assert found.high - found.low == pytest.approx(spread, rel=0.1)


def test_the_folds_of_a_seed_are_joined(tmp_path):
    results = Results(tmp_path / "toys.jsonl")
    known = {"paper": "toys", "table": "2", "profile": "quick", "seed": 0, "metrics": {}}
    for fold in range(2):
        for row, more in (("A", 0.0), ("B", 0.1 * (1 + fold))):
            per_image = [{"name": f"fold {fold}, {i}", "aji": 0.5 + more} for i in range(3)]
            results.append(
                dict.fromkeys(KEYS, "") | known | {"row": row, "fold": fold, "per_image": per_image}
            )
    found = differences(TABLE, "aji", "A", results=results).loc["B"]
    assert found.difference == pytest.approx(0.15)
    assert found.seeds == 1
    assert 0.1 <= found.low < 0.15 < found.high <= 0.2


def test_rows_without_a_common_seed_are_left_out(tmp_path):
    results = Results(tmp_path / "toys.jsonl")
    known = {"paper": "toys", "table": "2", "profile": "quick", "fold": 0, "metrics": {}}
    for seed, row in enumerate("AB"):
        per_image = [{"name": f"i{i}", "aji": 0.5} for i in range(3)]
        results.append(dict.fromkeys(KEYS, "") | known | {"row": row, "seed": seed, "per_image": per_image})
    assert differences(TABLE, "aji", "A", results=results).index.tolist() == ["A"]
