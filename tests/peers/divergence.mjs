// SPDX-License-Identifier: GPL-3.0-or-later
// KL divergence of our GGUFs from the f16 one, computed here from llama.cpp's logits, and by us.
import fs from 'node:fs';
import path from 'node:path';
import { check, cli, demo, expect, exported, finish, scratch, with_llama } from './common.mjs';

const context = 256;
const windows = 6;
const tolerance = 2e-3;
// llama.cpp rounds inputs to 8 bits before products with packed weights, and we do not: its figures
// have that in them.
const tolerance_of_packed = 0.1;
const text_file = path.join(demo, 'evaluation.txt');
const text = fs.readFileSync(text_file, 'utf8').replace(/\n$/, '');

/// Log-probabilities of all tokens after each scored position.
async function log_probabilities(model, sequence) {
  const ids = model.tokenize(text, false);
  const first = context / 2;
  const out = [];
  for (let w = 0; w < windows; ++w) {
    const window = ids.slice(w * context, (w + 1) * context);
    if (model.tokens.shouldPrependBosToken) window[0] = model.tokens.bos;
    await sequence.clearHistory();
    const outputs = await sequence.controlledEvaluate(
      window.map((id, i) => (i < first || i + 1 === context ? id : [id, { generateNext: { logits: true } }])),
    );
    for (let i = first; i + 1 < context; ++i) {
      const logits = outputs[i].next.logits;
      const row = new Float64Array(logits.size);
      let best = -Infinity;
      for (const [id, value] of logits) {
        row[id] = value;
        best = Math.max(best, value);
      }
      let total = 0;
      for (const value of row) total += Math.exp(value - best);
      const norm = best + Math.log(total);
      for (let id = 0; id < row.length; ++id) row[id] -= norm;
      out.push(row);
    }
  }
  return out;
}

function divergence(reference, candidate) {
  let sum = 0;
  for (let at = 0; at < reference.length; ++at)
    for (let id = 0; id < reference[at].length; ++id)
      sum += Math.exp(reference[at][id]) * (reference[at][id] - candidate[at][id]);
  return sum / reference.length;
}

const reference = await with_llama(exported('f16'), context, log_probabilities);

async function compared(gguf, allowed) {
  const theirs = divergence(reference, await with_llama(gguf, context, log_probabilities));
  const report = cli('compare', exported('f16'), gguf, '--text', text_file, '--context', String(context), '--chunks', String(windows));
  const ours = report.models[0].kld_mean;
  const figures = `ours ${ours.toExponential(4)}, theirs ${theirs.toExponential(4)} over ${reference.length} positions`;
  expect(report.models[0].tokens === reference.length, `we scored ${report.models[0].tokens} tokens; ${figures}`);
  expect(Math.abs(ours / theirs - 1) <= allowed, figures);
  return figures;
}

// Quantized, decoded to floats and written as f16: both run the same weights in the same precision.
for (const scheme of ['int4-g128-asym', 'int3-g128-asym', 'int2-g64-asym'])
  await check(`demo decoded from ${scheme}: KL divergence as from llama.cpp's logits`, () => {
    const folder = path.join(scratch, 'decoded', scheme);
    fs.mkdirSync(path.dirname(folder), { recursive: true });
    const floats = cli('quantize', demo, '--scheme', scheme, '--method', 'rtn', '--format', 'safetensors', '-o', folder).output;
    return compared(exported('f16', floats), tolerance);
  });
for (const type of ['q4_1', 'q4_0', 'Q4_K_M', 'Q2_K'])
  await check(`demo as ${type}: KL divergence near that from llama.cpp's logits`, () => compared(exported(type), tolerance_of_packed));
await finish();
