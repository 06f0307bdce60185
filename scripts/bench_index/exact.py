#!/usr/bin/env python3
"""Brute force in float32 over DATA/database.npy: what every other method is measured against.

    exact.py DATA

DATA/exact.npz gets, for each query, `ids` and `scores` of the best TOP rows, ties by row, and `totals` [query, inv_tau, bias]:
the sum of max(exp(inv_tau (s - best)) + bias, 0) over all rows. Two passes over blocks of rows, so memory does not
grow with them: the first finds the best, the second sums. DATA/exact.json has the best 100 rows for browser.mjs.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

BLOCK = 8192
TOP = 1000
INV_TAUS = (20.0, 50.0, 100.0)
BIASES = (0.0, -0.001, -0.01)


def influences(scores, best, inv_tau, bias):
    """Unnormalised influences of `scores` [queries, rows]; `best` [queries]."""
    raised = np.exp(np.float32(inv_tau) * (scores - best[:, None]))
    return np.maximum(raised + np.float32(bias), 0) if bias else raised


def sums(scores, best):
    """Totals [queries, inv_tau, bias] of `scores`."""
    return np.array([[influences(scores, best, t, b).sum(1, dtype=np.float64) for b in BIASES] for t in INV_TAUS]).transpose(2, 0, 1)


def best_rows(scores, ids, top):
    """The best `top` of each row of `scores` [queries, n] with their `ids`: by score, then by id."""
    if scores.shape[1] > top:
        keep = np.argpartition(-scores, top - 1, 1)[:, :top]
        scores, ids = np.take_along_axis(scores, keep, 1), np.take_along_axis(ids, keep, 1)
    order = np.lexsort((ids, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def blocks(rows, queries):
    for at in range(0, len(rows), BLOCK):
        yield at, queries @ np.ascontiguousarray(rows[at : at + BLOCK]).T


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    start = time.perf_counter()
    rows, queries = np.load(data / "database.npy", mmap_mode="r"), np.load(data / "queries.npy")
    found, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for at, scores in blocks(rows, queries):
        own = np.broadcast_to(np.arange(at, at + scores.shape[1]), scores.shape)
        found, ids = best_rows(np.hstack([found, scores]), np.hstack([ids, own]), TOP)
    totals = sum(sums(scores, found[:, 0]) for _, scores in blocks(rows, queries))
    np.savez(data / "exact.npz", ids=ids, scores=found, totals=totals, inv_taus=INV_TAUS, biases=BIASES)
    (data / "exact.json").write_text(json.dumps(ids[:, :100].tolist()))
    print(f"exact: {len(queries)} queries of {len(rows)} rows in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
