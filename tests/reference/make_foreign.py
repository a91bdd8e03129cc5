# SPDX-License-Identifier: GPL-3.0-or-later
"""Small checkpoints as other programs write them, for tst_foreign: every layout of quantized weights that the
project opens, written from a description of the formats and from nothing of the project.

  /usr/bin/python3 make_foreign.py ../golden/foreign [NAME...]
  /usr/bin/python3 make_foreign.py --folders DIR [NAME...]    plain folders, with all decoded weights beside them

NAME.safetensors  a checkpoint in one file. "files/F": the bytes of file F, as qCompress() has them. "case", in
                  the same way, is JSON: architecture, kv_scales, modules [{name, bits, shape, activations,
                  activation_scale}]: those with a quantized weight. "sums", f32: for every module and every eight
                  rows of it, the sum of the weights, each times weight_of(row, column). "spots", f32 [n][3]: row,
                  column, weight, SPOTS for every module.

Weights are mostly one value, so that files compress; rows are all different. Weights are computed in float64 from
codes and stored scales and rounded to float32 once."""
import json
import sys
from pathlib import Path

import numpy as np

import foreign_cases
from foreign_packing import bf16, compressed, f16, hashed, of_type, safetensors, value


SPOTS = 6


def weight_of(row, column):
    """Between 0.5 and 1.5; tst_foreign.cpp has the twin."""
    return 0.5 + ((column * 2654435761 + row * 2246822519) % (1 << 32)) / 2.0 ** 32


class Case:
    """One checkpoint being written."""

    def __init__(self, name):
        self.name = name
        self.config = {}
        self.tensors = {}           # as stored
        self.weights = {}           # quantized modules, decoded, f64
        self.modules = []           # what is expected of them
        self.extra_files = {}
        self.metadata = {"format": "pt"}
        self.facts = {}
        self.float_type = "F16"
        self.rarity = 14            # one code in so many is not the usual one

    def hashed(self, what, count):
        return hashed(self.name + " " + what, count)

    def put(self, name, dtype, array):
        assert name not in self.tensors, name
        self.tensors[name] = (dtype, np.asarray(array))

    def put_float(self, name, values):
        self.put(name, self.float_type, of_type(self.float_type, values))

    def pick(self, what, shape, choices):
        """Entries of a short list."""
        index = self.hashed(what, int(np.prod(shape))) % len(choices)
        return np.asarray(choices)[index].reshape(shape)

    def scales(self, what, shape, typical, dtype, count=4):
        """Numbers between 0.6 and 1.5 times the typical one, of the full precision of their type."""
        pool = typical * (0.6 + 0.9 * self.hashed(what + " pool", count) / 2.0 ** 32)
        stored = self.pick(what, shape, of_type(dtype, pool))
        return stored, value(dtype, stored)

    def codes(self, what, shape, bits, centre):
        """Most are `centre` (an array or a number), the others anything, the ends included."""
        count = int(np.prod(shape))
        top = (1 << bits) - 1
        some = np.arange(top + 1)
        if bits > 4:
            some = np.unique(np.concatenate([[0, 1, top // 2, top // 2 + 1, top - 1, top],
                                             self.hashed(what + " alphabet", 10) % (top + 1)]))
        anything = self.pick(what + " codes", shape, some)
        rare = (self.hashed(what + " where", count) % self.rarity == 0).reshape(shape)
        return np.where(rare, anything, np.broadcast_to(centre, shape)).astype(np.int64)

    def expect(self, module, bits, weight, **more):
        self.weights[module] = np.asarray(weight, np.float64)
        self.modules.append({"name": module, "bits": bits, "shape": list(weight.shape), **more})

    def float_matrix(self, name, rows, cols, size=1.0):
        step = size / 4.0
        self.put_float(name, np.maximum(self.hashed(name, rows * cols) % 9 - 5, 0).reshape(rows, cols) * step - step)

    def norm(self, name, size):
        self.put_float(name + ".weight", 1 + (self.hashed(name, size) % 9 - 4) / 16.0)

    def files(self):
        out = dict(self.extra_files)
        out["config.json"] = json.dumps(self.config, indent=1).encode()
        out["model.safetensors"] = safetensors(self.tensors, self.metadata)
        return out

    def bundle(self):
        tensors = {"files/" + name: ("U8", compressed(data)) for name, data in self.files().items()}
        sums, spots = [], []
        for module, weight in self.weights.items():
            rounded = weight.astype(np.float32).astype(np.float64)
            rows, cols = weight.shape
            weighted = rounded * weight_of(np.arange(rows)[:, None], np.arange(cols)[None, :])
            sums += [weighted[first:first + 8].sum() for first in range(0, rows, 8)]
            where = [(0, 0), (0, 1), (rows - 1, cols - 1)]
            rare = np.argwhere(rounded != rounded[0, 0])  # of the unusual ones, so that a wrong place shows
            where += [tuple(rare[i % len(rare)]) for i in self.hashed("spots " + module, SPOTS - 3)]
            spots += [(r, c, rounded[r, c]) for r, c in where]
        facts = json.dumps({"modules": self.modules, **self.facts})
        tensors["case"] = ("U8", compressed(facts.encode()))
        tensors["sums"] = ("F32", np.array(sums, np.float32))
        tensors["spots"] = ("F32", np.array(spots, np.float32))
        return safetensors(tensors, {})

    def write_folder(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files().items():
            (folder / name).write_bytes(data)
        decoded = {module + ".weight": ("F32", weight.astype(np.float32)) for module, weight in self.weights.items()}
        (folder / "decoded").mkdir(exist_ok=True)
        (folder / "decoded" / "weights.safetensors").write_bytes(safetensors(decoded, {}))


def main():
    arguments = sys.argv[1:]
    folders = arguments[0] == "--folders"
    target, names = Path(arguments[1 if folders else 0]), arguments[2 if folders else 1:]
    total = 0
    for name in names or foreign_cases.CASES:
        case = Case(name)
        foreign_cases.CASES[name](case)
        if folders:
            case.write_folder(target / name)
        else:
            data = case.bundle()
            (target / (name + ".safetensors")).write_bytes(data)
            total += len(data)
            print(f"{name:28} {len(data):7} bytes, {len(case.weights)} modules")
    print(total, "bytes")


if __name__ == "__main__":
    main()
