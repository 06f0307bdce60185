#!/usr/bin/env python3
"""Measures this project's clustered index as the other methods are measured: recall, influence error, bytes.

    ours.py INDEX DATA OUT.json [--tool target/release/data-attribution] [--queries 200] [--others 50] [--cold 50]

INDEX is packed from DATA/database.npy with names `img/<row>.jpg`; DATA/exact.npz holds the float32 brute force (exact.py). What a quality reads
depends on how many hits are asked for and on the calibrator, so each is asked for apart, but not all by all queries:

- top 100 at MAIN by all queries: recall@10 and @100, influence, estimated recall, seconds;
- top 1000 at MAIN by all queries: recall@1000; TOPS by `--others` queries: points of the curve;
- top 100 at the other calibrators by `--others` queries: influence;
- `cold` processes of two queries each, no query twice: bytes of a first query, and of a second, different one.

Influence errors are relative, over the hits of the top 100 with a share above 1e-6, against the formula over all N float32 scores.
Coverage is the share of those hits whose stated interval holds the float32 value: as stated, and with a slack for the rounding of fine
rows (.0002 in the score, about twice what it is), of which no interval speaks. `exact` reads all rows whatever it is asked, so it is asked at MAIN alone, by `--others` queries.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from exact import BIASES, INV_TAUS
from measures import recalls, summary, true_shares

MAIN = (50.0, 0.0)
TOPS = (200, 500)
# In the score; times inv_tau, in the share before the bias is added.
SLACK = 0.0002
# Of true shares, which are sums of float32 values.
PRECISION = 1e-6


def with_calibrator(index, folder, inv_tau, bias):
    """The index under another calibrator: links, and a manifest of its own."""
    folder.mkdir()
    for part in Path(index).iterdir():
        if part.name not in ("manifest.json", ".work"):
            os.symlink(part.resolve(), folder / part.name)
    manifest = json.loads((Path(index) / "manifest.json").read_text())
    # The stored bias is a thousand times the one in the formula.
    manifest["calibrator"].update(inv_tau=inv_tau, bias=1000 * bias)
    (folder / "manifest.json").write_text(json.dumps(manifest))


class Tool:
    """Asks queries of the index under a calibrator, each call in a process of its own."""

    def __init__(self, tool, index, work, queries):
        self.tool, self.index, self.work, self.queries = tool, index, Path(work), queries

    def ask(self, at, quality, top, calibrator=MAIN):
        folder = self.work / f"{calibrator[0]}_{calibrator[1]}"
        if not folder.exists():
            with_calibrator(self.index, folder, *calibrator)
        np.save(self.work / "asked.npy", self.queries[at])
        command = [self.tool, "attribute", "--index", folder, "--features", self.work / "asked.npy", "--quality", quality, "--top", top, "--json"]
        lines = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        return [json.loads(line) for line in lines]


def rows_of(answer):
    return [int(hit["name"][4:-4]) for hit in answer["hits"]]


def mean(answers, *keys):
    values = [answer[keys[0]] if len(keys) == 1 else answer[keys[0]][keys[1]] for answer in answers]
    return float(np.mean(values))


def traffic(answers, label):
    median = float(np.median([answer["fetchedBytes"] for answer in answers]))
    return {f"{label} bytes": mean(answers, "fetchedBytes"), f"{label} median bytes": median, f"{label} requests": mean(answers, "requests")}


def influence(answers, exact, calibrator):
    inv_tau, bias = calibrator
    t, b = INV_TAUS.index(inv_tau), BIASES.index(bias)
    errors, covered, nearly = [], [], []
    for i, answer in enumerate(answers):
        for place, true in true_shares(rows_of(answer), exact, i, t, b):
            hit, slack = answer["hits"][place], SLACK * inv_tau * (true - bias / exact["totals"][i, t, b])
            errors.append(abs(hit["influence"] - true) / true)
            slack += PRECISION * true
            covered.append(hit["influenceLow"] - PRECISION * true <= true <= hit["influenceHigh"] + PRECISION * true)
            nearly.append(hit["influenceLow"] - slack <= true <= hit["influenceHigh"] + slack)
    return {
        "inv_tau": inv_tau, "bias": bias, "queries": len(answers), **summary(errors), "coverage": float(np.mean(covered)),
        "coverage with slack": float(np.mean(nearly)), "exact": mean(answers, "completeness", "influenceExact"), **traffic(answers[1:], "further"),
    }


def measure(tool, quality, exact, options):
    everyone, others = np.arange(len(tool.queries)), np.arange(min(options.others, len(tool.queries)))
    everyone = others if quality == "exact" else everyone
    answers = tool.ask(everyone, quality, 100)
    further = answers[1:]
    row = {
        "method": f"data-attribution {quality}", "queries": len(everyone), **recalls([rows_of(a) for a in answers], exact["ids"], (10, 100)),
        "estimated recall": mean(answers, "completeness", "estimatedRecall"), "rows read": mean(answers, "completeness", "rowsRead"),
        "reranked": {"mean": mean(answers, "completeness", "reranked"), "median": float(np.median([a["completeness"]["reranked"] for a in answers]))},
        "seconds, native": float(np.median([a["timings"]["totalMs"] for a in further])) / 1e3,
        "influence": [influence(answers, exact, MAIN)],
    }
    # Disjoint pairs of queries, each in a process of its own.
    cold = min(options.cold, 5) if quality == "exact" else options.cold
    pairs = [tool.ask(pair, quality, 100) for pair in everyone[: 2 * cold].reshape(-1, 2)]
    row |= traffic([first for first, _ in pairs], "cold") | traffic([second for _, second in pairs], "further")
    row["many further bytes"] = mean(further, "fetchedBytes")
    wide = tool.ask(everyone, quality, 1000)
    row |= recalls([rows_of(a) for a in wide], exact["ids"], (1000,))
    if quality == "exact":
        return row | {"points": []}
    row["points"] = [point(tool, quality, exact, 1000, everyone, wide, options.cold)]
    row["points"] += [point(tool, quality, exact, top, others, tool.ask(others, quality, top), options.cold) for top in TOPS]
    row["influence"] += [influence(tool.ask(others, quality, 100, c), exact, c) for c in options.calibrators if c != MAIN]
    return row


def point(tool, quality, exact, top, at, answers, cold):
    """Recall@100 and bytes where `top` hits are asked for, as by the queries `at` with `answers`."""
    found = recalls([rows_of(a) for a in answers], exact["ids"], (100,))
    pairs = [tool.ask(pair, quality, top) for pair in at[: 2 * min(cold, len(at) // 2)].reshape(-1, 2)]
    return {"top": top, **found, **traffic([first for first, _ in pairs], "cold"), **traffic([second for _, second in pairs], "further")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tool", default="target/release/data-attribution")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--others", type=int, default=50)
    parser.add_argument("--cold", type=int, default=50)
    parser.add_argument("--qualities", default="fast,balanced,exact")
    options = parser.parse_args()
    options.calibrators = [(t, b) for t in INV_TAUS for b in BIASES]
    stored = np.load(options.data / "exact.npz")
    exact = {key: stored[key] for key in stored}
    queries = np.load(options.data / "queries.npy")[: options.queries]
    options.cold = min(options.cold, len(queries) // 2)
    results = []
    with tempfile.TemporaryDirectory() as work:
        tool = Tool(options.tool, options.index, work, queries)
        for quality in options.qualities.split(","):
            results.append(measure(tool, quality, exact, options))
            print(json.dumps(results[-1], indent=1), flush=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
