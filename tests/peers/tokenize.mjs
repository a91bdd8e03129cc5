// SPDX-License-Identifier: GPL-3.0-or-later
// Our ids against the npm package `tokenizers` (folders) and llama.cpp (the GGUFs we write).
import fs from 'node:fs';
import path from 'node:path';
import { check, cli, demo, expect, exported, finish, first_difference, scratch, shared_data, with_llama } from './common.mjs';
import { load_tokenizer } from './reference.mjs';
import { files, nasty, prompts } from './texts.mjs';

const models = [demo];
if (shared_data) for (const name of ['stories260k-hf', 'tinystories-656k']) models.push(path.join(shared_data, 'models', name));

// Many short texts go through the command line in one file each; a text is found again by its file.
const short_texts = [...nasty, ...prompts].map((text, i) => {
  const file = path.join(scratch, `text-${i}.txt`);
  fs.writeFileSync(file, text);
  return file;
});
const show = (text) => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);

for (const model of models) {
  const name = path.basename(model);
  const json = JSON.parse(fs.readFileSync(path.join(model, 'tokenizer.json'), 'utf8'));
  for (const parse_special of [false, true])
    await check(`${name}: ids as npm tokenizers${parse_special ? ', special tokens recognised' : ''}`, async () => {
      const reference = load_tokenizer(json, parse_special);
      let count = 0;
      for (const file of parse_special ? short_texts.slice(0, nasty.length) : [...short_texts, ...files]) {
        const text = fs.readFileSync(file, 'utf8');
        const theirs = Array.from((await reference.encode(text, null, { addSpecialTokens: true })).getIds());
        const ours = cli('tokenize', model, '--text', file, ...(parse_special ? ['--parse-special'] : [])).ids;
        const at = first_difference(ours, theirs);
        expect(at < 0, `${show(text)} differs at id ${at}: ours ${ours.slice(at, at + 6)}, theirs ${theirs.slice(at, at + 6)}`);
        count += ours.length;
      }
      return `${count} ids`;
    });

  await check(`${name}: ids of llama.cpp from our GGUF`, async () => {
    const gguf = exported('f16', model);
    // llama.cpp stops on characters that a vocabulary without byte tokens lacks.
    const all_bytes = !json.model.byte_fallback || '<0x00>' in json.model.vocab;
    const chars = new Set(Object.keys(json.model.vocab).flatMap((token) => [...token, ' ']));
    const known = (text) => all_bytes || [...text].every((c) => chars.has(c));
    return await with_llama(gguf, 64, async (model) => {
      let count = 0;
      let skipped = 0;
      for (const file of [...short_texts, ...files.slice(0, 2)]) {
        const text = fs.readFileSync(file, 'utf8');
        if (!text || !known(text)) {
          ++skipped;
          continue;
        }
        const theirs = model.tokenize(text, false);
        const ours = cli('tokenize', gguf, '--text', file, '--no-special').ids;
        const at = first_difference(ours, theirs);
        expect(at < 0, `${show(text)} differs at id ${at}: ours ${ours.slice(at, at + 6)}, theirs ${theirs.slice(at, at + 6)}`);
        count += ours.length;
      }
      return `${count} ids${skipped > 1 ? `, ${skipped} texts left out whose characters the vocabulary lacks` : ''}`;
    });
  });
}
await finish();
