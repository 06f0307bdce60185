#!/usr/bin/env python3
"""Writes the golden data of the evaluation's tests: features, test cases, and what a full sort makes of them.

    python3 -m venv venv && venv/bin/pip install numpy
    venv/bin/python scripts/golden_evaluate.py

Writes tests/golden/evaluate/: test-case files of the form of the published ones, features folders, and
`expected.json`. The metrics are computed by brute force in float64: for each query the scores of the
database and of its entry's exemplars are concatenated and sorted.

Features are random around one direction for each entry, so that recall lies between 0 and 1. The tool
scores in float32, so a seed is only taken if no database score is closer to an exemplar's than
MIN_GAP. The metrics under `int8` are those of the ranking that an index makes, in its exact integers,
so that they need no such gap. The folder `ties` is the opposite: rows whose unit vectors and scores are exact in float32, and
equal, so that only the order of ties decides.
"""

import json
import pathlib
import shutil

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "evaluate"
RECALL_AT = (5, 10, 100)
# Float32 scores of 16 values are off by less than 1e-6.
MIN_GAP = 3e-6


def cases(name, types, entries, random):
    """Entries with 2 to 9 exemplars and 2 to 4 queries of each synth type."""
    return [
        {
            "exemplar": [f"exemplar/{name}/{e}/{i}.jpg" for i in range(random.integers(2, 10))],
            "synth": {
                t: [f"synth/{name}/{t}/{e}/{i}.png" for i in range(random.integers(2, 5))] for t in types
            },
            "class_id": f"{name}_{e}",
            "category": None,
        }
        for e in range(entries)
    ]


def features(all_cases, rows, dimension, spread, random, dtype):
    """The three matrices and the two lists of a folder, the lists shuffled."""

    def near(direction, noise):
        return random.normal(size=dimension) * noise + direction * random.uniform(0.5, 3)

    exemplar, synth = {}, {}
    for case in all_cases:
        for entry in case:
            direction = random.normal(size=dimension)
            for path in entry["exemplar"]:
                exemplar[path] = near(direction, spread * random.uniform(0.3, 1.5))
            for paths in entry["synth"].values():
                for path in paths:
                    synth[path] = near(direction, spread)
    # An image that no test case names.
    exemplar["exemplar/unused.jpg"] = random.normal(size=dimension)
    folder = {"database": (random.normal(size=(rows, dimension)).astype(dtype), None)}
    for name, by_path in (("exemplar", exemplar), ("synth", synth)):
        paths = list(by_path)
        random.shuffle(paths)
        folder[name] = (np.array([by_path[path] for path in paths]).astype(dtype), paths)
    return folder


def unit(rows):
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def away_from_zero(values):
    """Rounds float32 values as Rust does: halves away from zero."""
    values = values.astype(np.float64)
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def quantized(rows, peak_code):
    """Codes and scales of rows that are normalised first: an index's rows with 127, queries with 4095."""
    rows = unit(rows).astype(np.float32)
    if peak_code == 4095:
        # A query is normalised once as a feature and once as a query.
        rows = unit(rows).astype(np.float32)
    scales = np.abs(rows).max(1) / np.float32(peak_code)
    return [(codes, scale) for codes, scale in zip(away_from_zero(rows / scales[:, None]), scales)]


def int8_scores(items, query):
    """Scores of an index: an exact sum, rounded to float32, times the product of the scales."""
    codes, scales = (np.array(values) for values in zip(*items))
    sums = (codes @ query[0]).astype(np.float32)
    return sums * (scales * query[1])


def metrics(case, folder, int8=False):
    """Metrics by synth type, and the least gap between a score of an exemplar and one of the database."""
    prepare = (lambda rows: quantized(rows, 127)) if int8 else unit
    prepare_query = (lambda rows: quantized(rows, 4095)) if int8 else unit
    score = int8_scores if int8 else (lambda items, query: items @ query)
    database = prepare(folder["database"][0])
    rows = {}
    for name, prepare_of in (("exemplar", prepare), ("synth", prepare_query)):
        matrix, paths = folder[name]
        rows[name] = dict(zip(paths, prepare_of(matrix)))
    gap, results = np.inf, {}
    for entry in case:
        exemplars = [rows["exemplar"][path] for path in entry["exemplar"]]
        items = [*database, *exemplars] if int8 else np.concatenate([database, exemplars])
        is_hit = np.arange(len(items)) >= len(database)
        for synth_type, paths in entry["synth"].items():
            for path in paths:
                scores = score(items, rows["synth"][path])
                between = np.abs(scores[is_hit][:, None] - scores[~is_hit][None, :])
                gap = min(gap, between.min())
                hits = is_hit[np.argsort(-scores, kind="stable")]
                ranks = np.flatnonzero(hits) + 1
                values = [hits[:k].sum() / len(exemplars) for k in RECALL_AT]
                values.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
                results.setdefault(synth_type, []).append(values)
    means = {
        t: {"queries": len(values), **dict(zip(("recall@5", "recall@10", "recall@100", "mAP"), np.mean(values, 0)))}
        for t, values in results.items()
    }
    return means, gap


def ties():
    """Exact unit vectors of 4 values: along an axis, or halves of either sign."""
    half = [[1, 1, 1, 1], [1, 1, 1, -1], [1, 1, -1, -1], [1, -1, -1, -1], [-1, -1, -1, -1]]
    database = [[2, 0, 0, 0], *half, [0, 4, 0, 0], [-1, 0, 0, 0], [0.5, 0, 0, 0]]
    exemplar = {
        "same/0.jpg": [1, 0, 0, 0],
        "same/1.jpg": [8, 0, 0, 0],
        "same/2.jpg": [3, 3, 3, 3],
        "other/0.jpg": [0, 0, 1, 0],
        "other/1.jpg": [-2, -2, -2, -2],
    }
    synth = {"a.png": [4, 0, 0, 0], "b.png": [1, 1, 1, 1], "c.png": [0, 0, 0, 2], "d.png": [-1, 1, -1, 1]}
    case = [
        {"exemplar": [p for p in exemplar if p.startswith(e)], "synth": {"gpt": list(synth)}, "class_id": e}
        for e in ("same", "other")
    ]
    folder = {"database": (np.array(database, np.float32), None)}
    for name, by_path in (("exemplar", exemplar), ("synth", synth)):
        folder[name] = (np.array(list(by_path.values()), np.float32), list(by_path))
    # float64 must not make ties of its own or undo them.
    for matrix, _ in folder.values():
        assert (unit(matrix) * 2 == np.round(unit(matrix) * 2)).all()
    return case, folder


def write(name, folder):
    (ROOT / name).mkdir()
    for stem, (matrix, paths) in folder.items():
        np.save(ROOT / name / f"{stem}.npy", matrix)
        if paths is not None:
            (ROOT / name / f"{stem}.txt").write_text("".join(f"{path}\n" for path in paths))


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    random = np.random.default_rng(1)
    by_name = {
        "test_art": cases("art", ("gpt", "object"), 12, random),
        "test_net": cases("net", ("gpt", "media"), 5, random),
    }
    tie_case, tie_folder = ties()
    expected = {"int8": {}}
    for label, rows, dimension, spread, dtype in (
        ("tuned", 500, 16, 0.9, np.float32),
        ("untuned", 301, 11, 1.4, np.float16),
    ):
        for seed in range(100):
            folder = features(by_name.values(), rows, dimension, spread, np.random.default_rng(seed), dtype)
            found = {name: metrics(case, folder) for name, case in by_name.items()}
            gap = min(gap for _, gap in found.values())
            if gap >= MIN_GAP:
                break
        else:
            raise SystemExit(f"{label}: no seed keeps the scores apart")
        print(f"{label}: seed {seed}, least gap {gap:.1e}")
        write(label, folder)
        expected[label] = {name: means for name, (means, _) in found.items()}
        by_int8 = {name: metrics(case, folder, int8=True)[0] for name, case in by_name.items()}
        expected["int8"][label] = by_int8
    write("ties", tie_folder)
    means, gap = metrics(tie_case, tie_folder)
    assert gap == 0.0
    expected["ties"] = {"test_ties": means}
    expected["int8"]["ties"] = {"test_ties": metrics(tie_case, tie_folder, int8=True)[0]}
    for name, case in {**by_name, "test_ties": tie_case}.items():
        (ROOT / f"{name}.json").write_text(json.dumps(case))
    (ROOT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
