// SPDX-License-Identifier: GPL-3.0-or-later
// Every architecture as a GGUF of ours in llama.cpp: the small models of tests/golden/arch, logits of
// every position against ours.
import fs from 'node:fs';
import path from 'node:path';
import { make_model, log_softmax } from './arch_models.mjs';
import { check, cli, expect, finish, root, scratch, with_llama } from './common.mjs';

const golden = path.join(root, 'tests', 'golden', 'arch');
/// Of a position's largest absolute logit. llama.cpp looks GELU up in a table of halves.
const bar = 1e-4;
const gelu_bar = 5e-3;
const with_gelu = ['gemma', 'gemma2', 'gemma3', 'gpt2', 'gptneox'];
/// Rows of log-probabilities after every token but the last.
function ours(gguf, ids, vocab) {
  const file = path.join(scratch, 'ids.json');
  fs.writeFileSync(file, JSON.stringify(ids));
  const { steps } = cli('generate', gguf, '--ids', file, '--max-new', '1', '--logprobs', String(vocab));
  return steps.slice(1, ids.length).map((step) => {
    const row = new Array(vocab).fill(NaN);
    for (const { id, logprob } of step.top) row[id] = logprob;
    return row;
  });
}

async function theirs(gguf, ids, vocab) {
  return await with_llama(gguf, ids.length, async (model, sequence) => {
    const outputs = await sequence.controlledEvaluate(ids.map((id) => [id, { generateNext: { logits: true } }]));
    return outputs.slice(0, -1).map((output) => {
      const row = new Array(vocab).fill(NaN);
      for (const [id, value] of output.next.logits) row[id] = value;
      return row;
    });
  }, { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' });
}

for (const file of fs.readdirSync(golden).filter((name) => name.endsWith('.json')).sort()) {
  const description = JSON.parse(fs.readFileSync(path.join(golden, file), 'utf8'));
  const name = path.basename(file, '.json');
  if (description.gguf.refused) continue;
  await check(`${name} through GGUF: the logits of llama.cpp`, async () => {
    const folder = path.join(scratch, name);
    make_model(description, folder);
    const gguf = cli('quantize', folder, '--scheme', 'f32', '--method', 'rtn', '--format', 'gguf', '--name', 'tiny', '-o', `${folder}-gguf`).output;
    let ids = description.ids;
    // llama.cpp picks longrope's factors by the context it is given, in steps of 256: only a sequence
    // that is long itself compares.
    const original = description.config.original_max_position_embeddings ?? 0;
    while (description.config.rope_scaling?.long_factor && ids.length <= original) ids = [...ids, ...description.ids];
    ids = ids.slice(0, description.gguf.llama_cpp_exact ?? ids.length);
    const a = ours(gguf, ids, description.vocab);
    const b = await theirs(gguf, ids, description.vocab);
    let worst = 0;
    for (let t = 0; t < a.length; ++t) {
      const theirs_log = log_softmax(b[t]);
      const largest = Math.max(...b[t].map(Math.abs));
      for (let i = 0; i < description.vocab; ++i) {
        const off = Math.abs(a[t][i] - theirs_log[i]) / largest;
        if (!(off <= worst)) worst = off;
      }
    }
    const figures = `${worst.toExponential(1)} of the largest logit over ${a.length} positions`;
    expect(a.length > 0 && worst <= (with_gelu.includes(description.gguf.architecture) ? gelu_bar : bar), figures);
    return figures;
  });
}
await finish();
