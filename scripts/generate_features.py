#!/usr/bin/env python3
"""Make tests/golden/features/: small files of features as torch, numpy and pyarrow write them.

    pip install torch numpy pyarrow
    python3 scripts/generate_features.py tests/golden/features

    subset.pth        {"feats": f32 [7, 32], "paths": list of str}, the layout of laion_subset.pth
    clip_retrieval/   parts 0, 2 and 10 of f16 and f32 rows with tables of several row groups, codecs,
                      string encodings and nulls
    by_key/           clip-retrieval with a table of unusual columns
    extracted/        features.json, database.npy, database.txt, the layout of `extract`

expected.json states for each the values and, a row each, name, caption, link and further fields. Values are eighths of small
integers, so f16 holds them exactly. `--part torch`, `numpy` or `pyarrow` makes only what needs that library,
for interpreters that cannot have them all.
"""

import argparse
import json
import pathlib

DIMENSION = 32
PARTS = ["expected", "torch", "numpy", "pyarrow"]

# Number of the part: (first row, image paths, captions, links).
CLIP_RETRIEVAL = {
    0: (
        100,
        ["a/0.jpg", "a/1.jpg", "a/2.jpg", "a/3.jpg", "a/4.jpg"],
        ["A fox", None, "", "Bäume, 木", "A fox"],
        ["https://example.org/0", None, "https://example.org/2", "https://example.org/0", None],
    ),
    2: (
        105,
        ["b/0.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg"],
        [None, None, "line\nbreak", 'with "quotes"'],
        ["https://example.org/b"] * 4,
    ),
    10: (
        109,
        ["c/0.jpg", None, "c/2.jpg", "c/3.jpg", "", "a/0.jpg"],
        ["one", "two", "one", "two", None, "one"],
        [None] * 6,
    ),
}
BY_KEY = (200, [3, 2**64 - 1, 7], ["x", "y", None])
SUBSET = (0, ["laion/0.jpg", "laion/deep er/1.jpg", "laion/é.png"] + [f"laion/{i}.jpg" for i in range(3, 7)])
EXTRACTED = (300, ["one.png", "two.png", "three.png"])


def rows(first, count):
    """[count, DIMENSION] values from -4 to 3.875."""
    return [
        [((row * 37 + column * 11 + row * column) % 64) / 8 - 4 for column in range(DIMENSION)]
        for row in range(first, first + count)
    ]


def expected():
    def entry(first, names, captions=None, links=None, fields=None):
        blank = [None] * len(names)
        columns = zip(names, captions or blank, links or blank, fields or [{}] * len(names))
        items = [[name, caption or None, link or None, known] for name, caption, link, known in columns]
        return {"rows": rows(first, len(names)), "items": items}

    clip = {"rows": [], "items": []}
    for number, (first, paths, captions, links) in CLIP_RETRIEVAL.items():
        # A row without a name is called by its place.
        names = [path or f"metadata_{number}/{row}" for row, path in enumerate(paths)]
        known = [{"NSFW": "UNLIKELY", "key": str(row), "similarity": "0.5"} for row in range(len(paths))]
        part = entry(first, names, captions, links, known)
        clip["rows"] += part["rows"]
        clip["items"] += part["items"]
    first, keys, texts = BY_KEY
    return {
        "subset.pth": entry(*SUBSET),
        "clip_retrieval": clip,
        "by_key": entry(first, [str(key) for key in keys], texts, None, [{"score": "0.5"}, {}, {"score": "1.5"}]),
        "extracted": entry(*EXTRACTED),
    }


def with_torch(out):
    import torch

    first, paths = SUBSET
    feats = torch.tensor(rows(first, len(paths)), dtype=torch.float32)
    torch.save({"feats": feats, "paths": paths}, out / "subset.pth")


def with_numpy(out):
    import numpy as np

    for number, (first, paths, _, _) in CLIP_RETRIEVAL.items():
        dtype = np.float32 if number == 2 else np.float16
        matrix = np.array(rows(first, len(paths)), dtype)
        np.save(out / f"clip_retrieval/img_emb/img_emb_{number}.npy", matrix)
    first, keys, _ = BY_KEY
    np.save(out / "by_key/img_emb/img_emb_0000.npy", np.array(rows(first, len(keys)), np.float16))
    first, names = EXTRACTED
    np.save(out / "extracted/database.npy", np.array(rows(first, len(names)), np.float32))


def with_pyarrow(out):
    import pyarrow as pa
    import pyarrow.parquet as pq

    layouts = {
        0: dict(compression="snappy", row_group_size=2),
        2: dict(compression="zstd", use_dictionary=False, data_page_version="2.0"),
        10: dict(compression="gzip", row_group_size=4),
    }
    for number, (_, paths, captions, links) in CLIP_RETRIEVAL.items():
        caption = pa.array(captions, pa.string())
        columns = {
            "image_path": pa.array(paths, pa.large_string() if number == 10 else pa.string()),
            "caption": caption.dictionary_encode() if number == 10 else caption,
            "NSFW": pa.array(["UNLIKELY"] * len(paths)),
            "similarity": pa.array([0.5] * len(paths), pa.float64()),
            # Without a type, a column of nulls gets the type null.
            "url": pa.array(links),
            "key": pa.array(range(len(paths)), pa.int64()),
        }
        path = out / f"clip_retrieval/metadata/metadata_{number}.parquet"
        pq.write_table(pa.table(columns), path, **layouts[number])
    _, keys, texts = BY_KEY
    columns = {
        "id": pa.array(keys, pa.uint64()),
        "TEXT": pa.array(texts, pa.binary()),
        "bytes": pa.array([b"\xff\xfe", b"", None], pa.binary()),
        "score": pa.array([0.5, None, 1.5]),
        "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
        "taken": pa.array([1, 2, 3], pa.timestamp("us")),
    }
    pq.write_table(pa.table(columns), out / "by_key/metadata/metadata_0000.parquet")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--part", choices=PARTS, action="append")
    arguments = parser.parse_args()
    out, parts = arguments.out, arguments.part or PARTS
    for folder in ["clip_retrieval", "by_key"]:
        for part in ["img_emb", "metadata"]:
            (out / folder / part).mkdir(parents=True, exist_ok=True)
    (out / "extracted").mkdir(exist_ok=True)
    if "expected" in parts:
        (out / "expected.json").write_text(json.dumps(expected(), ensure_ascii=False) + "\n")
        names = EXTRACTED[1]
        (out / "extracted/database.txt").write_text("".join(name + "\n" for name in names))
        head = {
            "format": "data-attribution-features",
            "version": 1,
            "backbone": {"name": "toy-p14", "identity": "0" * 64},
            "dimension": DIMENSION,
            "files": {"database": len(names)},
        }
        (out / "extracted/features.json").write_text(json.dumps(head, indent=2) + "\n")
    for part, make in [("torch", with_torch), ("numpy", with_numpy), ("pyarrow", with_pyarrow)]:
        if part in parts:
            make(out)


if __name__ == "__main__":
    main()
