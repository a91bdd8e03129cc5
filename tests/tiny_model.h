// SPDX-License-Identifier: GPL-3.0-or-later
// A small llama with random weights, made in memory, and its forward pass written out slowly in
// f64: the oracle for everything the reference models on disk do not have.
#pragma once

#include "core/engine/engine.h"
#include "tests/support.h"

#include <map>

namespace bitlathe::test {

struct TinyOptions {
  std::int64_t layers = 2, hidden = 24, ffn = 40, heads = 4, kv_heads = 2, head_dim = 10,
               vocab = 50;
  bool bias = false, tied = false;
  std::vector<float> rope_factors;
  float theta = 500.0f, eps = 1e-5f;
  std::string scheme; ///< of the linears inside blocks; empty: f32
};

inline QTensor f32_tensor(const std::vector<float>& values, std::int64_t rows) {
  QTensor out;
  out.scheme = float_scheme(FloatType::f32);
  out.rows = rows;
  out.cols = std::int64_t(values.size()) / rows;
  out.owned_codes.resize(values.size() * 4);
  for (std::size_t i = 0; i < values.size(); ++i)
    store_float(FloatType::f32, out.owned_codes.data(), std::int64_t(i), values[i]);
  out.own();
  return out;
}

inline std::vector<float> decode_all(const QTensor& tensor) {
  std::vector<float> out(std::size_t(tensor.rows * tensor.cols));
  const MatrixView view = tensor.view();
  for (std::int64_t row = 0; row < tensor.rows; ++row)
    view.layout->decode(view, row, 0, view.cols, out.data() + row * view.cols);
  return out;
}

/// Codes of an int scheme by the definition, group by group.
inline QTensor int_tensor(const std::vector<float>& values, std::int64_t rows,
                          const std::string& scheme_id) {
  QTensor out;
  out.scheme = *parse_scheme(scheme_id);
  out.rows = rows;
  out.cols = std::int64_t(values.size()) / rows;
  const auto bytes = out.scheme.family->bytes(out.scheme, rows, out.cols);
  out.owned_codes.resize(bytes.codes);
  out.owned_scales.resize(bytes.scales);
  out.owned_zeros.resize(bytes.zeros);
  const int bits = int(out.scheme.bits);
  const std::int64_t group = out.scheme.group > 0 ? out.scheme.group : out.cols;
  const std::int64_t groups = (out.cols + group - 1) / group;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t begin = g * group, end = std::min(out.cols, begin + group);
      float lo = 0, hi = 0;
      for (std::int64_t c = begin; c < end; ++c) {
        lo = std::min(lo, values[std::size_t(r * out.cols + c)]);
        hi = std::max(hi, values[std::size_t(r * out.cols + c)]);
      }
      const IntGrid grid = make_int_grid(lo, hi, bits, out.scheme.symmetric, FloatType::f16);
      store_float(FloatType::f16, out.owned_scales.data(), r * groups + g, grid.scale);
      if (!out.owned_zeros.empty())
        out.owned_zeros[std::size_t(r * groups + g)] = std::byte(grid.zero);
      for (std::int64_t c = begin; c < end; ++c) {
        const unsigned u = encode_int(values[std::size_t(r * out.cols + c)], grid, bits);
        for (int b = 0; b < bits; ++b) {
          const auto bit = std::size_t(r * int_row_bytes(out.cols, bits) * 8 + c * bits + b);
          out.owned_codes[bit / 8] |= std::byte((u >> unsigned(b) & 1u) << (bit % 8));
        }
      }
    }
  out.own();
  return out;
}

inline std::shared_ptr<Checkpoint> tiny_checkpoint(const TinyOptions& o = {}) {
  auto out = std::make_shared<Checkpoint>();
  out->path = "tiny";
  out->name = "tiny";
  out->format = "safetensors";
  out->architecture = "llama";
  ModelSpec spec;
  spec.layers = o.layers;
  spec.hidden = o.hidden;
  spec.ffn = o.ffn;
  spec.heads = o.heads;
  spec.kv_heads = o.kv_heads;
  spec.head_dim = o.head_dim;
  spec.vocab = o.vocab;
  spec.context = 64;
  spec.norm_eps = o.eps;
  spec.rope.dims = o.head_dim;
  spec.rope.theta = o.theta;
  spec.rope.factors = o.rope_factors;
  spec.tied_head = o.tied;
  spec.attention_bias = spec.mlp_bias = o.bias;
  out->spec = spec;
  std::uint32_t seed = 1;
  const auto add = [&](const std::string& name, const char* role, int layer, std::int64_t rows,
                       std::int64_t cols) {
    Module m;
    m.name = name;
    m.role = role;
    for (const ModuleName& known : find_arch("llama")->modules(spec))
      if (known.name == name)
        m.part = known.part;
    m.layer = layer;
    const bool norm = std::string_view(role) == "norm";
    const bool block = !norm && layer >= 0;
    auto values =
        normal_noise(std::size_t(rows * cols), ++seed, norm ? 0.2f : 1.0f / std::sqrt(float(cols)));
    if (norm)
      for (auto& v : values)
        v += 1.0f;
    m.weight =
        block && !o.scheme.empty() ? int_tensor(values, rows, o.scheme) : f32_tensor(values, rows);
    m.linear = block || std::string_view(role) == "lm_head";
    m.shape = norm ? std::vector<std::int64_t>{cols} : std::vector<std::int64_t>{rows, cols};
    if (block && o.bias)
      m.bias = f32_tensor(normal_noise(std::size_t(rows), ++seed, 0.3f), 1);
    out->modules.push_back(std::move(m));
  };
  add("model.embed_tokens", "embedding", -1, o.vocab, o.hidden);
  const std::int64_t q = o.heads * o.head_dim, kv = o.kv_heads * o.head_dim;
  for (int i = 0; i < int(o.layers); ++i) {
    const std::string p = "model.layers." + std::to_string(i) + ".";
    add(p + "input_layernorm", "norm", i, 1, o.hidden);
    add(p + "self_attn.q_proj", "q_proj", i, q, o.hidden);
    add(p + "self_attn.k_proj", "k_proj", i, kv, o.hidden);
    add(p + "self_attn.v_proj", "v_proj", i, kv, o.hidden);
    add(p + "self_attn.o_proj", "o_proj", i, o.hidden, q);
    add(p + "post_attention_layernorm", "norm", i, 1, o.hidden);
    add(p + "mlp.gate_proj", "gate_proj", i, o.ffn, o.hidden);
    add(p + "mlp.up_proj", "up_proj", i, o.ffn, o.hidden);
    add(p + "mlp.down_proj", "down_proj", i, o.hidden, o.ffn);
  }
  add("model.norm", "norm", -1, 1, o.hidden);
  if (!o.tied)
    add("lm_head", "lm_head", -1, o.vocab, o.hidden);
  return out;
}

/// Logits of every position, f64 throughout; `input(name)` sees the inputs of every linear.
inline std::vector<std::vector<double>>
slow_logits(const Checkpoint& checkpoint, const std::vector<std::int32_t>& ids,
            std::map<std::string, std::vector<std::vector<double>>>* inputs = nullptr) {
  using Row = std::vector<double>;
  const ModelSpec& s = *checkpoint.spec;
  const auto vec = [&](const std::string& name) {
    return decode_all(checkpoint.find_module(name)->weight);
  };
  const auto linear = [&](const std::string& name, const std::vector<Row>& x) {
    const Module& m = *checkpoint.find_module(name);
    const auto w = decode_all(m.weight);
    const auto bias = m.bias.rows > 0 ? decode_all(m.bias) : std::vector<float>();
    if (inputs)
      for (const Row& row : x)
        (*inputs)[name].push_back(row);
    std::vector<Row> y(x.size(), Row(std::size_t(m.weight.rows)));
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t r = 0; r < y[t].size(); ++r) {
        y[t][r] = bias.empty() ? 0.0 : double(bias[r]);
        for (std::size_t c = 0; c < x[t].size(); ++c)
          y[t][r] += double(w[r * x[t].size() + c]) * x[t][c];
      }
    return y;
  };
  const auto norm = [&](const std::string& name, const std::vector<Row>& x) {
    const auto w = vec(name);
    auto y = x;
    for (Row& row : y) {
      double square = 0;
      for (const double v : row)
        square += v * v;
      const double f = 1 / std::sqrt(square / double(row.size()) + double(s.norm_eps));
      for (std::size_t i = 0; i < row.size(); ++i)
        row[i] *= f * double(w[i]);
    }
    return y;
  };
  const auto half = std::size_t(s.head_dim / 2), dim = std::size_t(s.head_dim);
  const auto rope = [&](std::vector<Row>& x) {
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t h = 0; h < x[t].size() / dim; ++h)
        for (std::size_t i = 0; i < half; ++i) {
          double f = std::pow(double(s.rope.theta), -2.0 * double(i) / double(dim));
          if (!s.rope.factors.empty())
            f /= double(s.rope.factors[i]);
          double &a = x[t][h * dim + i], &b = x[t][h * dim + i + half];
          const double p = a, q = b, angle = double(t) * f;
          a = p * std::cos(angle) - q * std::sin(angle);
          b = q * std::cos(angle) + p * std::sin(angle);
        }
  };
  const auto table = vec("model.embed_tokens");
  std::vector<Row> x;
  for (const auto id : ids)
    x.emplace_back(table.begin() + id * s.hidden, table.begin() + (id + 1) * s.hidden);
  const auto residual = [&](const std::vector<Row>& y) {
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t i = 0; i < x[t].size(); ++i)
        x[t][i] += y[t][i];
  };
  for (std::int64_t layer = 0; layer < s.layers; ++layer) {
    const std::string p = "model.layers." + std::to_string(layer) + ".";
    auto h = norm(p + "input_layernorm", x);
    auto q = linear(p + "self_attn.q_proj", h), k = linear(p + "self_attn.k_proj", h);
    const auto v = linear(p + "self_attn.v_proj", h);
    rope(q);
    rope(k);
    std::vector<Row> mixed(x.size(), Row(std::size_t(s.heads) * dim));
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t head = 0; head < std::size_t(s.heads); ++head) {
        const std::size_t source = head / std::size_t(s.heads / s.kv_heads);
        Row weight;
        double total = 0;
        for (std::size_t u = 0; u <= t; ++u) {
          double dot = 0;
          for (std::size_t i = 0; i < dim; ++i)
            dot += q[t][head * dim + i] * k[u][source * dim + i];
          weight.push_back(std::exp(dot / std::sqrt(double(dim))));
          total += weight.back();
        }
        for (std::size_t u = 0; u <= t; ++u)
          for (std::size_t i = 0; i < dim; ++i)
            mixed[t][head * dim + i] += weight[u] / total * v[u][source * dim + i];
      }
    residual(linear(p + "self_attn.o_proj", mixed));
    h = norm(p + "post_attention_layernorm", x);
    auto gate = linear(p + "mlp.gate_proj", h);
    const auto up = linear(p + "mlp.up_proj", h);
    for (std::size_t t = 0; t < gate.size(); ++t)
      for (std::size_t i = 0; i < gate[t].size(); ++i)
        gate[t][i] = gate[t][i] / (1 + std::exp(-gate[t][i])) * up[t][i];
    residual(linear(p + "mlp.down_proj", gate));
  }
  return linear(s.tied_head ? "model.embed_tokens" : "lm_head", norm("model.norm", x));
}

} // namespace bitlathe::test
