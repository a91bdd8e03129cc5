// SPDX-License-Identifier: GPL-3.0-or-later
// The small models of tests/golden/arch, made from their descriptions.
import fs from 'node:fs';
import path from 'node:path';

const mask = (1n << 64n) - 1n;

/// The integers of tests/reference/arch_common.py: FNV-1a of the name, then splitmix64.
function* hashed_integers(name, count, most) {
  let state = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(name)) state = ((state ^ BigInt(byte)) * 0x100000001b3n) & mask;
  for (let i = 1n; i <= BigInt(count); ++i) {
    let z = (state + i * 0x9e3779b97f4a7c15n) & mask;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    z ^= z >> 31n;
    yield Number((z >> 32n) % BigInt(2 * most + 1)) - most;
  }
}

/// A byte-level tokenizer with as many tokens; llama.cpp wants one.
function tokenizer(size) {
  const vocab = {};
  for (let id = 0; id < size; ++id) vocab[id < 94 ? String.fromCharCode(33 + id) : `!${String.fromCharCode(33 + id - 94)}`] = id;
  return {
    version: '1.0',
    added_tokens: [],
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab, merges: [] },
  };
}

/// A folder with config.json, tokenizer and f32 weights.
export function make_model(description, folder) {
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ ...description.config, torch_dtype: 'float32' }));
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(tokenizer(description.vocab)));
  const header = {};
  const parts = [];
  let at = 0;
  for (const [pattern, shape, most, shift, centre] of description.tensors)
    for (let layer = 0; layer < (pattern.includes('*') ? description.layers : 1); ++layer) {
      const name = pattern.replace('*', layer);
      const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
      let i = 0;
      for (const n of hashed_integers(name, values.length, most)) values[i++] = centre + n * 2 ** -shift;
      header[name] = { dtype: 'F32', shape, data_offsets: [at, at + values.byteLength] };
      at += values.byteLength;
      parts.push(Buffer.from(values.buffer));
    }
  const json = Buffer.from(JSON.stringify(header).padEnd(Math.ceil(JSON.stringify(header).length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  fs.writeFileSync(path.join(folder, 'model.safetensors'), Buffer.concat([size, json, ...parts]));
}

export function log_softmax(logits) {
  const best = Math.max(...logits);
  const total = Math.log(logits.reduce((sum, value) => sum + Math.exp(value - best), 0));
  return logits.map((value) => value - best - total);
}
