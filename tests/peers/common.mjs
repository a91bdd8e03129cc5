// SPDX-License-Identifier: GPL-3.0-or-later
// Our command line, llama.cpp, and how a check reports.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { getLlama } from 'node-llama-cpp';

export const root = process.env.BITLATHE_ROOT;
export const scratch = process.env.BITLATHE_SCRATCH;
export const demo = path.join(root, 'resources', 'demo');

/// Larger reference data that a checkout may have beside it.
const shared = process.env.BITLATHE_DATA ?? path.join(root, '..', 'shared', 'data');
export const shared_data = fs.existsSync(path.join(shared, 'README.md')) ? shared : null;

export function cli(...args) {
  const out = execFileSync(path.join(process.env.BITLATHE_BIN, 'bitlathe-cli'), [...args, '--json'], {
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(out);
}

let failures = 0;
export function report(ok, name, detail = '') {
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name}${detail ? `: ${detail}` : ''}`);
  failures += ok ? 0 : 1;
}

/// One check: what it returns is the detail to print; what it throws is the failure.
export async function check(name, body) {
  try {
    report(true, name, (await body()) ?? '');
  } catch (error) {
    const lines = String(error.stdout ?? '').trim() || error.message;
    report(false, name, lines.split('\n').slice(0, 6).join('\n       '));
  }
}

export function expect(condition, message) {
  if (!condition) throw new Error(message);
}

export async function finish() {
  if (llama) await (await llama).dispose();
  process.exit(failures ? 1 : 0);
}

let llama = null;
/// A model and one sequence of llama.cpp; one thread, because its threads spin.
export async function with_llama(file, context, body, more = {}) {
  llama ??= getLlama({ gpu: false, build: 'never', logLevel: 'error', progressLogs: false });
  const model = await (await llama).loadModel({ modelPath: file });
  try {
    const options = { contextSize: context, batchSize: context, threads: 1, flashAttention: false, ...more };
    const opened = await model.createContext(options);
    return await body(model, opened.getSequence());
  } finally {
    await model.dispose();
  }
}

export const export_types = ['f32', 'f16', 'bf16', 'q8_0', 'q4_1', 'q4_0'];
/// Mixes of many types, for which llama.cpp rounds activations to 8 bits.
export const export_mixes = ['Q5_K_M', 'Q4_K_M', 'IQ4_XS', 'IQ4_NL', 'Q3_K_L', 'Q2_K', 'MXFP4_MOE'];
/// The demo model (or `model`) as a GGUF of that type, written once by our command line.
export function exported(type, model = demo) {
  const folder = path.join(scratch, path.basename(model), type);
  const known = path.join(folder, 'path.txt');
  if (!fs.existsSync(known)) {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(path.dirname(folder), { recursive: true });
    const result = cli('quantize', model, '--scheme', type, '--method', 'rtn', '--format', 'gguf', '-o', folder);
    fs.writeFileSync(known, result.output);
  }
  return fs.readFileSync(known, 'utf8');
}

/// Index of the first difference of two lists; -1: none.
export function first_difference(a, b) {
  const n = Math.max(a.length, b.length);
  for (let i = 0; i < n; ++i) if (a[i] !== b[i]) return i;
  return -1;
}
