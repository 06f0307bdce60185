#!/usr/bin/env python3
"""Times `data-attribution evaluate` against a plain numpy loop on the same generated features.

    python3 -m venv venv && venv/bin/pip install numpy
    cargo build --release --features cli
    venv/bin/python scripts/bench_evaluate.py target/release/data-attribution

The loop does for each query what the evaluation is defined by: concatenate the database and the entry's
exemplars, score, sort fully, count. Both times include reading the features; the tool's includes
writing its results. Both use the machine's cores as they come.

The tool is timed without and with its second ranking, by int8 rows. The loop makes that one too, so that
the metrics of both are compared, but its time for it does not count. Metrics that differ by more than 1e-9 are an error.
Rows are whole numbers with a power of two as norm, so float32 holds every score exactly, whatever the order of the
sum, and both sides have to agree on every rank and every tie.

With `--cases FILE` the entries are those of a real test-case file, features being generated for all of its images:

    venv/bin/python scripts/bench_evaluate.py target/release/data-attribution --cases test_artchive.json --rows 5000 --runs 1
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from golden_evaluate import quantized

RECALL_AT = (5, 10, 100)


def even_norm(rows):
    """`rows` [n, D] as whole numbers whose squares sum to a power of four, near 2 D."""
    rows = np.asarray(rows)
    total = 4 ** round(np.log(2 * rows.shape[1]) / np.log(4))
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    whole = np.rint(rows * (np.sqrt(total) / length)).astype(np.int64)
    for row in whole:
        while missing := total - int((row**2).sum()):
            # Zeros become ones and ones become zeros; where there are too few, twos change by three.
            small, change = (0, 1) if missing > 0 else (1, 0)
            at = np.flatnonzero(np.abs(row) == small)[: abs(missing)]
            if len(at) == 0:
                small, change = (1, 2) if missing > 0 else (2, 1)
                at = np.flatnonzero(np.abs(row) == small)[: max(1, abs(missing) // 3)]
            row[at] = np.where(row[at] < 0, -change, change)
    return whole.astype(np.float32)


def generate_for(cases, folder, rows, dimension, random):
    """The entries of `cases`, and features of their images."""
    entries = json.loads(cases.read_text())
    exemplar, synth = {}, {}
    for entry in entries:
        direction = random.normal(size=dimension)
        for path in entry["exemplar"]:
            exemplar.setdefault(path, random.normal(size=dimension) * 2 + direction)
        own = [exemplar[path] for path in entry["exemplar"]]
        for paths in entry["synth"].values():
            for at, path in enumerate(paths):
                synth.setdefault(path, random.normal(size=dimension) * 2 + own[at % len(own)])
    np.save(folder / "database.npy", even_norm(random.normal(size=(rows, dimension))))
    for name, of_paths in (("exemplar", exemplar), ("synth", synth)):
        np.save(folder / f"{name}.npy", even_norm(list(of_paths.values())))
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in of_paths))
    (folder / "case.json").write_text(json.dumps(entries))


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
    np.save(folder / "database.npy", even_norm(random.normal(size=(rows, dimension))))
    np.save(folder / "exemplar.npy", even_norm(exemplar))
    np.save(folder / "synth.npy", even_norm(synth))
    for name, paths in (("exemplar", exemplar_paths), ("synth", synth_paths)):
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in paths))
    (folder / "case.json").write_text(json.dumps(case))


def by_path(folder, name, rows):
    return dict(zip((folder / f"{name}.txt").read_text().splitlines(), rows))


def mean_metrics(folder, count, scores):
    """recall@K and mAP by synth type; `scores(exemplars, path)` are those of the database, then the exemplars."""
    values = {}
    for entry in json.loads((folder / "case.json").read_text()):
        for synth_type, path in ((t, path) for t, paths in entry["synth"].items() for path in paths):
            order = np.argsort(-scores(entry["exemplar"], path), kind="stable")
            ranks = np.flatnonzero(order >= count) + 1
            recalls = [(ranks <= k).mean() for k in RECALL_AT]
            values.setdefault(synth_type, []).append(recalls + [np.mean(np.arange(1, len(ranks) + 1) / ranks)])
    return {synth_type: np.mean(of_type, 0) for synth_type, of_type in values.items()}


def loop(folder):
    """The metrics by float rows, the straightforward way."""

    def load(name):
        rows = np.load(folder / f"{name}.npy")
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    database = load("database")
    exemplar, synth = (by_path(folder, name, load(name)) for name in ("exemplar", "synth"))

    def scores(exemplars, path):
        items = np.concatenate([database, np.array([exemplar[path] for path in exemplars])])
        return items @ synth[path]

    return mean_metrics(folder, len(database), scores)


def int8_loop(folder):
    """The metrics by int8 rows, in the integers of an index."""

    def load(name, peak_code):
        return quantized(np.load(folder / f"{name}.npy"), peak_code)

    def exact(items, queries):
        # float64 holds the sums exactly.
        codes, scales = (np.array(values) for values in zip(*items))
        of_queries, query_scales = (np.array(values) for values in zip(*queries))
        sums = (codes @ of_queries.T).astype(np.float32)
        return sums * (scales[:, None] * query_scales)

    rows = np.load(folder / "database.npy", mmap_mode="r")
    exemplar = by_path(folder, "exemplar", load("exemplar", 127))
    synth = by_path(folder, "synth", load("synth", 4095))
    parts = [rows[i : i + 10_000] for i in range(0, len(rows), 10_000)]
    of_database = np.concatenate([exact(quantized(part, 127), synth.values()) for part in parts])
    columns = {path: at for at, path in enumerate(synth)}

    def scores(exemplars, path):
        own = exact([exemplar[path] for path in exemplars], [synth[path]])
        return np.concatenate([of_database[:, columns[path]], own[:, 0]])

    return mean_metrics(folder, len(rows), scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", help="the data-attribution binary, built for release")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cases", type=pathlib.Path, help="a real test-case file to take the entries of")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        random = np.random.default_rng(0)
        if arguments.cases:
            generate_for(arguments.cases, folder, arguments.rows, arguments.dimension, random)
        else:
            generate(folder, arguments.rows, arguments.dimension, arguments.queries, random)
        queries = len((folder / "synth.txt").read_text().splitlines())

        def timed(rows):
            start = time.perf_counter()
            subprocess.run(
                [arguments.tool, "evaluate", "--cases", folder / "case.json", "--features", f"f={folder}"]
                + ["--rows", rows, "-o", folder / "out"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            return time.perf_counter() - start

        seconds = {rows: min(timed(rows) for _ in range(arguments.runs)) for rows in ("float32", "both")}
        results = json.loads((folder / "out" / "results.json").read_text())["results"]
        theirs = []
        for _ in range(arguments.runs):
            start = time.perf_counter()
            expected = {"float32": loop(folder)}
            theirs.append(time.perf_counter() - start)
        expected["int8"] = int8_loop(folder)
    print(f"N {arguments.rows}, D {arguments.dimension}, {queries} queries, best of {arguments.runs}")
    print(f"numpy loop                     {min(theirs):8.2f} s, {queries / min(theirs):8.1f} queries/s")
    for rows, name in (("float32", "data-attribution, float32 rows"), ("both", "and int8 rows as well")):
        rate = queries / seconds[rows]
        print(f"{name:30} {seconds[rows]:8.2f} s, {rate:8.1f} queries/s, {min(theirs) / seconds[rows]:.1f} times as fast")
    worst = 0
    for row in results:
        found = np.array(row["recall"] + [row["mean_average_precision"]])
        difference = np.abs(found - expected[row["rows"]][row["synth_type"]]).max()
        print(f"{row['rows']:7} {row['synth_type']}: largest difference of a metric: {difference:.1e}")
        worst = max(worst, difference)
    if worst > 1e-9:
        raise SystemExit("the metrics differ")


if __name__ == "__main__":
    main()
