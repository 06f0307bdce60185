#!/usr/bin/env python3
"""Measures this project's clustered index as the other methods are measured: recall, influence error, bytes.

    ours.py INDEX DATA OUT.json [--tool target/release/data-attribution] [--queries 200]

INDEX is packed from DATA/database.npy with names `img/<row>.jpg`; DATA/exact.npz holds the float32 brute force (exact.py).
Influence errors are relative, over the hits of the top 100 with a share above 1e-6, against the formula over all N float32
scores. Coverage is the share of those hits whose stated interval holds the float32 value. A cold query is the first
of a process; a further one finds what the former ones have read.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def with_calibrator(index, folder, inv_tau, effective_bias):
    """The index under another calibrator: links, and a manifest of its own."""
    for part in Path(index).iterdir():
        if part.name not in ("manifest.json", ".work"):
            os.symlink(part.resolve(), Path(folder) / part.name)
    manifest = json.loads((Path(index) / "manifest.json").read_text())
    manifest["calibrator"].update(inv_tau=inv_tau, bias=1000 * effective_bias)
    (Path(folder) / "manifest.json").write_text(json.dumps(manifest))


def ask(tool, index, queries, quality, top):
    command = [tool, "attribute", "--index", index, "--features", queries, "--quality", quality, "--top", str(top), "--json"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def number(hit):
    return int(hit["name"][4:-4])


def recalls(answers, ids):
    rows = {}
    for k in (10, 100, 1000):
        found = [len({number(h) for h in a["hits"][:k]} & set(ids[i, :k].tolist())) / k for i, a in enumerate(answers)]
        rows[f"recall@{k}"] = {"mean": float(np.mean(found)), "p5": float(np.percentile(found, 5))}
    return rows


def influence_errors(answers, exact, inv_tau, bias):
    t, b = exact["inv_taus"].tolist().index(inv_tau), exact["biases"].tolist().index(bias)
    errors, covered, certified = [], [], []
    for i, answer in enumerate(answers):
        scores = dict(zip(exact["ids"][i].tolist(), exact["scores"][i].tolist()))
        best, total = exact["scores"][i, 0], exact["totals"][i, t, b]
        certified.append(answer["completeness"]["influenceExact"])
        for hit in answer["hits"][:100]:
            score = scores.get(number(hit))
            if score is None:
                continue
            share = max(np.exp(inv_tau * (score - best)) + bias, 0) / total
            if share > 1e-6:
                errors.append(abs(hit["influence"] - share) / share)
                # The float32 score and the fine row's differ by rounding, which no interval speaks of.
                slack = 1e-9 + 0.01 * share * inv_tau / 50
                covered.append(hit["influenceLow"] - slack <= share <= hit["influenceHigh"] + slack)
    return {
        "inv_tau": inv_tau, "bias": bias, "median": float(np.median(errors)), "p95": float(np.percentile(errors, 95)),
        "coverage": float(np.mean(covered)), "exact": float(np.mean(certified)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--tool", default="target/release/data-attribution")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--cold", type=int, default=8)
    parser.add_argument("--qualities", default="fast,balanced")
    parser.add_argument("--calibrators", default="20:0,20:-0.001,20:-0.01,50:0,50:-0.001,50:-0.01,100:0,100:-0.001,100:-0.01")
    options = parser.parse_args()
    exact = np.load(Path(options.data) / "exact.npz")
    queries = np.load(Path(options.data) / "queries.npy")[: options.queries]
    calibrators = [tuple(float(x) for x in pair.split(":")) for pair in options.calibrators.split(",")]
    results = []
    for quality in options.qualities.split(","):
        with tempfile.TemporaryDirectory() as work:
            all_queries = os.path.join(work, "queries.npy")
            np.save(all_queries, queries)
            row = {"method": f"data-attribution {quality}", "influence": []}
            for number_of, (inv_tau, bias) in enumerate(calibrators):
                folder = os.path.join(work, f"calibrator{number_of}")
                os.mkdir(folder)
                with_calibrator(options.index, folder, inv_tau, bias)
                if number_of == 0:
                    top = ask(options.tool, folder, all_queries, quality, 1000)
                    row["recall, top 1000 asked"] = recalls(top, exact["ids"])
                answers = ask(options.tool, folder, all_queries, quality, 100)
                row["influence"].append(influence_errors(answers, exact, inv_tau, bias))
                if (inv_tau, bias) == (50.0, 0.0):
                    row.update(recalls(answers, exact["ids"]))
                    row.pop("recall@1000")
                    part = [a["completeness"] for a in answers]
                    row["estimated recall"] = float(np.mean([c["estimatedRecall"] for c in part]))
                    row["reranked"] = {"mean": float(np.mean([c["reranked"] for c in part])), "median": float(np.median([c["reranked"] for c in part]))}
                    further = answers[1:]
                    row["further bytes"] = float(np.mean([a["fetchedBytes"] for a in further]))
                    row["further requests"] = float(np.mean([a["requests"] for a in further]))
                    row["seconds, native CPU"] = float(np.median([a["timings"]["totalMs"] for a in further])) / 1e3
                    cold = []
                    for i in range(options.cold):
                        one = os.path.join(work, "one.npy")
                        np.save(one, queries[i : i + 1])
                        cold += ask(options.tool, folder, one, quality, 100)
                    row["cold bytes"] = float(np.mean([a["fetchedBytes"] for a in cold]))
                    row["cold requests"] = float(np.mean([a["requests"] for a in cold]))
                print(json.dumps(row["influence"][-1]), file=sys.stderr)
            results.append(row)
            print(json.dumps(row, indent=1))
    Path(options.out).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
