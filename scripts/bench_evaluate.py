#!/usr/bin/env python3
"""Times `data-attribution evaluate` against a plain numpy loop on the same generated features.

    python3 -m venv venv && venv/bin/pip install numpy
    cargo build --release --features cli
    venv/bin/python scripts/bench_evaluate.py target/release/data-attribution

The loop does for each query what the evaluation is defined by: concatenate the database and the entry's
exemplars, score, sort fully, count. Both times include reading the features; the tool's includes
writing its results. Both use the machine's cores as they come.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np

RECALL_AT = (5, 10, 100)


def generate(folder, rows, dimension, queries, random):
    """A case of 20 entries, or fewer, of 10 exemplars, and its features."""
    entries = min(20, queries)
    case, exemplar, synth = [], [], []
    exemplar_paths, synth_paths = [], []
    for e in range(entries):
        direction = random.normal(size=dimension)
        case.append({"exemplar": [f"e{e}-{i}" for i in range(10)], "synth": {"gpt": []}, "class_id": str(e)})
        exemplar_paths += case[e]["exemplar"]
        exemplar += [random.normal(size=dimension) * 2 + direction for _ in range(10)]
    for q in range(queries):
        case[q % entries]["synth"]["gpt"].append(f"q{q}")
        synth_paths.append(f"q{q}")
        synth.append(random.normal(size=dimension) * 2 + exemplar[q % entries * 10])
    np.save(folder / "database.npy", random.normal(size=(rows, dimension)).astype(np.float32))
    np.save(folder / "exemplar.npy", np.array(exemplar, np.float32))
    np.save(folder / "synth.npy", np.array(synth, np.float32))
    for name, paths in (("exemplar", exemplar_paths), ("synth", synth_paths)):
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in paths))
    (folder / "case.json").write_text(json.dumps(case))


def loop(folder):
    """recall@K and mAP of the case, the straightforward way."""

    def load(name):
        rows = np.load(folder / f"{name}.npy")
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def by_path(name):
        return dict(zip((folder / f"{name}.txt").read_text().splitlines(), load(name)))

    database, exemplar, synth = load("database"), by_path("exemplar"), by_path("synth")
    values = []
    for entry in json.loads((folder / "case.json").read_text()):
        exemplars = np.array([exemplar[path] for path in entry["exemplar"]])
        for path in entry["synth"]["gpt"]:
            items = np.concatenate([database, exemplars])
            order = np.argsort(-(items @ synth[path]), kind="stable")
            ranks = np.flatnonzero(order >= len(database)) + 1
            recalls = [(ranks <= k).mean() for k in RECALL_AT]
            values.append(recalls + [np.mean(np.arange(1, len(ranks) + 1) / ranks)])
    return np.mean(values, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", help="the data-attribution binary, built for release")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        generate(folder, arguments.rows, arguments.dimension, arguments.queries, np.random.default_rng(0))
        start = time.perf_counter()
        subprocess.run(
            [arguments.tool, "evaluate", "--cases", folder / "case.json", "--features", f"f={folder}", "-o", folder / "out"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        ours = time.perf_counter() - start
        start = time.perf_counter()
        expected = loop(folder)
        theirs = time.perf_counter() - start
        row = json.loads((folder / "out" / "results.json").read_text())["results"][0]
    found = np.array(row["recall"] + [row["mean_average_precision"]])
    print(f"N {arguments.rows}, D {arguments.dimension}, {arguments.queries} queries")
    print(f"data-attribution  {ours:8.2f} s  {arguments.queries / ours:8.1f} queries/s")
    print(f"numpy loop        {theirs:8.2f} s  {arguments.queries / theirs:8.1f} queries/s")
    print(f"ratio             {theirs / ours:8.1f}")
    # Scores that float32 rounds the other way round move a rank by one.
    print(f"largest difference of a metric: {np.abs(found - expected).max():.1e}")


if __name__ == "__main__":
    main()
