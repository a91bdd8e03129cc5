// SPDX-License-Identifier: GPL-3.0-or-later
// Fills tests/golden/tokenizers.json with what the npm package `tokenizers` makes of its texts:
//   tests/peers/run --golden
// Every text gives [ids, decoded] twice: special tokens taken as plain text, and recognised.
import fs from 'node:fs';
import path from 'node:path';
import { load_tokenizer } from './reference.mjs';

const [file, root] = process.argv.slice(2);
const entries = JSON.parse(fs.readFileSync(file, 'utf8'));
for (const entry of entries) {
  const json = entry.tokenizer ?? JSON.parse(fs.readFileSync(path.join(root, entry.folder, 'tokenizer.json'), 'utf8'));
  entry.results = [];
  for (const text of entry.texts) {
    const both = [];
    for (const parse_special of [false, true]) {
      const tokenizer = load_tokenizer(json, parse_special);
      const ids = Array.from((await tokenizer.encode(text, null, { addSpecialTokens: true })).getIds());
      both.push([ids, await tokenizer.decode(ids, false)]);
    }
    entry.results.push(both);
  }
}
const lines = entries.map(
  (entry) =>
    '{' +
    Object.entries(entry)
      .map(([key, value]) => `${JSON.stringify(key)}: ${key === 'results' ? `[\n  ${value.map((r) => JSON.stringify(r)).join(',\n  ')}]` : JSON.stringify(value)}`)
      .join(',\n ') +
    '}',
);
fs.writeFileSync(file, `[\n${lines.join(',\n')}\n]\n`);
