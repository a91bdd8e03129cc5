// SPDX-License-Identifier: GPL-3.0-or-later
// What the Hub's reader (@huggingface/gguf) sees in the GGUFs we write.
import { gguf, GGMLQuantizationType } from '@huggingface/gguf';
import { check, cli, expect, export_mixes, export_types, exported, finish } from './common.mjs';

for (const type of [...export_types, ...export_mixes])
  await check(`demo as ${type}: the Hub's reader lists the same tensors`, async () => {
    const file = exported(type);
    const { metadata, tensorInfos } = await gguf(file, { allowLocalFile: true });
    expect(metadata['general.architecture'] === 'llama', 'another architecture');
    expect(metadata['tokenizer.ggml.tokens'].length === 2048, 'another number of tokens');
    const types = new Map();
    let bytes = 0;
    for (const tensor of tensorInfos) {
      const name = GGMLQuantizationType[tensor.dtype].toLowerCase();
      types.set(name, (types.get(name) ?? 0) + 1);
      bytes += Number(tensor.shape.reduce((a, b) => a * b, 1n));
    }
    const info = cli('info', file);
    expect(tensorInfos.length === info.modules.length, `${tensorInfos.length} tensors, we list ${info.modules.length} modules`);
    expect(bytes === info.parameters, `${bytes} parameters, we count ${info.parameters}`);
    const want = new Set(info.modules.map((m) => m.dtype.toLowerCase()));
    for (const name of types.keys()) expect(want.has(name), `it sees ${name}, we say ${[...want]}`);
    const main = { mxfp4_moe: 'q8_0' }[type.toLowerCase()] ?? type.toLowerCase().replace(/_[sml]$/, '');
    expect(types.has(main), `no tensor is ${main}`);
    return [...types].map(([name, count]) => `${count} ${name}`).join(', ');
  });
await finish();
