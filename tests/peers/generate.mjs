// SPDX-License-Identifier: GPL-3.0-or-later
// llama.cpp loads the GGUFs we write; from the f16 one it generates the tokens that we generate.
import { check, cli, expect, export_mixes, export_types, exported, finish, first_difference, with_llama } from './common.mjs';
import { prompts } from './texts.mjs';

const new_tokens = 64;

async function greedy(model, sequence, prompt, count) {
  await sequence.clearHistory();
  const out = [];
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    out.push(token);
    if (out.length === count || model.isEogToken(token)) break;
  }
  return out;
}

for (const type of [...export_types.filter((t) => t !== 'f16'), ...export_mixes])
  await check(`demo as ${type} runs in llama.cpp`, async () =>
    with_llama(exported(type), 256, async (model, sequence) => {
      const tokens = await greedy(model, sequence, model.tokenize(prompts[0], false), 16);
      const text = model.detokenize(tokens, true);
      expect(/^[\x20-\x7e\n]{20,}$/.test(text), `it says ${JSON.stringify(text)}`);
      return JSON.stringify(text.slice(0, 50));
    }),
  );

await check(`demo as f16: the same ${new_tokens} greedy tokens as llama.cpp on ${prompts.length} prompts`, async () => {
  const gguf = exported('f16');
  return await with_llama(gguf, 512, async (model, sequence) => {
    let same = 0;
    const close = [];
    for (const prompt of prompts) {
      const ours = cli('generate', gguf, '--prompt', prompt, '--max-new', String(new_tokens), '--logprobs', '2');
      const theirs = await greedy(model, sequence, ours.prompt_tokens, new_tokens);
      // The end token: llama.cpp gives it out, we stop before or at it.
      const ours_tokens = ours.tokens.filter((id) => !model.isEogToken(id));
      const theirs_tokens = theirs.filter((id) => !model.isEogToken(id));
      const at = first_difference(ours_tokens, theirs_tokens);
      if (at < 0) {
        ++same;
        continue;
      }
      const step = ours.steps.filter((s) => !s.prompt)[at];
      const gap = step.top[0].logprob - step.top[1].logprob;
      const where = `${JSON.stringify(prompt)} token ${at}: ours ${ours_tokens[at]}, llama.cpp ${theirs_tokens[at]}, gap of our two best ${gap.toPrecision(3)}`;
      expect(gap < 0.01, where);
      close.push(where);
    }
    return `${same} of ${prompts.length} equal${close.map((c) => `\n       within the tolerance: ${c}`).join('')}`;
  });
});
await finish();
