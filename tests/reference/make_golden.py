# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference logits for the engine's tests, in float64, stored as a small safetensors file:

  /usr/bin/python3 make_golden.py MODEL PROMPTS.json OUT.safetensors

PROMPTS.json is a list of {"text"} or {"file", "tokens"}. Per prompt p the file has
  p.ids        I32 [n]       the prompt
  p.absmax     F32 [n]       largest absolute logit of every position
  p.columns    I32 [n][k]    vocabulary ids compared at every position: the 8 likeliest, then a fixed spread
  p.values     F32 [n][k]    their logits
  p.positions  I32 [f]       positions whose whole vocabulary is stored
  p.full       F32 [f][vocab]"""
import json
import sys
from pathlib import Path

import numpy as np

from bpe import Tokenizer
from llama import Llama

NAMES = {np.dtype(np.int32): "I32", np.dtype(np.float32): "F32"}


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text
                           + b"".join(a.tobytes() for a in tensors.values()))


def main():
    folder, prompts, out = sys.argv[1:]
    tokenizer, model = Tokenizer(folder), Llama(folder)
    vocab = model.config["vocab_size"]
    spread = (np.arange(24, dtype=np.int64) * 2654435761 + 12345) % vocab
    tensors = {}
    for number, prompt in enumerate(json.loads(Path(prompts).read_text())):
        if "text" in prompt:
            ids = tokenizer.encode(prompt["text"])
        else:
            base = Path(prompts).parent / prompt["file"]
            ids = tokenizer.encode(base.read_text(encoding="utf-8")[:20000])[:prompt["tokens"]]
        logits = model.logits(ids).numpy()
        top = np.argsort(-logits, axis=1, kind="stable")[:, :8]
        columns = np.concatenate((top, np.broadcast_to(spread, (len(ids), spread.size))), axis=1)
        positions = np.unique(np.linspace(0, len(ids) - 1, 8).astype(np.int32))
        name = str(number)
        tensors[name + ".ids"] = np.array(ids, dtype=np.int32)
        tensors[name + ".absmax"] = np.abs(logits).max(1).astype(np.float32)
        tensors[name + ".columns"] = columns.astype(np.int32)
        tensors[name + ".values"] = np.take_along_axis(logits, columns, 1).astype(np.float32)
        tensors[name + ".positions"] = positions
        tensors[name + ".full"] = logits[positions].astype(np.float32)
    write_safetensors(out, tensors)


if __name__ == "__main__":
    main()
