#!/usr/bin/env python3
"""Write table.md, summary.md and bars.svg from results.json and native.json of scripts/bench-embed, and print the ratios.

    report.py FOLDER

What: the table has a line for each configuration; the chart has ours and beside each the fastest of onnxruntime-web's: the
median time of a steady run, with a whisker from the fastest to the slowest. The ratios say, for each architecture, device and
precision of ours, how our median compares with the best that onnxruntime-web does in the same run: `provider` among the forms of
that precision on that kind of device and as many threads as ours (one), `any` among all it can do at that precision. The same for
processor time and for the first result. Our int8 is compared with the fastest of dynamic int8, 8-bit MatMulNBits and, where there
is one, the statically quantized graph; our 4 bits, for a ResNet, with its 8-bit ones, as it has no graph in 4. transformers.js
runs the same graphs on the same runtime, and counts with it.

Why both clocks: on a machine with other work the wall clock measures that too; processor time does not.
"""

import json
import math
import pathlib
import statistics
import sys
from xml.sax.saxutils import escape

# Theirs on as many threads as ours, one.
PROVIDERS = {"cpu": "wasm-1", "webgpu": "webgpu"}
SAME = {"f32": ("f32",), "int8": ("int8", "nbits8", "static8"), "int4": ("int4",)}
COLOURS = {"ours": "#0b6e4f", "ort": "#8a8f98", "tjs": "#b9a36b"}
NAMES = {"ours": "ours", "ort": "onnxruntime-web", "tjs": "transformers.js"}


def read(folder):
    if not (folder / "results.json").exists():
        return None, []
    lines = [json.loads(line) for line in (folder / "results.json").read_text().splitlines()]
    return lines[0]["machine"], lines[1:]


def label(line):
    return " ".join(filter(None, [NAMES[line["side"]], line["device"], line["precision"], line["form"]]))


def median(values):
    return statistics.median(values) if values else None


def milliseconds(value):
    return "-" if value is None else f"{value:,.0f}"


def megabytes(value):
    return "-" if not value else f"{value / 1e6:.1f}"


def decimals(value):
    return "-" if value is None else f"{value:.5f}"


def first_results(line):
    """From an empty page to the first embedding, of each opening."""
    return [opening["openMs"] + opening["firstWallMs"] for opening in line["openings"]]


def total_first(line):
    return median(first_results(line))


def spread(values):
    return f"{milliseconds(median(values))} ({milliseconds(min(values))} to {milliseconds(max(values))})" if values else "-"


def table(machine, lines):
    versions = f"Chromium {machine['browser']}, onnxruntime-web {machine['onnxruntimeWeb']}, transformers.js {machine['transformersJs']}"
    out = [
        f"{machine['cpu']}, {machine['cores']} cores; {versions}. Times in ms: median (fastest to slowest) of "
        f"{machine['rounds']} steady runs, and of {machine['openings']} openings in new pages, in turn; of what takes long there is one. "
        "Cosine: with the same side's own f32, and with the other side's.",
        "",
        "| architecture | configuration | steady | processor | first result | of this, opening | MB of model | cosine | with the other's | renderer MB | GPU process MB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        runs = line["runs"]
        steady = spread(runs)
        if "stopped" in line:
            steady += f"; {line['stopped']}"
        cells = [
            line["arch"], label(line), steady, milliseconds(median(line["cpuMs"])), spread(first_results(line)),
            milliseconds(median([opening["openMs"] for opening in line["openings"]])), megabytes(line["modelBytes"]),
            decimals(line.get("cosine")), decimals(line.get("cosineOther")),
            megabytes(line.get("rendererPeakBytes")), megabytes(line.get("gpuGrowthBytes")),
        ]  # fmt: skip
        out.append("| " + " | ".join(cells) + " |")
    out += ["", "| program | MB raw | MB brotli | files |", "|---|--:|--:|--:|"]
    programs = {}
    for line in lines:
        name = NAMES[line["side"]] + ("" if line["side"] == "ours" else f" {line['device'].split('-')[0]}")
        size = line["program"]
        if size["raw"] > programs.get(name, {"raw": 0})["raw"]:
            programs[name] = size
    for name, size in programs.items():
        out.append(f"| {name} | {size['raw'] / 1e6:.2f} | {size['brotli'] / 1e6:.2f} | {len(size['files'])} |")
    return "\n".join(out) + "\n"


def rivals_of(ours, lines):
    """Their lines that ours is compared with: of the same precision, but 8 bits for a ResNet's 4."""
    there = [line for line in lines if line["side"] != "ours" and line["arch"] == ours["arch"]]
    precision = "int8" if ours["precision"] == "int4" and any(line["precision"] == "static8" for line in there) else ours["precision"]
    return [line for line in there if line["precision"] in SAME[precision]]


def ratios(lines):
    """Lines of text, each our figure over the better of theirs."""
    measures = {
        "steady": lambda line: median(line["runs"]),
        "processor": lambda line: median(line["cpuMs"]),
        "first result": total_first,
    }
    for ours in (line for line in lines if line["side"] == "ours"):
        rivals = rivals_of(ours, lines)
        provider = PROVIDERS[ours["device"]]
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


def summary(lines):
    """A short table for each kind of device: ours beside the fastest form that was measured of theirs on as many threads."""
    out = []
    for device, provider in PROVIDERS.items():
        if not any(line["device"] == device for line in lines if line["side"] == "ours"):
            continue
        out += [
            f"| {device} | bits | ours | onnxruntime-web | transformers.js | ratio | first result: ours | onnxruntime-web | transformers.js | ratio |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for ours in (line for line in lines if line["side"] == "ours" and line["device"] == device):
            alike = [line for line in rivals_of(ours, lines) if line["device"] == provider]
            cells = []
            for measure in (lambda line: median(line["runs"]), total_first):
                times = [measure(ours)]
                for side in ("ort", "tjs"):
                    times.append(min(filter(None, (measure(line) for line in alike if line["side"] == side)), default=None))
                theirs = min(filter(None, times[1:]), default=None)
                cells += [*map(milliseconds, times), f"{times[0] / theirs:.2f}" if times[0] and theirs else "-"]
            bits = {"f32": "32", "int8": "8", "int4": "4"}[ours["precision"]]
            out.append("| " + " | ".join([ours["arch"], bits, *cells]) + " |")
        out.append("")
    return "\n".join(out)


def native(path):
    """The tool's own kernels by wgpu, natively: one line for each architecture and precision."""
    device, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    out = [
        f"{device['device']}, natively: {device['teraflops']:.3f} TFLOP/s in f32 by a plain FMA kernel, copies at {device['copied'] / 1e9:.1f} GB/s.",
        "",
        "| native | weights | ms on the device | with upload and readback | linear layers, share of the f32 peak | cosine |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for line in lines:
        times = f"{1e3 * line['device_seconds']:,.1f} | {1e3 * line['whole_seconds']:,.1f}"
        out.append(f"| {line['backbone']} | {line['form']} | {times} | {100 * line['share']:.0f} % | {line['cosine']:.6f} |")
    return "\n".join([*out, ""])


def fastest(lines):
    """Ours, each followed by the fastest graph of onnxruntime-web that it is compared with, on as many threads."""
    for ours in (line for line in lines if line["side"] == "ours" and line["runs"]):
        yield ours
        provider = PROVIDERS[ours["device"]]
        theirs = [line for line in rivals_of(ours, lines) if line["side"] == "ort" and line["device"] == provider and line["runs"]]
        if theirs:
            yield min(theirs, key=lambda line: median(line["runs"]))


def bars(lines):
    """A chart of logarithmic bars, as a software GPU takes a hundred times as long as a CPU."""
    shown = list(fastest(lines)) or [line for line in lines if line["runs"] or line["openings"]]
    values = {id(line): line["runs"] or [opening["firstMs"] for opening in line["openings"]] for line in shown}
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


def other_weights(lines):
    """
    Names of lines in f32 whose feature is not the other side's: times of different networks are not compared. Fused graphs are
    not judged by: what a provider makes of one is its own, and is in the table.
    """
    alike = [line for line in lines if line["precision"] == "f32" and line["form"] != "fused"]
    return [f"{line['arch']} {label(line)}" for line in alike if (line.get("cosineOther") or 1) < 0.9999]


def main():
    folder = pathlib.Path(sys.argv[1])
    machine, lines = read(folder)
    if different := other_weights(lines):
        sys.exit(f"report.py: f32 features differ between the sides, remove the models and start anew: {'; '.join(different)}")
    known = folder / "native.json"
    if not lines and not known.exists():
        sys.exit("report.py: nothing was measured")
    text = table(machine, lines) if lines else ""
    (folder / "table.md").write_text(text)
    short = summary(lines) if lines else ""
    if known.exists():
        short += "\n" + native(known)
    (folder / "summary.md").write_text(short)
    if any(line["runs"] or line["openings"] for line in lines):
        (folder / "bars.svg").write_text(bars(lines))
    compared = list(ratios(lines))
    print(text)
    print(short)
    print("\n".join(compared))


if __name__ == "__main__":
    main()
