# SPDX-License-Identifier: GPL-3.0-or-later
"""Which type llama.cpp gives each tensor of known models, from the tables that it holds its own
choice against (tests/snapshots/*.schema in its sources), in short form:

  python3 make_mix_golden.py SNAPSHOTS OUT.json

Per model its sizes and, per mix, the base type and the layers (-1: outside of layers) of every tensor
name that has another one."""
import json
import re
import sys
from pathlib import Path

MODELS = {
    "meta-llama-3.1-70b-instruct": "llama",
    "qwen3-0.6b": "qwen3",
    "qwen3-14b": "qwen3",
    "gemma-3-4b-it": "gemma3",
}


def read(path):
    model, mixes, current = {}, {}, None
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            model.update({k: int(v) for k, v in re.findall(r"(n_\w+)=(\d+)", line)})
        elif line.startswith("["):
            name, base = re.match(r"\[(\w+)\] (\w+)", line).groups()
            current = mixes.setdefault(name, {"base": base.lower()})
        elif line:
            tensor, kind = line.split()
            layer = re.match(r"blk\.(\d+)\.(.*)", tensor)
            stem, at = (layer[2], int(layer[1])) if layer else (tensor, -1)
            current.setdefault(stem.removesuffix(".weight"), {}).setdefault(kind.lower(), []).append(at)
    return model, mixes


def main():
    out = {}
    for name, architecture in MODELS.items():
        model, mixes = read(Path(sys.argv[1]) / f"{name}.schema")
        kept = {k: v for k, v in mixes.items() if not k.startswith(("IQ1", "IQ2", "IQ3", "NVFP4"))}
        out[name] = {"architecture": architecture, **model, "mixes": kept}
    lines = []
    for name, model in out.items():
        mixes = model.pop("mixes")
        head = json.dumps(model)[:-1]
        body = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in mixes.items())
        lines.append(f'{json.dumps(name)}: {head}, "mixes": {{\n{body}}}}}')
    Path(sys.argv[2]).write_text("{\n" + ",\n".join(lines) + "}\n")


main()
