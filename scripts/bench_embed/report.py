#!/usr/bin/env python3
"""Write table.md and bars.svg from results.json of scripts/bench-embed, and print the ratios.

    report.py FOLDER

What: the table has a line for each configuration; the chart its median time of a steady run, with a whisker from the
fastest to the slowest. The ratios say, for each architecture, device and precision of ours, how our median compares with
the best that onnxruntime-web does in the same run: `provider` among the forms of that precision on that kind of device
and as many threads as ours (one), `any` among all it can do at that precision. The same for processor time and for the
first result. Our int8 is compared with dynamic int8 and 8-bit MatMulNBits, the faster of them.

Why both clocks: on a machine with other work the wall clock measures that too; processor time does not.
"""

import json
import math
import pathlib
import statistics
import sys
from xml.sax.saxutils import escape

SAME = {"f32": ("f32",), "int8": ("int8", "nbits8"), "int4": ("int4",)}
COLOURS = {"ours": "#0b6e4f", "ort": "#8a8f98"}


def read(folder):
    lines = [json.loads(line) for line in (folder / "results.json").read_text().splitlines()]
    return lines[0]["machine"], lines[1:]


def label(line):
    side = {"ours": "ours", "ort": "onnxruntime-web"}[line["side"]]
    return " ".join(filter(None, [side, line["device"], line["precision"], line["form"]]))


def median(values):
    return statistics.median(values) if values else None


def milliseconds(value):
    return "-" if value is None else f"{value:,.0f}"


def megabytes(value):
    return "-" if not value else f"{value / 1e6:.1f}"


def decimals(value):
    return "-" if value is None else f"{value:.5f}"


def total_first(line):
    return line["openMs"] + line["firstWallMs"] if "firstMs" in line else None


def table(machine, lines):
    versions = f"Chromium {machine['browser']}, onnxruntime-web {machine['onnxruntimeWeb']}"
    out = [
        f"{machine['cpu']}, {machine['cores']} cores; {versions}. Times in ms: median (fastest to slowest) of steady runs, "
        f"{machine['rounds']} rounds in turn. Cosine: with the same side's own f32.",
        "",
        "| architecture | configuration | steady | processor | open | first run | MB of model | cosine | renderer MB | GPU process MB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        runs = line["runs"]
        steady = f"{milliseconds(median(runs))} ({milliseconds(min(runs))} to {milliseconds(max(runs))})" if runs else "-"
        if "stopped" in line:
            steady += f"; {line['stopped']}"
        cells = [
            line["arch"], label(line), steady, milliseconds(median(line["cpuMs"])), milliseconds(line.get("openMs")),
            milliseconds(line.get("firstMs")), megabytes(line["modelBytes"]), decimals(line.get("cosine")),
            megabytes(line.get("rendererPeakBytes")), megabytes(line.get("gpuGrowthBytes")),
        ]  # fmt: skip
        out.append("| " + " | ".join(cells) + " |")
    out += ["", "| program | MB raw | MB brotli | files |", "|---|--:|--:|--:|"]
    programs = {}
    for line in lines:
        name = "ours" if line["side"] == "ours" else f"onnxruntime-web {line['device'].split('-')[0]}"
        size = line["program"]
        if size["raw"] > programs.get(name, {"raw": 0})["raw"]:
            programs[name] = size
    for name, size in programs.items():
        out.append(f"| {name} | {size['raw'] / 1e6:.2f} | {size['brotli'] / 1e6:.2f} | {len(size['files'])} |")
    return "\n".join(out) + "\n"


def ratios(lines):
    """Lines of text, each our figure over the better of theirs."""
    measures = {
        "steady": lambda line: median(line["runs"]),
        "processor": lambda line: median(line["cpuMs"]),
        "first result": total_first,
    }
    for ours in (line for line in lines if line["side"] == "ours"):
        rivals = [
            line for line in lines
            if line["side"] == "ort" and line["arch"] == ours["arch"] and line["precision"] in SAME[ours["precision"]]
        ]  # fmt: skip
        provider = {"cpu": "wasm-1", "webgpu": "webgpu"}[ours["device"]]
        kinds = {provider: [line for line in rivals if line["device"] == provider], "any": rivals}
        for kind, of_kind in kinds.items():
            parts = []
            for name, measure in measures.items():
                mine = measure(ours)
                theirs = min(filter(None, map(measure, of_kind)), default=None)
                if mine and theirs:
                    parts.append(f"{name} {mine / theirs:.2f}")
            if parts:
                yield f"{ours['arch']} {ours['device']} {ours['precision']} / best of {kind}: {', '.join(parts)}"


def bars(lines):
    """A chart of logarithmic bars, as a software GPU takes a hundred times as long as a CPU."""
    shown = [line for line in lines if line["runs"] or "firstMs" in line]
    values = {id(line): line["runs"] or [line["firstMs"]] for line in shown}
    low = 10 ** math.floor(math.log10(min(min(v) for v in values.values())))
    high = 10 ** math.ceil(math.log10(max(max(v) for v in values.values())))
    left, width, step = 330, 520, 22

    def x(value):
        return left + width * math.log(value / low) / math.log(high / low)

    height = 50 + step * len(shown)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="18" font-weight="bold">One image, ms (logarithmic; median, fastest to slowest)</text>',
    ]
    tick = low
    while tick <= high:
        out.append(f'<path d="M{x(tick):.1f} 26V{height - 14}" stroke="#ddd"/>')
        out.append(f'<text x="{x(tick):.1f}" y="{height - 2}" text-anchor="middle" fill="#555">{tick:g}</text>')
        tick *= 10
    for row, line in enumerate(shown):
        runs, y = values[id(line)], 30 + step * row
        middle = median(runs)
        text = f"{middle:,.0f}" + ("" if line["runs"] else " (first run)")
        out += [
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(line["arch"] + " " + label(line))}</text>',
            f'<rect x="{left}" y="{y}" width="{max(1, x(middle) - left):.1f}" height="{step - 6}" fill="{COLOURS[line["side"]]}"/>',
            f'<path d="M{x(min(runs)):.1f} {y + 8}H{x(max(runs)):.1f}" stroke="#222" stroke-width="1.5"/>',
            f'<text x="{x(max(runs)) + 5:.1f}" y="{y + 12}">{text}</text>',
        ]
    return "\n".join([*out, "</svg>"]) + "\n"


def main():
    folder = pathlib.Path(sys.argv[1])
    machine, lines = read(folder)
    if not lines:
        sys.exit("report.py: nothing was measured")
    text = table(machine, lines)
    (folder / "table.md").write_text(text)
    if any(line["runs"] or "firstMs" in line for line in lines):
        (folder / "bars.svg").write_text(bars(lines))
    compared = list(ratios(lines))
    print(text)
    print("\n".join(compared))


if __name__ == "__main__":
    main()
