// SPDX-License-Identifier: GPL-3.0-or-later
// Texts that tokenizers trip over, and real ones.
import fs from 'node:fs';
import path from 'node:path';
import { demo, shared_data } from './common.mjs';

const nasty = [
  '', ' ', '  ', '\n', '\n\n\n', '\t', ' \n \n', 'a', ' a', 'a ', 'Hello  world   !   ', 'tabs\tand\r\nlines \n \n',
  "I'm you're we'VE it'll DON'T 'S 'tis", 'naïve café ñandú Ünïcödé', 'e\u0301 \u00e9', '日本語のテキスト、漢字', '한국어', 'مرحبا بالعالم',
  'Привет', '👋🌍👨‍👩‍👧‍👦🇩🇪', '1234567890 12 3.14', 'x²+½=Ⅷ', 'a\u0000b\u0001\u001b[0m\u007f', '\u00a0\u2003\u3000\u0085\u180e\u200b\ufeff\u2028',
  '<s>hi</s>', '<unk>', 'a<|end|>b<|user|>\n<|assistant|>', '<|start_story|>Once<|end_story|>', '<0x0A>', '▁▁ a▁b', '!!!???...---',
  'def f(x):\n    return x**2  # ok\n', 'https://example.com/?q=1&r=%20', 'a'.repeat(300), ' '.repeat(60) + 'x', '\n'.repeat(40),
  'ab '.repeat(100), "''''", '\ufffd\ufffd', '𝔘𝔫𝔦𝔠𝔬𝔡𝔢', '"Hi"\n"said"',
];

const prompts = fs
  .readFileSync(path.join(demo, 'prompts.jsonl'), 'utf8')
  .split('\n')
  .filter((line) => line)
  .map((line) => JSON.parse(line).prompt);

const files = [path.join(demo, 'evaluation.txt')];
if (shared_data)
  for (const name of ['tinystories_minigpt.656k-charset.txt', 'tinystories_minigpt.txt', 'cal_multilingual.utf8', 'cal_code.utf8', 'wiki.test.raw'])
    files.push(path.join(shared_data, 'text', name));

/// Two megabytes of everything.
const mixed = shared_data
  ? [['wiki.test.raw', 700000], ['cal_code.utf8', 500000], ['cal_multilingual.utf8', 293500], ['cal_c4.utf8', 300000], ['cal_technical.utf8', 250000]]
      .map(([name, size]) => fs.readFileSync(path.join(shared_data, 'text', name)).subarray(0, size).toString('utf8').replace(/\ufffd/g, ''))
      .join('')
  : '';

/// Random texts from parts that tokenizers treat specially; the same ones every time.
let seed = 12345;
const random = (n) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % n;
const from = (first, count) => () => String.fromCodePoint(first + random(count));
const one_of = (...texts) => () => texts[random(texts.length)];
const any_character = () => {
  for (;;) {
    const c = random(0x11000) * 16 + random(16);
    if (c < 0xd800 || (c > 0xdfff && c < 0x110000)) return String.fromCodePoint(c);
  }
};
const parts = [
  from(32, 95), one_of(' '), one_of('\n', '\r\n', '\t'), one_of('\u00a0', '\u3000', '\u2028', '\u200b', '\u200d', '\u180e', '\u0085', '\ufeff'),
  from(0x300, 112), from(0x600, 256), from(0x900, 0x400), from(0x1100, 256), from(0xac00, 11172), from(0x4e00, 20000), from(0x3040, 192), from(0x1f300, 800),
  one_of('👨‍👩‍👧‍👦', '🇩🇪🇫🇷', '👍🏽', '❤️', 'e\u0301', 'ﬁ', 'ﬀ\u0301', 'ǅ', 'ß', 'İ', 'ſ', 'K', '²', '½', 'Ⅷ', '①', '٣'), any_character, from(0xc0, 0x200), from(0x370, 0x190),
  one_of("'s", "'T", "'Re", "'ſ", "'LL", "don't", '3.14', '1234567', '__init__', '==', '<s>', '</s>', '<unk>', '<|endoftext|>', '<0x0A>', '▁', '▁▁a'),
  from(0x10d50, 3), from(0x1e4d0, 3), from(0x31350, 3), from(0x1cd00, 3), from(0x2000, 0x1000),
];
const hostile = Array.from({ length: 3000 }, () => {
  const chosen = Array.from({ length: 1 + random(4) }, () => parts[random(parts.length)]);
  return Array.from({ length: 1 + random(40) }, () => chosen[random(chosen.length)]() + (random(5) ? '' : parts[random(parts.length)]())).join('');
});

export { nasty, prompts, files, mixed, hostile };
