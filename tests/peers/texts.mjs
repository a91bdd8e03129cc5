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

export { nasty, prompts, files };
