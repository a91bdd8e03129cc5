// SPDX-License-Identifier: GPL-3.0-or-later
// Whole tokenizers of the shared reference data: our ids on two megabytes of mixed text, and on texts
// made to trip tokenizers up, against the npm package `tokenizers`; with the time both take on one
// thread.
process.env.TOKENIZERS_PARALLELISM = 'false';
process.env.RAYON_NUM_THREADS = '1';
import fs from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { check, cli, expect, finish, first_difference, scratch, shared_data } from './common.mjs';
import { load_tokenizer } from './reference.mjs';
import { hostile, mixed, nasty } from './texts.mjs';

/// What transformers makes of vocab.json and merges.txt.
function from_parts(folder, normalizer, pattern, specials) {
  const bytes = (use_regex) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex });
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  const merges = fs.readFileSync(path.join(folder, 'merges.txt'), 'utf8').split('\n');
  return {
    version: '1.0', truncation: null, padding: null, normalizer, post_processor: null,
    added_tokens: specials.map(([id, content]) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    pre_tokenizer: pattern ? { type: 'Sequence', pretokenizers: [split, bytes(false)] } : bytes(true),
    decoder: bytes(true),
    model: { type: 'BPE', vocab: JSON.parse(fs.readFileSync(path.join(folder, 'vocab.json'), 'utf8')), merges: merges.filter((line) => line && !line.startsWith('#version')) },
  };
}

/// Merges are pairs with a space between; where the pieces hold spaces too, the package wants a list.
function with_merge_lists(json) {
  const { vocab, merges } = json.model;
  if (!merges) return json;
  json.model.merges = merges.map((merge) => {
    if (Array.isArray(merge)) return merge;
    const spaces = [...merge].flatMap((c, i) => (c === ' ' ? [i] : []));
    const at = spaces.find((i) => merge.slice(0, i) in vocab && merge.slice(i + 1) in vocab && merge.slice(0, i) + merge.slice(i + 1) in vocab);
    return [merge.slice(0, at), merge.slice(at + 1)];
  });
  return json;
}

const qwen = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const folders = shared_data ? fs.readdirSync(path.join(shared_data, 'tokenizers')).map((name) => path.join(shared_data, 'tokenizers', name)) : [];
for (const folder of folders) {
  const name = path.basename(folder);
  let json = null;
  if (fs.existsSync(path.join(folder, 'tokenizer.json'))) json = with_merge_lists(JSON.parse(fs.readFileSync(path.join(folder, 'tokenizer.json'), 'utf8')));
  else if (name === 'gpt2') json = from_parts(folder, null, null, [[50256, '<|endoftext|>']]);
  else if (name === 'qwen2') json = from_parts(folder, { type: 'NFC' }, qwen, [[151643, '<|endoftext|>'], [151644, '<|im_start|>'], [151645, '<|im_end|>']]);
  if (!json) continue;
  await check(`${name}: ids as npm tokenizers`, async () => {
    const reference = load_tokenizer(json, false);
    let detail = '';
    for (const [what, text] of [['mixed', mixed], ['odd', [...nasty, ...hostile].join('\n')], ['one word', 'ab'.repeat(500000)]]) {
      const file = path.join(scratch, 'text.txt');
      fs.writeFileSync(file, text);
      const begin = performance.now();
      const theirs = Array.from((await reference.encode(text, null, { addSpecialTokens: true })).getIds());
      const npm = (performance.now() - begin) / 1000;
      const ours = cli('tokenize', folder, '--text', file);
      const at = first_difference(ours.ids, theirs);
      expect(at < 0, `${what} text differs at id ${at}: ours ${ours.ids.slice(at, at + 6)}, theirs ${theirs.slice(at, at + 6)}`);
      if (what === 'mixed') detail = `${theirs.length} ids; ${ours.seconds.toFixed(2)} s, npm ${npm.toFixed(2)} s: ${(npm / ours.seconds).toFixed(1)} times as fast`;
    }
    return detail;
  });
}
if (!folders.length) console.log('SKIPPED: the shared tokenizers are not here');
await finish();
