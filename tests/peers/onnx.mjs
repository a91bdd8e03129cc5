// SPDX-License-Identifier: GPL-3.0-or-later
// ONNX exports of ours in ONNX Runtime: logits of every architecture against its independent
// reference and against our own engine, with and without a KV cache, quantized and not, and batches
// with padding on the left.
import fs from 'node:fs';
import path from 'node:path';
import ort from 'onnxruntime-node';
import { log_softmax, make_model } from './arch_models.mjs';
import { check, cli, demo, expect, finish, first_difference, root, scratch, shared_data } from './common.mjs';

const golden = path.join(root, 'tests', 'golden', 'arch');
/// Of a position's largest absolute logit.
const bar = 1e-4;

class Model {
  static async open(folder) {
    const model = new Model();
    const options = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 };
    model.session = await ort.InferenceSession.create(path.join(folder, 'model.onnx'), options);
    model.caches = model.session.inputMetadata.filter(({ name }) => name.startsWith('past_key_values.'));
    return model;
  }

  /// Rows of logits of every id; rows of a batch are of equal length, with `padding` tokens on the
  /// left of each that say nothing. `past` is what a call returned before.
  async run(batch, past = null, padding = batch.map(() => 0)) {
    const [count, length] = [batch.length, batch[0].length];
    const before = past?.length ?? 0;
    const padded = past?.padding ?? padding;
    const total = before + length;
    const whole = (values, dims) => new ort.Tensor('int64', BigInt64Array.from(values.flat().map(BigInt)), dims);
    const mask = padded.map((n) => Array.from({ length: total }, (_, i) => (i < n ? 0 : 1)));
    const positions = padded.map((n) => Array.from({ length }, (_, i) => Math.max(0, before + i - n)));
    const feeds = {
      input_ids: whole(batch, [count, length]),
      attention_mask: whole(mask, [count, total]),
      position_ids: whole(positions, [count, length]),
    };
    for (const { name, shape } of this.caches)
      feeds[name] = past
        ? past.values[name.replace('past_key_values', 'present')]
        : new ort.Tensor('float32', new Float32Array(0), [count, shape[1], 0, shape[3]]);
    const values = await this.session.run(feeds);
    const vocab = values.logits.dims[2];
    const row = (b, t) => values.logits.data.subarray((b * length + t) * vocab, (b * length + t + 1) * vocab);
    const logits = batch.map((_, b) => Array.from({ length }, (_, t) => row(b, t)));
    return { logits, past: { values, length: total, padding: padded } };
  }

  /// The same, with ids in pieces of these sizes.
  async run_in_pieces(ids, sizes) {
    const out = [];
    let past = null;
    let at = 0;
    for (const size of sizes) {
      const step = await this.run([ids.slice(at, at + size)], past);
      out.push(...step.logits[0]);
      past = step.past;
      at += size;
    }
    return out;
  }

  async greedy(prompt, count) {
    let { logits, past } = await this.run([prompt]);
    const out = [];
    while (out.length < count) {
      const last = logits[0].at(-1);
      out.push(last.indexOf(Math.max(...last)));
      ({ logits, past } = await this.run([[out.at(-1)]], past));
    }
    return out;
  }
}

/// Largest difference as a share of the position's largest absolute logit.
function worst_share(got, want) {
  expect(got.length === want.length, `${got.length} positions instead of ${want.length}`);
  let worst = 0;
  got.forEach((row, t) => {
    const largest = Math.max(...want[t].map(Math.abs));
    row.forEach((value, i) => {
      const off = Math.abs(value - want[t][i]) / largest;
      if (!(off <= worst)) worst = off;
    });
  });
  return worst;
}
const share = (value) => value.toExponential(1);

function exported(model, name, ...options) {
  const folder = path.join(scratch, 'onnx', name);
  cli('quantize', model, '--method', 'rtn', '--format', 'onnx', '--name', 'tiny', '-o', folder, ...options);
  const verified = cli('verify', folder, '--against', path.join(folder, '.bitlathe'));
  expect(verified.ok, 'verify does not accept it');
  return folder;
}

function golden_logits(name, description) {
  const bytes = fs.readFileSync(path.join(golden, `${name}.logits`));
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const rows = Array.from({ length: all.length / description.vocab }, (_, i) =>
    all.subarray(i * description.vocab, (i + 1) * description.vocab));
  const n = description.ids.length;
  const runs = Array.from({ length: rows.length / n }, (_, i) => rows.slice(i * n, (i + 1) * n));
  return { prompt: runs[0], pieces: runs[1] ?? runs[0], single: runs[2] ?? runs[0] };
}

const descriptions = fs.readdirSync(golden).filter((file) => file.endsWith('.json')).sort();
for (const file of descriptions) {
  const name = path.basename(file, '.json');
  await check(`${name} through ONNX: the logits of the reference in ONNX Runtime`, async () => {
    const description = JSON.parse(fs.readFileSync(path.join(golden, file), 'utf8'));
    const { ids, pieces } = description;
    make_model(description, path.join(scratch, name));
    const model = await Model.open(exported(path.join(scratch, name), name, '--scheme', 'f32'));
    const want = golden_logits(name, description);
    // Where long sequences have positions of their own, the reference runs what came before once more
    // when it grows into one. A graph cannot: its user does.
    const { rope_scaling, rope_parameters, original_max_position_embeddings } = description.config;
    const long = (rope_scaling ?? rope_parameters)?.long_factor;
    const most = long ? original_max_position_embeddings : ids.length;
    const parts = [];
    let until = 0;
    for (const size of pieces)
      if (until + size <= most) until += parts[parts.push(size) - 1];
      else break;
    const prompt = worst_share((await model.run([ids])).logits[0], want.prompt);
    const some = ids.slice(0, until);
    const in_pieces = worst_share(await model.run_in_pieces(some, parts), want.pieces.slice(0, until));
    const single = worst_share(await model.run_in_pieces(some, some.map(() => 1)), want.single.slice(0, until));
    const figures = `prompt ${share(prompt)}, pieces ${share(in_pieces)}, one by one ${share(single)}`;
    expect(prompt <= bar && in_pieces <= bar && single <= bar, figures);
    return `${figures} of the largest logit`;
  });
}

/// Rows of log-probabilities after every token but the last.
function ours(model, ids, vocab, ...options) {
  const file = path.join(scratch, 'ids.json');
  fs.writeFileSync(file, JSON.stringify(ids));
  const { steps } = cli('generate', model, '--ids', file, '--max-new', '1', '--logprobs', String(vocab), ...options);
  return steps.slice(1, ids.length).map((step) => {
    const row = new Array(vocab).fill(NaN);
    for (const { id, logprob } of step.top) row[id] = logprob;
    return row;
  });
}
function off_from_ours(logits, rows) {
  let worst = 0;
  rows.forEach((row, t) => {
    const theirs = log_softmax([...logits[t]]);
    const largest = Math.max(...logits[t].map(Math.abs));
    theirs.forEach((value, i) => {
      const off = Math.abs(value - row[i]) / largest;
      if (!(off <= worst)) worst = off;
    });
  });
  return worst;
}

const text = 'Once upon a time there was a little girl. She went to the';
const models = { demo };
if (shared_data)
  for (const name of ['tinystories-656k', 'stories260k-hf']) models[name] = path.join(shared_data, 'models', name);
for (const [name, source] of Object.entries(models))
  await check(`${name} in ONNX Runtime: logits and text of our engine`, async () => {
    const folder = exported(source, name, '--scheme', 'f32', '--kv', 'f32');
    const model = await Model.open(folder);
    const file = path.join(scratch, 'prompt.txt');
    fs.writeFileSync(file, text);
    const { ids } = cli('tokenize', source, '--text', file);
    const { logits } = await model.run([ids]);
    const rows = ours(path.join(folder, '.bitlathe'), ids, logits[0][0].length);
    const off = off_from_ours(logits[0], rows);
    const got = await model.greedy(ids, 40);
    const again = (await model.run([[...ids, ...got]])).logits[0].slice(ids.length - 1, -1).map((row) => row.indexOf(Math.max(...row)));
    fs.writeFileSync(file, JSON.stringify(ids));
    const want = cli('generate', path.join(folder, '.bitlathe'), '--ids', file, '--max-new', '40').tokens;
    expect(off <= bar, `${share(off)} of the largest logit`);
    expect(first_difference(got, again) === -1, 'with its cache it says something else than with the whole text');
    const until = first_difference(got.slice(0, want.length), want);
    expect(until === -1, `after ${until} tokens it differs from our engine`);
    return `${share(off)} of the largest logit, ${want.length} equal tokens`;
  });

await check('demo in ONNX Runtime with its weights in data files', async () => {
  const folder = exported(demo, 'data-files', '--scheme', 'bf16', '--kv', 'f32', '--shard-size', '3000000');
  const files = fs.readdirSync(folder).filter((name) => name.startsWith('model.onnx_data'));
  expect(files.length === 3, `there are ${files.length} data files`);
  const ids = Array.from({ length: 20 }, (_, i) => (i * 97) % 2048);
  const off = off_from_ours((await (await Model.open(folder)).run([ids])).logits[0], ours(path.join(folder, '.bitlathe'), ids, 2048));
  expect(off <= bar, `${share(off)} of the largest logit`);
  return `${share(off)} of the largest logit`;
});

const calibration = path.join(demo, 'calibration.txt');
/// scheme, activations, how close to our kernels; where inputs are coded, a value on the edge
/// between two codes may go the other way.
const quantized = [
  ['bf16', 'none', bar], ['f16', 'none', bar], ['int8-channel-sym', 'none', bar], ['int8-g32-asym', 'none', bar],
  ['int4-g128-asym', 'none', bar], ['int4-g32-sym', 'none', bar], ['int4-g48-asym', 'none', bar],
  ['int4-channel-sym', 'none', bar], ['int2-g64-asym', 'none', bar], ['ternary-g128', 'none', bar],
  ['nf4-b64-dq', 'none', bar], ['q4_0', 'none', bar], ['q8_0', 'none', bar], ['fp4-b512', 'none', bar],
  ['int8-channel-sym', 'int8-token-dynamic', 0.02], ['int8-channel-asym', 'int8-token-dynamic', 0.02],
  ['int8-channel-sym', 'int8-tensor-static', 0.02],
];
for (const [scheme, activations, limit] of quantized)
  await check(`demo as ${scheme}, activations ${activations}, in ONNX Runtime: our kernels' logits`, async () => {
    const calibrated = activations === 'int8-tensor-static' ? ['--calibration', calibration] : [];
    const folder = exported(demo, `${scheme}-${activations}`, '--scheme', scheme, '--activations', activations, '--kv', 'f32', ...calibrated);
    const model = await Model.open(folder);
    const file = path.join(scratch, 'prompt.txt');
    fs.writeFileSync(file, text);
    const { ids } = cli('tokenize', demo, '--text', file);
    const whole = (await model.run([ids])).logits[0];
    const rows = ours(path.join(folder, '.bitlathe'), ids, whole[0].length);
    const off = off_from_ours(whole, rows);
    const cached = off_from_ours(await model.run_in_pieces(ids, ids.map(() => 1)), rows);
    const figures = `prompt ${share(off)}, one by one ${share(cached)} of the largest logit`;
    expect(off <= limit && cached <= limit, figures);
    return figures;
  });

for (const name of ['llama-yarn', 'mistral-window', 'gpt2', 'gemma3'])
  await check(`${name} in ONNX Runtime: a batch with padding on the left`, async () => {
    const description = JSON.parse(fs.readFileSync(path.join(golden, `${name}.json`), 'utf8'));
    const model = await Model.open(path.join(scratch, 'onnx', name));
    const long = description.ids.slice(0, 20);
    const short = description.ids.slice(3, 16);
    const padding = long.length - short.length;
    const both = await model.run([long, [...new Array(padding).fill(7), ...short]], null, [0, padding]);
    const after = await model.run([[9], [11]], both.past);
    const want = await model.run([long]);
    const want_short = await model.run([short]);
    const off = Math.max(
      worst_share(both.logits[0], want.logits[0]),
      worst_share(both.logits[1].slice(padding), want_short.logits[0]),
      worst_share(after.logits[0], (await model.run([[9]], want.past)).logits[0]),
      worst_share(after.logits[1], (await model.run([[11]], want_short.past)).logits[0]),
    );
    expect(off <= 1e-5, `${share(off)} of the largest logit`);
    return `${share(off)} of the largest logit`;
  });
await finish();
