#!/usr/bin/env python3
"""Packs a clustered index of embeddings in Parquet files with Spark.

Spark distributes the rows; `data-attribution` does everything else, as `plan`, `assign`, `pack-part` and
`merge`. The index is the same to the byte as one that `data-attribution pack --structure clustered` makes of
the same rows in the same order: the files by name, the rows of a file as they are.

    spark-submit scripts/pack_with_spark.py --embeddings laion/embeddings --name url --caption caption \\
        --link url --model models/clip-b32 --work /shared/work --out /shared/index

--work has to be a folder that all machines see, --tool and --plan (by default in --work) as well. --model and
--out are needed by the driver alone. Spark repeats tasks that fail; two attempts at one part do no harm.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession, functions as F

ROW = "part int, number long, name string, caption string, link string, row binary"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--embeddings", required=True, help="folder of Parquet files")
    parser.add_argument("--embedding", default="embedding", help="column of the embeddings, a list of floats")
    parser.add_argument("--name", default="name", help="column that names the images")
    parser.add_argument("--caption", help="column with the captions")
    parser.add_argument("--link", help="column with the links")
    parser.add_argument("--model", required=True, help="folder of the imported backbone")
    parser.add_argument("--mapper", help="folder of the imported mapper")
    parser.add_argument("--title", default="Training images")
    parser.add_argument("--parts", type=int, help="parts to pack [default: by size]")
    parser.add_argument("--work", required=True, help="folder for the parts, seen by all machines")
    parser.add_argument("--plan", help="folder for the plan, seen by all machines [default: plan in --work]")
    parser.add_argument("--out", required=True, help="folder for the index")
    parser.add_argument("--tool", default="data-attribution", help="the data-attribution command")
    return parser.parse_args()


def run(*command):
    """What a command prints; its error is this program's."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[1]}: {done.stderr.strip()}")
    return done.stdout


def matrix(rows):
    """Rows [n, D] of f32 from lists or from bytes."""
    if len(rows) and isinstance(rows.iloc[0], (bytes, bytearray)):
        return np.frombuffer(b"".join(rows), dtype=np.float32).reshape(len(rows), -1)
    return np.stack([np.asarray(row, dtype=np.float32) for row in rows])


def numbered(embeddings, options):
    """The rows with their numbers: files in the order of their names, rows as they lie in a file."""
    text = lambda column: F.col(column).cast("string") if column else F.lit(None).cast("string")
    rows = embeddings.select(
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.row_index").alias("row_index"),
        text(options.name).alias("name"),
        text(options.caption).alias("caption"),
        text(options.link).alias("link"),
        F.col(options.embedding).alias("row"),
    )
    counts = {file.file: file["count"] for file in rows.groupBy("file").count().collect()}
    first, total = {}, 0
    for file in sorted(counts):
        first[file] = total
        total += counts[file]

    def number(batches):
        for batch in batches:
            numbers = batch["file"].map(first) + batch["row_index"]
            names = batch["name"].where(batch["name"].notna() & (batch["name"] != ""), "row/" + numbers.astype(str))
            yield pd.DataFrame(
                {
                    "part": np.zeros(len(batch), np.int32),
                    "number": numbers,
                    "name": names,
                    "caption": batch["caption"],
                    "link": batch["link"],
                    "row": [row.tobytes() for row in matrix(batch["row"])],
                }
            )

    return rows.mapInPandas(number, ROW), total


def plan(rows, total, options):
    """Makes the plan from the rows that the tool samples, which are all that the driver gets to see."""
    width = len(rows.select("row").first().row) // 4
    mapped = width
    if options.mapper:
        with open(os.path.join(options.mapper, "real.json")) as file:
            mapped = json.load(file)["output"]
    ranges = run(options.tool, "sample", "--rows", total, "--dimension", mapped).split()
    ranges = np.array(ranges, dtype=np.int64).reshape(-1, 2)

    def sampled(batches):
        for batch in batches:
            at = np.searchsorted(ranges[:, 0], batch["number"], side="right") - 1
            inside = (at >= 0) & (batch["number"] < ranges[at].sum(axis=1))
            yield batch[inside]

    sample = rows.mapInPandas(sampled, ROW).select("number", "row").toPandas().sort_values("number")
    with tempfile.TemporaryDirectory() as folder:
        features, names = os.path.join(folder, "sample.npy"), os.path.join(folder, "sample.txt")
        np.save(features, matrix(sample["row"]))
        with open(names, "w") as file:
            file.writelines(f"{number}\n" for number in sample["number"])
        command = [options.tool, "plan", "--features", features, "--names", names, "--sample-of", total]
        command += ["--model", options.model, "--title", options.title, "--out", options.plan]
        command += ["--mapper", options.mapper] if options.mapper else []
        command += ["--parts", options.parts] if options.parts else []
        run(*command)
    with open(os.path.join(options.plan, "plan.json")) as file:
        return json.load(file)["parts"]


def assign(rows, parts, options):
    """The rows with their parts, counted from 1."""
    tool, planned = options.tool, options.plan

    def assigned(batches):
        for batch in batches:
            if not len(batch):
                continue
            with tempfile.TemporaryDirectory() as folder:
                features = os.path.join(folder, "rows.npy")
                np.save(features, matrix(batch["row"]))
                found = run(tool, "assign", "--plan", planned, "--features", features, "--parts", parts)
            yield batch.assign(part=np.array(found.split(), dtype=np.int32))

    return rows.mapInPandas(assigned, ROW)


class Part:
    """The rows of one part on their way to `pack-part`: a folder as clip-retrieval writes it."""

    def __init__(self, number):
        self.number, self.batches = number, 0
        self.folder = tempfile.mkdtemp(prefix="part-")
        self.numbers = os.path.join(self.folder, "numbers.txt")
        for name in ["img_emb", "metadata"]:
            os.mkdir(os.path.join(self.folder, name))

    def add(self, batch):
        place = os.path.join(self.folder, "{0}", "{0}_" + str(self.batches) + ".{1}")
        np.save(place.format("img_emb", "npy"), matrix(batch["row"]))
        columns = {name: pa.array(batch[name], pa.string()) for name in ["name", "caption", "link"]}
        pq.write_table(pa.table(columns), place.format("metadata", "parquet"))
        with open(self.numbers, "a") as file:
            file.writelines(f"{number}\n" for number in batch["number"])
        self.batches += 1

    def pack(self, parts, options):
        command = [options.tool, "pack-part", f"{self.number}/{parts}", "--plan", options.plan, "--out", options.work]
        command += ["--features", self.folder, "--row-numbers", self.numbers]
        command += ["--name-column", "name", "--caption-column", "caption", "--link-column", "link"]
        run(*command)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def pack_parts(rows, parts, options):
    """Packs all parts; each is one task's work at a time, in batches."""

    def packed(batches):
        part = None
        try:
            for batch in batches:
                for number, group in batch.groupby("part", sort=True):
                    if part is None or part.number != number:
                        if part is not None:
                            part.pack(parts, options)
                            part.remove()
                            yield pd.DataFrame({"part": [part.number]})
                        part = Part(number)
                    part.add(group)
            if part is not None:
                part.pack(parts, options)
                yield pd.DataFrame({"part": [part.number]})
        finally:
            if part is not None:
                part.remove()

    together = rows.repartition(parts, "part").sortWithinPartitions("part")
    done = {row.part for row in together.mapInPandas(packed, "part int").collect()}
    for number in set(range(1, parts + 1)) - done:
        run(options.tool, "pack-part", f"{number}/{parts}", "--plan", options.plan, "--out", options.work)


def main():
    options = arguments()
    options.tool = shutil.which(options.tool) or os.path.abspath(options.tool)
    options.work = os.path.abspath(options.work)
    options.plan = os.path.abspath(options.plan or os.path.join(options.work, "plan"))
    spark = SparkSession.builder.appName("data-attribution pack").getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")
    rows, total = numbered(spark.read.parquet(options.embeddings), options)
    parts = plan(rows, total, options)
    print(f"{total} rows in {parts} parts", file=sys.stderr)
    pack_parts(assign(rows, parts, options), parts, options)
    merged = run(options.tool, "merge", "--plan", options.plan, "--work", options.work, "--out", options.out)
    print(merged, end="")
    spark.stop()


if __name__ == "__main__":
    main()
