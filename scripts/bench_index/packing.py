#!/usr/bin/env python3
"""Packs DATA/database.npy with this project's tool and with faiss, one after the other, on the same two processors.

    packing.py DATA INDEX OUT.json [--tool target/release/data-attribution]

`pack --structure clustered` reads the .npy and writes the whole index with names; faiss trains and fills IVF4096 + PQ64 (IVF1024 below half a
million rows) from the same file, read as a memory map, and writes it. faiss is timed with its defaults (up to 256 training rows a
list) only with --defaults, and with 39 rows a list, the least it takes without a warning, or as many as there are. Wall time and peak memory are those of /usr/bin/time. The file is
read once beforehand, so that nobody pays for a cold disk.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

LEAST = 39


def timed(command, log):
    """Runs `command` on two processors: seconds, peak bytes."""
    processors = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    command = ["taskset", "-c", processors, "/usr/bin/time", "-v", "-o", f"{log}.time", *map(str, command)]
    with open(log, "w") as out:
        subprocess.run(command, check=True, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "2"})
    text = Path(f"{log}.time").read_text()
    clock = re.search(r"Elapsed .*: ([\d:.]+)", text)[1].split(":")
    seconds = sum(float(part) * 60**i for i, part in enumerate(reversed(clock)))
    return {"seconds": seconds, "peak bytes": 1024 * int(re.search(r"Maximum resident.*: (\d+)", text)[1])}


def with_faiss(file, out, points):
    """What the timed process does."""
    import faiss

    rows = np.load(file, mmap_mode="r")
    lists = 4096 if len(rows) >= 500_000 else 1024
    index = faiss.index_factory(rows.shape[1], f"IVF{lists},PQ64", faiss.METRIC_INNER_PRODUCT)
    if points:
        index.cp.max_points_per_centroid = points
    index.train(rows)
    for at in range(0, len(rows), 65536):
        index.add(rows[at : at + 65536])
    faiss.write_index(index, out)


def folder_bytes(folder):
    return {part.name: sum(f.stat().st_size for f in part.rglob("*") if f.is_file()) for part in Path(folder).iterdir() if part.is_dir()}


def main():
    if sys.argv[1] == "--faiss":
        return with_faiss(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tool", default="target/release/data-attribution")
    parser.add_argument("--defaults", action="store_true", help="faiss with its own number of training rows too: at a million rows it takes half an hour")
    options = parser.parse_args()
    data, file = options.data, options.data / "database.npy"
    count, dimension = np.load(file, mmap_mode="r").shape
    with open(file, "rb") as raw:
        while raw.read(1 << 24):
            pass
    shutil.rmtree(options.index, ignore_errors=True)
    subprocess.run([options.tool, "toy-model", "--dimension", str(dimension), "--out", data / "model"], check=True)
    pack = [options.tool, "pack", "--structure", "clustered", "--model", data / "model", "--features", file, "--names", data / "names.txt"]
    ours = timed([*pack, "--inv-tau", "50", "--bias", "0", "-o", options.index], data / "pack.log")
    print(f"pack: {ours}", flush=True)
    print((data / "pack.log").read_text())
    result = {"rows": count, "dimension": dimension, "pack": ours, "index bytes": folder_bytes(options.index)}
    trainings = [(f"faiss, {LEAST} training rows a list", LEAST)] + [("faiss, defaults", 0)] * options.defaults
    for name, points in trainings:
        out = data / ("ivfpq-defaults.faiss" if points == 0 else "ivfpq.faiss")
        theirs = timed([sys.executable, __file__, "--faiss", file, out, points], data / "faiss.log")
        result[name] = theirs | {"ratio": ours["seconds"] / theirs["seconds"]}
        print(f"{name}: {result[name]}", flush=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
