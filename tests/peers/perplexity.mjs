// SPDX-License-Identifier: GPL-3.0-or-later
// The perplexity of our GGUFs, measured by llama.cpp and by us.
import fs from 'node:fs';
import path from 'node:path';
import { check, cli, demo, expect, export_mixes, export_types, exported, finish, scratch, with_llama } from './common.mjs';

const context = 256;
const windows = 20;
const tolerance = 1e-3;
const tolerance_of_mixes = 5e-3;
const text_file = path.join(demo, 'evaluation.txt');
const text = fs.readFileSync(text_file, 'utf8').replace(/\n$/, '');

/// Negative log-likelihood of `next` after one position, from all its logits.
function nll(output, next) {
  const logits = output.next.logits;
  let best = -Infinity;
  for (const value of logits.values()) best = Math.max(best, value);
  let total = 0;
  for (const value of logits.values()) total += Math.exp(value - best);
  return best + Math.log(total) - logits.get(next);
}

async function measure(model, sequence) {
  const ids = model.tokenize(text, false);
  const first = context / 2;
  let sum = 0;
  let count = 0;
  for (let w = 0; w < windows; ++w) {
    const window = ids.slice(w * context, (w + 1) * context);
    if (model.tokens.shouldPrependBosToken) window[0] = model.tokens.bos;
    await sequence.clearHistory();
    const outputs = await sequence.controlledEvaluate(
      window.map((id, i) => (i < first || i + 1 === context ? id : [id, { generateNext: { logits: true } }])),
    );
    for (let i = first; i + 1 < context; ++i) {
      sum += nll(outputs[i], window[i + 1]);
      ++count;
    }
  }
  return { perplexity: Math.exp(sum / count), count };
}

async function compared(gguf, type) {
  const theirs = await with_llama(gguf, context, measure);
  const ours = cli('perplexity', gguf, '--text', text_file, '--context', String(context), '--chunks', String(windows));
  const difference = ours.perplexity / theirs.perplexity - 1;
  const figures = `ours ${ours.perplexity.toFixed(5)}, llama.cpp ${theirs.perplexity.toFixed(5)} (${(difference * 100).toFixed(4)} %)`;
  expect(ours.tokens === theirs.count, `we scored ${ours.tokens} tokens, llama.cpp ${theirs.count}`);
  expect(Math.abs(difference) <= (export_mixes.includes(type) ? tolerance_of_mixes : tolerance), figures);
  return figures;
}

for (const type of [...export_types, 'Q4_K_M', 'IQ4_XS', 'Q2_K'])
  await check(`demo as ${type}: perplexity as llama.cpp`, () => compared(exported(type), type));

await check('demo as q8_0 in parts: perplexity as llama.cpp', async () => {
  const folder = path.join(scratch, 'parts');
  const { output } = cli('quantize', demo, '--scheme', 'q8_0', '--method', 'rtn', '--format', 'gguf', '--shard-size', '1M', '-o', folder);
  const parts = fs.readdirSync(folder).filter((name) => name.endsWith('.gguf'));
  expect(parts.length > 2, `${parts.length} parts`);
  return `${parts.length} parts, ${await compared(output, 'q8_0')}`;
});
await finish();
