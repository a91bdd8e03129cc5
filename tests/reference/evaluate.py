# SPDX-License-Identifier: GPL-3.0-or-later
"""Perplexity by llama.cpp's rule, and KL divergence against the same model with changed weights.

  /usr/bin/python3 evaluate.py MODEL --text FILE [--context N] [--chunks N] [--f32]
                               [--against SCHEME|f16|bf16|FOLDER]
Prints one JSON object; --against adds the mean KL(MODEL || changed) and the changed perplexity."""
import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from bpe import Tokenizer
from llama import Llama
from quant import change_linears, round_weights


def windows(tokenizer, text, context, chunks):
    if text.endswith("\n"):
        text = text[:-1]
    ids = tokenizer.encode(text)
    count = len(ids) // context
    assert len(ids) >= 2 * context, "%d tokens are fewer than two windows" % len(ids)
    for i in range(min(count, chunks) if chunks else count):
        window = list(ids[i * context:(i + 1) * context])
        if tokenizer.bos is not None:
            window[0] = tokenizer.bos
        yield window


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--chunks", type=int, default=0)
    parser.add_argument("--f32", action="store_true")
    parser.add_argument("--against")
    args = parser.parse_args()
    dtype = torch.float32 if args.f32 else torch.float64
    tokenizer = Tokenizer(args.model)
    model = Llama(args.model, dtype)
    other = None
    if args.against:
        if Path(args.against).is_dir():
            other = Llama(args.against, dtype)
        elif args.against in ("f16", "bf16"):
            other = Llama(args.model, dtype, round_weights(args.against))
        else:
            other = Llama(args.model, dtype, change_linears(args.against))
    nll, other_nll, kl, same = [], [], [], []
    text = Path(args.text).read_bytes().decode("utf-8")
    for window in windows(tokenizer, text, args.context, args.chunks):
        first = args.context // 2
        targets = torch.tensor(window[first + 1:], dtype=torch.long)[:, None]
        p = torch.log_softmax(model.logits(window)[first:-1].double(), -1)
        nll += (-p.gather(1, targets)[:, 0]).tolist()
        if other:
            q = torch.log_softmax(other.logits(window)[first:-1].double(), -1)
            other_nll += (-q.gather(1, targets)[:, 0]).tolist()
            kl += (p.exp() * (p - q)).sum(-1).tolist()
            same += (p.argmax(-1) == q.argmax(-1)).tolist()

    def summary(values):
        v = np.array(values)
        ppl = math.exp(v.mean())
        return ppl, ppl * math.sqrt((np.mean(v * v) - v.mean() ** 2) / (len(v) - 1))
    ppl, err = summary(nll)
    out = {"perplexity": ppl, "stderr": err, "tokens": len(nll)}
    if other:
        out["against"] = {"perplexity": summary(other_nll)[0], "ppl_ratio": summary(other_nll)[0] / ppl,
                          "kld_mean": float(np.mean(kl)), "kld_p99": float(np.quantile(kl, 0.99)),
                          "kld_max": float(np.max(kl)), "top1_agreement": float(np.mean(same))}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
