#!/usr/bin/env python3
"""Make tests/golden/mappers/: mappers and calibrators as torch saves them, and what they compute.

    pip install torch numpy
    python3 scripts/generate_mappers.py tests/golden/mappers

expected.json states for each mapper file its kind, the inputs [n, D], and for each side the outputs of
the torch modules in evaluation mode: `exact` from the modules in double precision, `float` in single.
It also states the scalars of each calibrator file. Files in bad/ must be refused; their names say why.
"""

import json
import os
import sys

import torch
from torch import nn

ROWS, D, HIDDEN, OUT = 7, 12, 8, 6


class Channel(nn.Module):
    def __init__(self, dimension):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(1, dimension))

    def forward(self, x):
        return x * self.weights


def mlp(widths):
    """linear-BN-ReLU-dropout-…-linear-BN; the last batch norm has no weight and bias."""
    parts = []
    for i in range(len(widths) - 1):
        last = i == len(widths) - 2
        parts.append(nn.Linear(widths[i], widths[i + 1], bias=False))
        parts.append(nn.BatchNorm1d(widths[i + 1], affine=not last))
        if not last:
            parts += [nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*parts)


def randomise(module, generator):
    """Parameters and statistics that training could have left, none of them at its default."""

    def normal(tensor, mean, spread):
        tensor.copy_(mean + spread * torch.randn(tensor.shape, generator=generator))

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Linear):
                normal(part.weight, 0.0, 0.4)
                if part.bias is not None:
                    normal(part.bias, 0.0, 0.3)
            elif isinstance(part, Channel):
                normal(part.weights, 1.0, 0.5)
            elif isinstance(part, nn.BatchNorm1d):
                normal(part.running_mean, 0.2, 0.5)
                part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) * 2 + 0.01)
                # One channel that hardly varied: there eps 1e-5 matters.
                part.running_var[0] = 2e-5
                part.num_batches_tracked.fill_(100)
                if part.affine:
                    normal(part.weight, 1.0, 0.4)
                    normal(part.bias, 0.1, 0.4)
    return module.eval()


def main():
    out = sys.argv[1]
    os.makedirs(os.path.join(out, "bad"), exist_ok=True)
    generator = torch.Generator().manual_seed(20230707)
    makers = {
        "linear": lambda: nn.Linear(D, D),
        "channel": lambda: Channel(D),
        "mlp": lambda: mlp([D, HIDDEN, OUT]),
        "mlp_deep": lambda: mlp([D, HIDDEN, 2 * HIDDEN, HIDDEN, OUT]),
    }
    inputs = torch.randn(ROWS, D, generator=generator)
    expected = {"inputs": inputs.tolist(), "mappers": {}, "calibrators": {}}
    states = {}
    for name, make in makers.items():
        sides = {side: randomise(make(), generator) for side in ("real", "synth")}
        states[name] = {f"{side}_mapper": module.state_dict() for side, module in sides.items()}
        torch.save(states[name], os.path.join(out, f"{name}.pth"))
        stated = {"kind": name.split("_")[0]}
        with torch.no_grad():
            for side, module in sides.items():
                single = module(inputs).tolist()
                exact = module.double()(inputs.double()).tolist()
                stated[side] = {"float": single, "exact": exact}
        expected["mappers"][name] = stated

    def bad(name, base, change):
        copy = {side: dict(tensors) for side, tensors in states[base].items()}
        change(copy)
        torch.save(copy, os.path.join(out, "bad", f"{name}.pth"))

    def put(side, key, value):
        return lambda copy: copy[side].__setitem__(key, value)

    def broken(state, key, value):
        changed = state["synth_mapper"][key].clone()
        changed.view(-1)[1] = value
        return put("synth_mapper", key, changed)

    linear, deep = states["linear"], states["mlp"]
    bad("no_synth_side", "linear", lambda copy: copy.pop("synth_mapper"))
    bad("surplus_side", "linear", lambda copy: copy.__setitem__("other", {"x": torch.zeros(1)}))
    bad("missing_bias", "linear", lambda copy: copy["synth_mapper"].pop("bias"))
    bad("surplus_tensor", "linear", put("real_mapper", "more", torch.zeros(2)))
    bad("weight_of_one_axis", "linear", put("real_mapper", "weight", torch.zeros(D)))
    bad("bias_of_other_length", "linear", put("real_mapper", "bias", torch.zeros(D + 1)))
    bad("weight_nan", "linear", broken(linear, "weight", float("nan")))
    bad("weight_infinite", "linear", broken(linear, "weight", float("inf")))
    bad("weight_of_integers", "linear", put("real_mapper", "weight", torch.zeros(D, D, dtype=torch.int64)))
    bad("no_known_kind", "linear", lambda copy: copy.update(real_mapper={"fc.weight": torch.zeros(D, D)}))
    bad("sides_of_two_kinds", "linear", lambda copy: copy.update(synth_mapper=states["channel"]["synth_mapper"]))
    bad("sides_of_two_sizes", "mlp", lambda copy: copy.update(synth_mapper=states["mlp_deep"]["synth_mapper"]))
    bad("channel_of_two_rows", "channel", put("real_mapper", "weights", torch.ones(2, D)))
    bad("mlp_without_statistics", "mlp", lambda copy: copy["real_mapper"].pop("1.running_var"))
    bad("mlp_with_matrix_bias", "mlp", put("real_mapper", "0.bias", torch.zeros(HIDDEN)))
    bad("mlp_with_affine_end", "mlp", put("real_mapper", "5.weight", torch.ones(OUT)))
    bad("mlp_that_does_not_chain", "mlp", put("real_mapper", "4.weight", torch.zeros(OUT, HIDDEN + 1)))
    bad("variance_negative", "mlp", broken(deep, "1.running_var", -1.0))
    bad("variance_nan", "mlp", broken(deep, "5.running_var", float("nan")))
    bad("fold_overflows", "mlp", broken(deep, "0.weight", 3e38))

    def too_wide(copy):
        for side in copy.values():
            side["weight"], side["bias"] = torch.zeros(1, 1).expand(4000, 4000), torch.zeros(1).expand(4000)

    bad("too_wide", "linear", too_wide)

    calibrators = {
        "scalars": {"inv_tau": torch.tensor(37.25), "bias": torch.tensor(-1.5)},
        "vectors": {"inv_tau": torch.tensor([20.0]), "bias": torch.tensor([0.0])},
    }
    for name, state in calibrators.items():
        torch.save(state, os.path.join(out, f"calibrator_{name}.pth"))
        expected["calibrators"][name] = [state["inv_tau"].item(), state["bias"].item()]
    good = calibrators["scalars"]
    for name, state in {
        "missing": {"inv_tau": good["inv_tau"]},
        "surplus": {**good, "more": torch.tensor(1.0)},
        "misshapen": {**good, "bias": torch.zeros(2)},
        "integer": {**good, "bias": torch.tensor(1)},
        "negative": {**good, "inv_tau": torch.tensor(-1.0)},
        "nan": {**good, "bias": torch.tensor(float("nan"))},
    }.items():
        torch.save(state, os.path.join(out, "bad", f"calibrator_{name}.pth"))

    with open(os.path.join(out, "expected.json"), "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
