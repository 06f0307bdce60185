#!/usr/bin/env python3
"""Writes the golden values of the calibrator's loss and of the mapper's: what torch's autograd makes of them.

    python3 -m venv venv && venv/bin/pip install torch numpy
    venv/bin/python scripts/golden_calibrate.py

Writes tests/golden/calibrate.json (scores of some queries, the loss with its gradient at some points, and
the minimum that torch's LBFGS finds) and tests/golden/contrastive.json (a batch of pairs, the InfoNCE loss of
mapped and normalised features, and its gradients). All in float64 from inputs that are float32.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
# inv_tau and the effective bias.
POINTS = [(25.0, 0.0), (10.0, -0.05), (60.0, 0.02), (3.0, -0.3), (150.0, -0.12), (0.5, 1.5)]


def queries(random):
    """Scores: of 2 to 6 exemplars, mostly above those of 40 other items."""
    made = []
    for _ in range(8):
        exemplars = random.normal(0.62, 0.11, size=random.integers(2, 7)).clip(-1, 1).astype(np.float32)
        others = random.normal(0.35, 0.12, size=40).clip(-1, 1).astype(np.float32)
        made.append((exemplars, others))
    return made


def calibrator_loss(made, inv_tau, b):
    """The seed's loss: softplus in place of max(., 0); exemplars first, then the other scores."""
    losses = []
    for exemplars, others in made:
        s = torch.tensor(np.concatenate([exemplars, others]).astype(np.float64))
        t = F.softplus(torch.exp(inv_tau * (s - s.max())) + b, beta=100)
        losses.append(torch.log(t.sum()) - torch.log(t[: len(exemplars)]).mean())
    return torch.stack(losses).mean()


def calibrator(random):
    made = queries(random)
    points = []
    for point in POINTS:
        x = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        loss = calibrator_loss(made, x[0], x[1])
        loss.backward()
        points.append({"inv_tau": point[0], "b": point[1], "loss": loss.item(), "gradient": x.grad.tolist()})
    best = None
    for start in [(25.0, 0.0), (10.0, -0.1), (80.0, -0.1)]:
        x = torch.tensor([np.log(start[0]), start[1]], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [x], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
        )

        def closure():
            optimizer.zero_grad()
            loss = calibrator_loss(made, torch.exp(x[0]), x[1])
            loss.backward()
            return loss

        optimizer.step(closure)
        loss = calibrator_loss(made, torch.exp(x[0]), x[1]).item()
        if best is None or loss < best["loss"]:
            best = {"inv_tau": float(np.exp(x[0].item())), "b": x[1].item(), "loss": loss}
    return {
        "queries": [{"exemplars": e.tolist(), "others": o.tolist()} for e, o in made],
        "points": points,
        "minimum": best,
    }


def contrastive(random):
    """InfoNCE both ways over a batch; pairs of one entry are no negatives; sampled rows are more of them."""
    pairs, dimension, extra, temperature = 7, 5, 4, 0.1
    entries = [0, 1, 2, 0, 3, 4, 1]
    make = lambda *shape: random.normal(size=shape).astype(np.float32)
    synth, real, sampled = make(pairs, dimension), make(pairs, dimension), make(extra, dimension)
    parameters = {
        "real_delta": 0.2 * make(dimension, dimension),
        "real_bias": 0.1 * make(dimension),
        "synth_delta": 0.2 * make(dimension, dimension),
        "synth_bias": 0.1 * make(dimension),
    }
    tensors = {k: torch.tensor(v.astype(np.float64), requires_grad=True) for k, v in parameters.items()}
    scale = torch.tensor(np.log(1 / temperature), requires_grad=True)

    def mapped(x, side):
        x = torch.tensor(x.astype(np.float64))
        weight = torch.eye(dimension, dtype=torch.float64) + tensors[f"{side}_delta"]
        return F.normalize(F.linear(x, weight, tensors[f"{side}_bias"]), dim=1)

    q, x, n = mapped(synth, "synth"), mapped(real, "real"), mapped(sampled, "real")
    logits = scale.exp() * q @ x.T
    same = torch.tensor([[a == b and i != j for j, b in enumerate(entries)] for i, a in enumerate(entries)])
    logits = logits.masked_fill(same, float("-inf"))
    target = torch.arange(pairs)
    to_real = F.cross_entropy(torch.cat([logits, scale.exp() * q @ n.T], dim=1), target)
    to_synth = F.cross_entropy(logits.T, target)
    loss = (to_real + to_synth) / 2
    loss.backward()
    return {
        "dimension": dimension,
        "temperature": temperature,
        "entries": entries,
        "synth": synth.flatten().tolist(),
        "real": real.flatten().tolist(),
        "sampled": sampled.flatten().tolist(),
        "parameters": {k: v.flatten().tolist() for k, v in parameters.items()},
        "loss": loss.item(),
        "gradients": {k: v.grad.flatten().tolist() for k, v in tensors.items()} | {"scale": scale.grad.item()},
    }


def main():
    random = np.random.default_rng(20231)
    for name, content in (("calibrate", calibrator(random)), ("contrastive", contrastive(random))):
        (GOLDEN / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        print(GOLDEN / f"{name}.json")


if __name__ == "__main__":
    main()
