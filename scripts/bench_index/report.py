#!/usr/bin/env python3
"""Writes table.md and recall-bytes.svg from what the other scripts of the benchmark left under OUT.

    report.py OUT

OUT has a folder for each size, such as 1000000-512, with statistics.json, packing.json, baselines.json, ours.json, browser.json and
scan.jsonl; what is missing is left out of the table. The plot is of the largest folder: mean recall@100 against the bytes of a
first query, and what share of the hits that a page shows while one downloads is in the true hundred. Standard library alone.
"""

import json
import math
import sys
from pathlib import Path

OWN = {"fast": "#e4572e", "balanced": "#0b6bcb", "exact": "#0a2f5c"}
OTHERS = ["#b9a6d3", "#8a6fb0", "#5f4a86", "#9fcfb0", "#5fae7c", "#3f8f5f", "#25603d", "#b8b8b8", "#8c8c8c", "#c9a36a"]
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 480, 60, 30, 280, 50


def load(path):
    return json.loads(path.read_text()) if path.exists() else None


def size(value):
    """Bytes as MB or kB, whichever reads better."""
    if value is None:
        return "–"
    return f"{value / 1e6:,.0f} MB" if value >= 99.5e6 else f"{value / 1e6:.1f} MB" if value >= 0.95e6 else f"{value / 1e3:.0f} kB"


def number(value, form="{:.3f}"):
    return "–" if value is None else form.format(value)


def percent(value):
    return "–" if value is None else f"{100 * value:.2g} %" if value < 0.995 else f"{100 * value:.0f} %"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows] + [""]


def recall(row, k):
    found = row.get(f"recall@{k}")
    return "–" if not found else number(found["mean"]) + ("" if found["p5"] is None else f" / {number(found['p5'])}")


def name_of(row):
    lists = f", {row['probes']} lists" if row.get("probes") else ""
    few = f", {row['queries']} queries" if row.get("queries", 200) < 200 else ""
    return row["method"] + few + lists + (f", {row['reranked']} reranked" if isinstance(row.get("reranked"), int) and row["reranked"] else "")


def method_rows(rows):
    for row in rows:
        yield (name_of(row), size(row.get("cold bytes")), number(row.get("cold requests"), "{:.0f}"), size(row.get("further bytes")),
               number(row.get("further requests"), "{:.0f}"), recall(row, 10), recall(row, 100), recall(row, 1000),
               number(row.get("seconds, native"), "{:.2f}"))


def influence_rows(rows):
    pairs = [(t, b) for t in (20, 50, 100) for b in (0, -0.001, -0.01)]
    for row in rows:
        found = {(cell["inv_tau"], cell["bias"]): cell for cell in row.get("influence", [])}
        if found:
            cells = [found.get(pair) for pair in pairs]
            yield name_of(row), *(
                "–" if cell is None else f"{percent(cell['median'])} / {percent(cell['p95'])}" for cell in cells)


def coverage_rows(ours):
    for row in ours:
        for cell in row["influence"]:
            yield (row["method"], f"{cell['inv_tau']:g}, {cell['bias']:g}", number(cell["coverage"]), number(cell["coverage with slack"]),
                   percent(cell["exact"]), size(cell["further bytes"]))


def browser_rows(rows):
    for row in rows:
        where = ("50 Mbit/s, 40 ms" if row["line"] else "no limit") + ("" if row["ranges"] else ", no Range")
        where += f", HTTP/{row.get('http', 1)}"
        if "error" in row:
            yield row["device"], row["quality"], where, row["error"], *["–"] * 6
            continue
        cold, further = row["cold"], row["further"] or {}
        yield (row["device"], row["quality"], where, f"{number(cold['seconds to first hits'], '{:.2f}')} s, {size(cold['bytes to first hits'])}",
               f"{cold['seconds']:.2f} s", size(cold["bytes"]), f"{cold['requests']:.0f}", f"{number(further.get('seconds'), '{:.2f}')} s",
               size(further.get("bytes")), number(further.get("requests"), "{:.0f}"))


def section(folder):
    rows, _, dimension = folder.name.partition("-")
    found = {name: load(folder / f"{name}.json") for name in ("statistics", "baselines", "ours", "browser", "packing")}
    photographs = (found["statistics"] or {}).get("photographs")
    lines = [f"### {int(rows):,} rows of {dimension}" + (f": DINOv2, crops of {photographs} photographs" if photographs else ""), ""]
    if found["statistics"]:
        real, sample = found["statistics"]["real"], found["statistics"]["sample"]
        lines += ["Statistics of the features, of CLIP's and here: " + ", ".join(f"{k} {v[0]:g} / {sample[k]:.3g}" for k, v in real.items()) + ".", ""]
    methods = [*((found["baselines"] or {}).get("rows", [])), *(found["ours"] or [])]
    if methods:
        lines += table(("method", "first query", "requests", "further query", "requests", "recall@10, mean / p5", "recall@100", "recall@1000", "native s"),
                       method_rows(methods))
        lines += ["Relative error of influences, median / 95th percentile, at inv_tau, b:", ""]
        lines += table(("method", *(f"{t}, {b:g}" for t in (20, 50, 100) for b in (0, -0.001, -0.01))), influence_rows(methods))
    if found["ours"]:
        lines += ["Share of influences whose stated 95 % interval holds the float32 value:", ""]
        lines += table(("method", "inv_tau, b", "coverage", "with slack for int8 rows", "stated as exact", "further query"), coverage_rows(found["ours"]))
    if found["browser"]:
        lines += table(("device", "quality", "line", "first hits", "final", "bytes", "requests", "further: time", "bytes", "requests"), browser_rows(found["browser"]))
    if found["packing"]:
        runs = [(name, f"{run['seconds']:.0f} s", size(run["peak bytes"]), number(run.get("ratio"), "{:.2f}"))
                for name, run in found["packing"].items() if isinstance(run, dict) and "seconds" in run]
        lines += table(("packing, 2 threads", "wall time", "peak memory", "pack's time to this"), runs)
    scan = folder / "scan.jsonl"
    if scan.exists():
        runs = [json.loads(line) for line in scan.read_text().splitlines()]
        lines += table(("scan, 1 thread", "rows", "bytes a row", "GB/s", "rows/s to the best other's"), [
            (run["what"], f"{run['rows']:,}", f"{run['bytes'] / run['rows']:.0f}", f"{run['bytes'] / run['seconds'] / 1e9:.1f}", number(run.get("ratio"), "{:.2f}"))
            for run in runs])
    return lines


def curves(folder):
    """(name, [(bytes, recall)]) of all methods."""
    baselines, ours, browser = (load(folder / f"{name}.json") for name in ("baselines", "ours", "browser"))
    for name, points in (baselines or {}).get("points", {}).items():
        yield name, [(p["cold bytes"], p["recall@100"]["mean"]) for p in points]
    for row in (baselines or {}).get("rows", []):
        if row["method"].startswith(("float32", "int8")):
            yield row["method"], [(row["cold bytes"], row["recall@100"]["mean"])]
    for row in ours or []:
        yield row["method"], [(p["cold bytes"], p["recall@100"]["mean"]) for p in [row, *row["points"]]]
    for row in browser or []:
        if row.get("ways") and row["device"] == "cpu" and row.get("http") == 2 and row["line"] and row["quality"] != "exact":
            # At whatever bytes any visit had something new to show, what all showed then.
            at = sorted({p["bytes"] for way in row["ways"] for p in way if p["bytes"] >= max(way[0]["bytes"] for way in row["ways"])})
            shown = lambda way, b: [p["right"] for p in way if p["bytes"] <= b][-1]
            yield f"shown while {row['quality']} loads", [(b, sum(shown(way, b) for way in row["ways"]) / len(row["ways"])) for b in at]


def plot(folder):
    drawn = [(name, sorted((b, r) for b, r in points if b > 0)) for name, points in curves(folder)]
    drawn = [(name, points) for name, points in drawn if points]
    if not drawn:
        return None
    low = min(b for _, points in drawn for b, _ in points) / 1.3
    high = max(b for _, points in drawn for b, _ in points) * 1.3
    # Recall on an axis of misses: .9, .99 and .999 are a step apart.
    least = 0.0005
    x = lambda b: LEFT + (WIDTH - LEFT - RIGHT) * math.log(b / low) / math.log(high / low)
    y = lambda r: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(1 / max(1 - r, least)) / math.log(1 / least)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for r in (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999):
        out.append(f'<path d="M{LEFT} {y(r):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/><text x="{LEFT - 6}" y="{y(r) + 4:.1f}" text-anchor="end">{r:g}</text>')
    ticks = [step * 10**power for power in range(5, 11) for step in (1, 2, 5)]
    for tick in (tick for tick in ticks if low < tick < high):
        out.append(f'<path d="M{x(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                   f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick / 1e6:g}</text>')
    others = iter(OTHERS * 2)
    for i, (name, points) in enumerate(drawn):
        own = next((colour for quality, colour in OWN.items() if quality in name.split()), None)
        colour, dash = own or next(others), ' stroke-dasharray="4 3"' if name.startswith("shown") else ""
        width = 2.5 if own and not dash else 1.5
        places = [(x(b), y(r)) for b, r in points]
        out.append(f'<path d="M{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>')
        if not dash:
            out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{1.5 * width}" fill="{colour}"/>' for a, b in places]
        at = TOP + 16 * i + 8
        out.append(f'<path d="M{WIDTH - RIGHT + 12} {at}h16" stroke="{colour}" stroke-width="2"{dash}/><text x="{WIDTH - RIGHT + 34}" y="{at + 4}">{name}</text>')
    out.append(f'<text x="{LEFT}" y="{TOP - 12}">mean recall@100 against float32; dashed: share of the hits that are shown meanwhile that is in the true hundred</text>'
               f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end">megabytes of a first query ({folder.name.replace("-", " rows of ")})</text></svg>')
    return "\n".join(out) + "\n"


def main():
    out = Path(sys.argv[1])
    folders = sorted((f for f in out.iterdir() if (f / "exact.npz").exists()), key=lambda f: [-int(n) if i == 0 else int(n) for i, n in enumerate(f.name.split("-"))])
    (out / "table.md").write_text("\n".join(line for folder in folders for line in section(folder)) + "\n")
    svg = plot(folders[0]) if folders else None
    if svg:
        (out / "recall-bytes.svg").write_text(svg)
    print((out / "table.md").read_text())


if __name__ == "__main__":
    main()
