#!/usr/bin/env python3
"""Features of real photographs for the index benchmark: DINOv2's, of many crops of them.

    photographs.py PHOTOGRAPHS OUT --model MODEL [--tool target/release/data-attribution] [--crops 304] [--queries 200]

A folder of photographs is seldom large enough for a clustered index, so each gives `crops` rows: windows of 15 to 90 % of its
area, half of them mirrored, each with the seed of its number alone. A query is another such crop, disturbed as a generated picture differs
from what it was made of: blurred, with other colours and fewer tones, and drawn smaller. OUT gets what generate.py writes; statistics.json has the
statistics of these features beside those that the generated ones are checked against. Needs Pillow and numpy.
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from generate import REAL, normalised, statistics

SIDE = 256
KINDS = {".jpg", ".jpeg", ".png", ".webp"}


def crop(photograph, random):
    width, height = photograph.size
    area, aspect = random.uniform(0.15, 0.9) * width * height, np.exp(random.uniform(-0.3, 0.3))
    w, h = min(width, round((area * aspect) ** 0.5)), min(height, round((area / aspect) ** 0.5))
    left, top = random.integers(0, width - w + 1), random.integers(0, height - h + 1)
    cut = photograph.crop((left, top, left + w, top + h)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else cut


def disturbed(picture, random):
    small = picture.resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    picture = small.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 2)))
    for change, least, most in ((ImageEnhance.Color, 0.3, 1.7), (ImageEnhance.Contrast, 0.7, 1.4), (ImageEnhance.Brightness, 0.7, 1.3)):
        picture = change(picture).enhance(random.uniform(least, most))
    levels = random.integers(16, 64)
    return picture.point(lambda value: value * levels // 256 * 255 // (levels - 1))


def features(folder, options):
    out = folder.with_name(folder.name + "-features")
    subprocess.run([options.tool, "extract", "--model", options.model, "--images", folder, "-o", out], check=True)
    order = [int(Path(line).stem) for line in (out / "database.txt").read_text().split("\n") if line]
    rows = np.empty_like(np.load(out / "database.npy"))
    assert sorted(order) == list(range(len(rows))), f"{folder}: features of other images"
    rows[order] = np.load(out / "database.npy")
    return normalised(rows).astype("<f4")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tool", default="target/release/data-attribution")
    parser.add_argument("--crops", type=int, default=304)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    paths = sorted(path for path in options.photographs.rglob("*") if path.suffix.lower() in KINDS)
    rows, asked = options.out / "rows", options.out / "asked"
    for folder in (rows, asked):
        folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        photograph = Image.open(path).convert("RGB")
        for i in range(options.crops):
            at = number * options.crops + i
            crop(photograph, np.random.default_rng([1, at])).save(rows / f"{at:07}.jpg", quality=92)
        for at in range(number, options.queries, len(paths)):
            random = np.random.default_rng([2, at])
            disturbed(crop(photograph, random), random).save(asked / f"{at:07}.jpg", quality=92)
    database = features(rows, options)
    np.save(options.out / "database.npy", database)
    np.save(options.out / "queries.npy", features(asked, options))
    (options.out / "names.txt").write_text("".join(f"img/{row}.jpg\n" for row in range(len(database))))
    sample = np.random.default_rng(3).permutation(database)[:3045]
    found = {"photographs": len(paths), "real": REAL, "sample": statistics(sample)}
    (options.out / "statistics.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
