#!/usr/bin/env python3
"""What other ways to store the rows would cost a browser, and what they would find.

    baselines.py DATA OUT.json [--influence-queries 50]

DATA as exact.py leaves it, with ivfpq.faiss as packing.py leaves it. Methods: float32 rows, int8 rows (rotated), and faiss's
RaBitQ with 1 bit, IVF + RaBitQ and IVF + PQ64. Every choice that is open is made in favour of the other method:

- bytes are those of faiss's codes, centroids and codebooks, without row ids: rows lie in the order of their lists;
- whole codes come in files of 4 MB; where only `probes` lists are read, each is a Range request, neighbours are one;
- RaBitQ gets rotated rows, as its authors mean it to (faiss leaves that to the caller);
- the rerank fetches float16 rows (2 D bytes; plain int8 rows do not reach the goal), rows close together at once; its depth is the smallest that gives mean recall@100 >= .99, which
  a real page could not know; other depths give the points of the curve;
- a further query fetches what the query before it did not.

Scores of all rows are those of the decoded codes, which is what faiss's own scan computes, so that the influences rest on all rows that were read.
Seconds are faiss's search of one query, natively, on the threads that there are. hypvector's row is quoted, not measured.
"""

import argparse
import json
import time
from pathlib import Path

import faiss
import numpy as np

from exact import BIASES, BLOCK, INV_TAUS, influences
from generate import basis
from measures import recalls, summary, true_shares

FILE_BYTES = 4_000_000
# Rows or lists with at most this many bytes between them are fetched together.
GAP_BYTES = 4096
DEPTHS = (100, 200, 300, 500, 1000, 2000, 4000, 8000)
GOAL = 0.99
HYPVECTOR = {
    "method": "hypvector, as published (156k x 384, 1-bit codes, f32 rerank over Range)", "quoted": True, "cold bytes": 6e6,
    "cold requests": 160, "recall@10": {"mean": 0.91, "p5": None},
}


def ranges(positions, size):
    """Bytes and requests for items of `size` bytes (one number or one for each place) at sorted `positions`."""
    if len(positions) == 0:
        return 0, 0
    starts = positions * size if np.isscalar(size) else np.concatenate([[0], np.cumsum(size)])[positions]
    ends = starts + (size if np.isscalar(size) else size[positions])
    gaps = starts[1:] - ends[:-1]
    joined = gaps <= GAP_BYTES
    return int((ends - starts).sum() + gaps[joined].sum()), int(1 + (~joined).sum())


class Method:
    """A way to store rows: `scores` [queries, rows] of what a browser would compute from them."""

    def __init__(self, name, scores, row_bytes, head_bytes=0, lists=None, order=None):
        self.name, self.scores, self.row_bytes, self.head_bytes = name, scores, row_bytes, head_bytes
        count = scores.shape[1]
        # Where each row lies; `lists`: for each row its list, and for each query the lists best first.
        self.place = np.arange(count) if lists is None else np.argsort(np.argsort(lists, kind="stable"))
        self.lists, self.order = lists, order
        self.sizes = None if lists is None else np.bincount(lists, minlength=order.shape[1]) * row_bytes

    def read(self, query, probes):
        """Mask of the rows whose codes are read, or None for all."""
        return None if probes is None else np.isin(self.lists, self.order[query, :probes])

    def candidates(self, probes, depth):
        found = []
        for i, scores in enumerate(self.scores):
            mask = self.read(i, probes)
            at = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
            best = at if len(at) <= depth else at[np.argpartition(-scores[at], depth - 1)[:depth]]
            found.append(best[np.argsort(-scores[best], kind="stable")])
        return found

    def cost(self, query, probes, reranked, fine_bytes, before):
        """Bytes and requests of a query; `before` the query and reranked rows before it, or None for a cold start."""
        if probes is None:
            codes = len(self.place) * self.row_bytes
            total = (0, 0) if before else (self.head_bytes + codes, -(-self.head_bytes // FILE_BYTES) + -(-codes // FILE_BYTES))
        else:
            wanted = self.order[query, :probes]
            wanted = np.sort(np.setdiff1d(wanted, self.order[before[0], :probes]) if before else wanted)
            total = np.add(ranges(wanted, self.sizes), (0, 0) if before else (self.head_bytes, -(-self.head_bytes // FILE_BYTES)))
        rows = np.setdiff1d(reranked, before[1]) if before else reranked
        return np.add(total, ranges(np.sort(self.place[rows]), fine_bytes))


def measure(method, fine, fine_bytes, exact, probes, depth, candidates, influence_queries):
    """One row of the table; `depth` 0 for no rerank. `fine`: scores [queries, rows] of the rerank."""
    queries = len(fine)
    reranked = [rows[:depth] for rows in candidates]
    found = [rows[np.argsort(-fine[i, rows], kind="stable")] for i, rows in enumerate(reranked)] if depth else [rows[:1000] for rows in candidates]
    # Beyond the reranked rows, the order is that of the codes.
    found = [np.concatenate([rows, candidates[i][depth : max(1000, depth)]]) if depth else rows for i, rows in enumerate(found)]
    cold = np.mean([method.cost(i, probes, reranked[i], fine_bytes, None) for i in range(queries)], 0)
    further = np.mean([method.cost(i, probes, reranked[i], fine_bytes, (i - 1, reranked[i - 1])) for i in range(1, queries)], 0)
    row = {"method": method.name, "probes": probes, "reranked": depth, "cold bytes": cold[0], "cold requests": cold[1],
           "further bytes": further[0], "further requests": further[1], **recalls(found, exact["ids"])}
    if influence_queries:
        row["influence"] = influence(method, fine, exact, probes, reranked, found, influence_queries)
    return row


def influence(method, fine, exact, probes, reranked, found, count):
    errors = np.empty((len(INV_TAUS), len(BIASES)), object)
    for at in np.ndindex(errors.shape):
        errors[at] = []
    for i in range(count):
        scores = method.scores[i].copy()
        scores[reranked[i]] = fine[i, reranked[i]]
        hits, mask = found[i][:100], method.read(i, probes)
        read, best = scores if mask is None else scores[mask], scores[hits[:1]]
        for t, b in np.ndindex(errors.shape):
            total = influences(read[None], best, INV_TAUS[t], BIASES[b]).sum(dtype=np.float64)
            shares = influences(scores[hits][None], best, INV_TAUS[t], BIASES[b])[0] / total
            errors[t, b] += [abs(shares[place] - true) / true for place, true in true_shares(hits.tolist(), exact, i, t, b)]
    return [{"inv_tau": INV_TAUS[t], "bias": BIASES[b], **summary(errors[t, b])} for t, b in np.ndindex(errors.shape)]


def scores_of(rows, queries, stored):
    """Scores of rows as `stored` makes them from a block."""
    return np.hstack([queries @ stored(rows[at : at + BLOCK]).T for at in range(0, len(rows), BLOCK)])


def int8(block):
    scale = np.abs(block).max(1, keepdims=True) / 127
    return np.round(block / scale) * scale


def decoded_scores(index, rows, queries):
    return np.hstack([queries @ index.reconstruct_n(at, min(BLOCK, rows - at)).T for at in range(0, rows, BLOCK)])


def seconds(index, queries, probes, depth):
    """Median time of one query."""
    if probes is not None or hasattr(index, "nprobe"):
        index.nprobe = probes or index.nlist
    times = []
    for query in queries[:12]:
        start = time.perf_counter()
        index.search(query[None], max(depth, 100))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def lists_of(index, rows):
    lists = np.empty(rows, np.int64)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            lists[faiss.rev_swig_ptr(index.invlists.get_ids(number), size)] = number
    return lists


def methods(data, rows, queries, rotation):
    """Yields (index, its queries, Method, numbers of lists to read)."""
    count, d = rows.shape
    turned = queries @ rotation
    sample = rows[:: max(1, count // 100_000)] @ rotation
    flat = faiss.IndexRaBitQ(d, faiss.METRIC_INNER_PRODUCT)
    flat.train(sample)
    add(flat, rows, rotation)
    yield flat, turned, Method("RaBitQ 1 bit (faiss)", decoded_scores(flat, count, turned), flat.code_size, 4 * d), (None,)
    pq = faiss.read_index(str(data / "ivfpq.faiss"))
    centroids = pq.quantizer.reconstruct_n(0, pq.nlist)
    order = np.argsort(-(queries @ centroids.T), 1, kind="stable")
    head, books = 4 * pq.nlist * d, 4 * 256 * d
    quantizer = faiss.IndexFlatIP(d)
    quantizer.add(centroids @ rotation)
    bits = faiss.IndexIVFRaBitQ(quantizer, d, pq.nlist, faiss.METRIC_INNER_PRODUCT)
    bits.train(sample)
    add(bits, rows, rotation)
    name = f"IVF{pq.nlist} + RaBitQ 1 bit (faiss)"
    yield bits, turned, Method(name, decoded_scores(bits, count, turned), bits.code_size, head, lists_of(bits, count), order), (None, 128)
    name = f"IVF{pq.nlist} + PQ{pq.code_size} (faiss)"
    method = Method(name, decoded_scores(pq, count, queries), pq.code_size, head + books, lists_of(pq, count), order)
    yield pq, queries, method, (None, 512, 128, 32)


def add(index, rows, rotation):
    for at in range(0, len(rows), 65536):
        index.add(rows[at : at + 65536] @ rotation)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--influence-queries", type=int, default=50)
    options = parser.parse_args()
    rows, queries = np.load(options.data / "database.npy", mmap_mode="r"), np.load(options.data / "queries.npy")
    exact, (count, d) = np.load(options.data / "exact.npz"), rows.shape
    exact = {key: exact[key] for key in exact}
    asked = min(options.influence_queries, len(queries))
    perfect = {f"recall@{k}": {"mean": 1.0, "p5": 1.0} for k in (10, 100, 1000)}
    zero = [{"inv_tau": t, "bias": b, "median": 0.0, "p95": 0.0} for t in INV_TAUS for b in BIASES]
    results, points = [], {}

    def note(row):
        results.append(row)
        print(json.dumps({k: v for k, v in row.items() if k != "influence"}), flush=True)

    whole = {"further bytes": 0, "further requests": 0, "reranked": 0, "probes": None}
    start = time.perf_counter()
    for query in queries[:3]:
        np.argpartition(-(rows @ query), 100)
    note({"method": "float32 brute force", "cold bytes": 4 * d * count, "cold requests": -(-4 * d * count // FILE_BYTES), **whole, **perfect,
          "influence": zero, "seconds, native": (time.perf_counter() - start) / 3})
    rotation = basis(np.random.default_rng(0), d)
    fine, fine_bytes = scores_of(rows, queries, lambda block: block.astype(np.float16).astype(np.float32)), 2 * d
    method = Method("int8, rotated", scores_of(rows, queries @ rotation, lambda block: int8(block @ rotation)), d + 4)
    note(measure(method, fine, fine_bytes, exact, None, 0, method.candidates(None, 1000), asked))
    results[-1].update(whole)
    for index, own_queries, method, all_probes in methods(options.data, rows, queries, rotation):
        for probes in all_probes:
            candidates = method.candidates(probes, DEPTHS[-1])
            curve = [measure(method, fine, fine_bytes, exact, probes, depth, candidates, 0) for depth in (0, *DEPTHS)]
            points[f"{method.name}, {probes or 'all'} lists"] = [{k: p[k] for k in ("reranked", "cold bytes", "further bytes", "recall@100")} for p in curve]
            enough = [p["reranked"] for p in curve if p["recall@100"]["mean"] >= GOAL]
            for depth in (0, *enough[:1]) if probes is None else (*enough[:1],) or (DEPTHS[-1],):
                row = measure(method, fine, fine_bytes, exact, probes, depth, candidates, asked)
                note(row | {"seconds, native": seconds(index, own_queries, probes, depth)})
    note(HYPVECTOR)
    options.out.write_text(json.dumps({"rows": results, "points": points}, indent=1) + "\n")


if __name__ == "__main__":
    main()
