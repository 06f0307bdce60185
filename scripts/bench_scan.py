#!/usr/bin/env python3
"""Times the native scans on the CPU against usearch's and faiss's exact searches of the same data, on one thread, in one run.

    bench_scan.py OUT.jsonl [--tool target/release/data-attribution] [--rows 200000] [--dimension 512] [--hits 100]

int8: random rows; ours against usearch's exact search of int8 and faiss's 8-bit scalar quantizer. Codes: ours of 8 words and two
bytes of terms a row against faiss's fast scan of 64 x 4-bit PQ (32 bytes), its plain 32 x 8-bit PQ and its fast scan of 1-bit RaBitQ. The tool is asked by

    data-attribution bench-scan --json --cpu-only --rows FILE --dimension D --k K

where FILE holds int8 rows [n, D]; it prints a line for each scan, the best of several runs with the choice of the
best K; `bytes` is what a scan must read and write, on one thread. The tool runs before and after
the others and the better time counts. A line of OUT is what it printed or the like for the others; `ratio` is rows a second beside the best other of that kind.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numpy as np
from usearch.index import MetricKind, search

RUNS = 7


def best(run):
    def timed():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return min(timed() for _ in range(RUNS))


def asked(options, file):
    command = [options.tool, "bench-scan", "--json", "--cpu-only", "--rows", file, "--dimension", options.dimension, "--k", options.hits]
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def int8_rivals(rows, hits):
    """(name, search, bytes) of other scans of int8 `rows`."""
    query = rows[:1].copy()
    yield "int8, usearch exact", lambda: search(rows, query, hits, MetricKind.IP, exact=True, threads=1), rows.nbytes
    index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT)
    for at in range(0, len(rows), 65536):
        index.add(rows[at : at + 65536].astype(np.float32))
    values = query.astype(np.float32)
    yield "int8, faiss scalar quantizer", lambda: index.search(values, hits), index.code_size * len(rows)


def code_rivals(count, d, hits, random):
    query = random.normal(size=(1, d)).astype(np.float32)
    sample = random.normal(size=(10_000, d)).astype(np.float32)

    def filled(index):
        index.train(sample)
        codes = random.integers(0, 256, (count, index.sa_code_size()), np.uint8)
        index.add_sa_codes(codes)
        return index

    four = filled(faiss.IndexPQ(d, 64, 4, faiss.METRIC_INNER_PRODUCT))
    fast = faiss.IndexPQFastScan(four)
    yield "codes, faiss PQ64x4 fast scan", lambda: fast.search(query, hits), four.code_size * count
    eight = filled(faiss.IndexPQ(d, 32, 8, faiss.METRIC_INNER_PRODUCT))
    yield "codes, faiss PQ32x8", lambda: eight.search(query, hits), eight.code_size * count
    bits = faiss.IndexRaBitQFastScan(d, faiss.METRIC_INNER_PRODUCT)
    bits.train(sample)
    for at in range(0, count, 20_000):
        bits.add(random.normal(size=(min(20_000, count - at), d)).astype(np.float32))
    yield "codes, faiss RaBitQ 1 bit fast scan", lambda: bits.search(query, hits), bits.code_size * count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tool", default="target/release/data-attribution")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--hits", type=int, default=100)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    random = np.random.default_rng(0)
    rows = random.integers(-127, 128, (options.rows, options.dimension), np.int8)
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "rows"
        rows.tofile(file)
        before = asked(options, file)
        # The tool generates its codes, of a number of its own.
        code_rows = next(scan["rows"] for scan in before if scan["what"] == "codes")
        others = []
        for rivals in (int8_rivals(rows, options.hits), code_rivals(code_rows, options.dimension, options.hits, random)):
            for name, run, size in rivals:
                count = options.rows if name.startswith("int8") else code_rows
                others.append({"what": name, "rows": count, "dimension": options.dimension, "seconds": best(run), "bytes": size})
        after = asked(options, file)
    lines = []
    for first, second in zip(before, after):
        line = first | {"seconds": min(first["seconds"], second["seconds"])}
        rivals = [other for other in others if other["what"].startswith(line["what"])]
        line["ratio"] = line["rows"] / line["seconds"] / max(other["rows"] / other["seconds"] for other in rivals)
        lines += [line | {"what": f"{line['what']}, data-attribution"}, *rivals]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    print(text, end="")
    options.out.write_text(text)


if __name__ == "__main__":
    main()
