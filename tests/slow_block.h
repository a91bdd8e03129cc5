// SPDX-License-Identifier: GPL-3.0-or-later
// One decoder block in f64, written down plainly from the equations, and gradients of a weighted
// sum of its outputs by central differences. Nothing of the project's arithmetic is used.
#pragma once

#include "core/train/block.h"

#include <cmath>
#include <functional>

namespace bitlathe::test {

class SlowBlock {
 public:
  using Row = std::vector<double>;
  using Rows = std::vector<Row>;
  struct Values {
    std::int64_t rows, cols;
    Row weight, bias;
  };

  SlowBlock(const ModelSpec& spec, int layer, const BlockParameters& from)
      : s(spec), window(spec.windows.empty() ? 0 : spec.windows[std::size_t(layer)]) {
    for (const auto& [part, p] : from)
      values[part] = {p.rows, p.cols, Row(p.weight.begin(), p.weight.end()),
                      Row(p.bias.begin(), p.bias.end())};
  }

  std::map<std::string, Values> values;

  Rows run(const Rows& x) const {
    const std::size_t n = x.size();
    const Rows h = norm("attention_norm", x);
    Rows q, k, v;
    const auto dim = std::size_t(s.head_dim);
    const std::size_t heads = std::size_t(s.heads), kv_heads = std::size_t(s.kv_heads);
    if (has("qkv")) {
      for (const Row& row : linear("qkv", h)) {
        Row a, b, c;
        if (s.fused_qkv == "per_head")
          for (std::size_t head = 0; head < heads; ++head) {
            const auto at = row.begin() + std::ptrdiff_t(head * 3 * dim);
            a.insert(a.end(), at, at + std::ptrdiff_t(dim));
            b.insert(b.end(), at + std::ptrdiff_t(dim), at + std::ptrdiff_t(2 * dim));
            c.insert(c.end(), at + std::ptrdiff_t(2 * dim), at + std::ptrdiff_t(3 * dim));
          }
        else {
          const auto middle = row.begin() + std::ptrdiff_t(heads * dim);
          const auto last = middle + std::ptrdiff_t(kv_heads * dim);
          a.assign(row.begin(), middle);
          b.assign(middle, last);
          c.assign(last, row.end());
        }
        q.push_back(a);
        k.push_back(b);
        v.push_back(c);
      }
    } else {
      q = linear("q", h);
      k = linear("k", h);
      v = linear("v", h);
    }
    q = head_norm("q_norm", q);
    k = head_norm("k_norm", k);
    turn(q);
    turn(k);
    Rows mixed(n, Row(heads * dim));
    const double scale =
        s.attention_scale > 0 ? double(s.attention_scale) : 1 / std::sqrt(double(dim));
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t head = 0; head < heads; ++head) {
        const std::size_t source = head / (heads / kv_heads);
        Row share(t + 1);
        double total = 0;
        for (std::size_t u = 0; u <= t; ++u) {
          if (window > 0 && std::int64_t(t - u) >= window)
            continue;
          double dot = 0;
          for (std::size_t i = 0; i < dim; ++i)
            dot += q[t][head * dim + i] * k[u][source * dim + i];
          dot *= scale;
          if (s.attention_softcap > 0)
            dot = double(s.attention_softcap) * std::tanh(dot / double(s.attention_softcap));
          total += share[u] = std::exp(dot);
        }
        for (std::size_t u = 0; u <= t; ++u)
          for (std::size_t i = 0; i < dim; ++i)
            mixed[t][head * dim + i] += share[u] / total * v[u][source * dim + i];
      }
    const Rows attention = norm_if("post_attention_norm", linear("o", mixed));
    const Rows middle = s.parallel_residual ? x : sum(x, attention);
    const Rows into = has("mlp_norm") ? norm("mlp_norm", middle) : h;
    Rows up, gate;
    const auto ffn = std::ptrdiff_t(s.ffn);
    if (has("gate_up")) {
      for (const Row& row : linear("gate_up", into)) {
        gate.emplace_back(row.begin(), row.begin() + ffn);
        up.emplace_back(row.begin() + ffn, row.end());
      }
    } else {
      up = linear("up", into);
      if (has("gate"))
        gate = linear("gate", into);
    }
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t i = 0; i < up[t].size(); ++i)
        up[t][i] = gate.empty() ? activate(up[t][i]) : activate(gate[t][i]) * up[t][i];
    const Rows out = sum(middle, norm_if("post_mlp_norm", linear("down", up)));
    return s.parallel_residual ? sum(out, attention) : out;
  }

 private:
  bool has(const std::string& part) const { return values.count(part) > 0; }

  static Rows sum(Rows a, const Rows& b) {
    for (std::size_t t = 0; t < a.size(); ++t)
      for (std::size_t i = 0; i < a[t].size(); ++i)
        a[t][i] += b[t][i];
    return a;
  }

  Rows linear(const std::string& part, const Rows& x) const {
    const Values& w = values.at(part);
    Rows y(x.size(), Row(std::size_t(w.rows)));
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t r = 0; r < y[t].size(); ++r) {
        y[t][r] = w.bias.empty() ? 0.0 : w.bias[r];
        for (std::size_t i = 0; i < x[t].size(); ++i)
          y[t][r] += w.weight[r * x[t].size() + i] * x[t][i];
      }
    return y;
  }

  void normalize(const Values& w, double* x) const {
    const auto n = w.weight.size();
    double mean = 0, square = 0;
    if (s.norm == "layer")
      for (std::size_t i = 0; i < n; ++i)
        mean += x[i] / double(n);
    for (std::size_t i = 0; i < n; ++i)
      square += (x[i] - mean) * (x[i] - mean) / double(n);
    for (std::size_t i = 0; i < n; ++i)
      x[i] = (x[i] - mean) / std::sqrt(square + double(s.norm_eps)) * w.weight[i] +
             (w.bias.empty() ? 0.0 : w.bias[i]);
  }
  Rows head_norm(const std::string& part, Rows x) const {
    if (has(part))
      for (Row& row : x)
        for (std::size_t at = 0; at < row.size(); at += values.at(part).weight.size())
          normalize(values.at(part), row.data() + at);
    return x;
  }
  Rows norm(const std::string& part, Rows x) const { return head_norm(part, std::move(x)); }
  Rows norm_if(const std::string& part, Rows x) const { return head_norm(part, std::move(x)); }

  void turn(Rows& x) const {
    const RopeSpec& rope = window > 0 && s.local_rope.dims > 0 ? s.local_rope : s.rope;
    const auto half = std::size_t(rope.dims / 2), dim = std::size_t(s.head_dim);
    const bool beyond = rope.original_context > 0 && std::int64_t(x.size()) > rope.original_context;
    double theta = double(rope.theta);
    if (beyond && rope.dynamic_factor > 0) {
      const double f = double(rope.dynamic_factor), d = double(rope.dims);
      theta *=
          std::pow(f * double(x.size()) / double(rope.original_context) - (f - 1), d / (d - 2));
    }
    const auto& factors = beyond && !rope.long_factors.empty() ? rope.long_factors : rope.factors;
    for (std::size_t t = 0; t < x.size(); ++t)
      for (std::size_t h = 0; h < x[t].size() / dim; ++h)
        for (std::size_t i = 0; i < half; ++i) {
          double angle = double(t) * std::pow(theta, -2.0 * double(i) / double(rope.dims));
          if (!factors.empty())
            angle /= double(factors[i]);
          const double c = std::cos(angle) * double(rope.attention_factor);
          const double sine = std::sin(angle) * double(rope.attention_factor);
          double &a = x[t][h * dim + i], &b = x[t][h * dim + i + half];
          const double p = a, r = b;
          a = p * c - r * sine;
          b = r * c + p * sine;
        }
  }

  double activate(double x) const {
    if (s.activation == "silu")
      return x / (1 + std::exp(-x));
    if (s.activation == "gelu")
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    if (s.activation == "gelu_tanh")
      return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    if (s.activation == "gelu_quick")
      return x / (1 + std::exp(-1.702 * x));
    return x > 0 ? x : 0;
  }

  const ModelSpec& s;
  std::int64_t window;
};

template <class T>
std::vector<SlowBlock::Rows> cut(const std::vector<T>& x, const std::vector<std::int64_t>& lengths,
                                 std::int64_t width) {
  std::vector<SlowBlock::Rows> out;
  auto at = x.begin();
  for (const std::int64_t length : lengths) {
    auto& sequence = out.emplace_back();
    for (std::int64_t t = 0; t < length; ++t, at += width)
      sequence.emplace_back(at, at + width);
  }
  return out;
}

inline std::vector<double> slow_block(const ModelSpec& spec, int layer,
                                      const BlockParameters& parameters,
                                      const std::vector<float>& x,
                                      const std::vector<std::int64_t>& lengths) {
  const SlowBlock block(spec, layer, parameters);
  std::vector<double> out;
  for (const auto& sequence : cut(x, lengths, spec.hidden))
    for (const auto& row : block.run(sequence))
      out.insert(out.end(), row.begin(), row.end());
  return out;
}

/// Slopes of the sum of weights * out.
class SlowGradients {
 public:
  SlowGradients(const ModelSpec& spec, int layer, const BlockParameters& parameters,
                const std::vector<float>& x, const std::vector<std::int64_t>& lengths,
                const std::vector<float>& weights)
      : block_(spec, layer, parameters), x_(cut(x, lengths, spec.hidden)),
        weights_(cut(weights, lengths, spec.hidden)) {}

  std::vector<double> of_x() {
    std::vector<double> out;
    for (std::size_t i = 0; i < x_.size(); ++i)
      for (auto& row : x_[i])
        for (double& value : row)
          out.push_back(difference(value, [&] { return loss(i); }));
    return out;
  }
  double of_weight(const std::string& part, std::size_t index) {
    return difference(block_.values.at(part).weight[index], [&] { return loss(); });
  }
  std::vector<double> of_weight(const std::string& part) {
    return each(block_.values.at(part).weight);
  }
  std::vector<double> of_bias(const std::string& part) { return each(block_.values.at(part).bias); }

 private:
  std::vector<double> each(std::vector<double>& values) {
    std::vector<double> out;
    for (double& value : values)
      out.push_back(difference(value, [&] { return loss(); }));
    return out;
  }
  static double difference(double& value, const std::function<double()>& loss) {
    constexpr double step = 1e-5;
    const double kept = value;
    value = kept + step;
    const double above = loss();
    value = kept - step;
    const double below = loss();
    value = kept;
    return (above - below) / (2 * step);
  }
  double loss(std::size_t sequence) const {
    double total = 0;
    const auto out = block_.run(x_[sequence]);
    for (std::size_t t = 0; t < out.size(); ++t)
      for (std::size_t i = 0; i < out[t].size(); ++i)
        total += out[t][i] * weights_[sequence][t][i];
    return total;
  }
  double loss() const {
    double total = 0;
    for (std::size_t i = 0; i < x_.size(); ++i)
      total += loss(i);
    return total;
  }

  SlowBlock block_;
  std::vector<SlowBlock::Rows> x_, weights_;
};

/// The residual stream that enters the first block, as f32.
inline std::vector<float> embedded(const Checkpoint& checkpoint,
                                   const std::vector<std::int32_t>& ids) {
  const ModelSpec& spec = *checkpoint.spec;
  const Module *table = checkpoint.find_part(-1, "embedding"),
               *positions = checkpoint.find_part(-1, "positions");
  std::vector<float> out(ids.size() * std::size_t(spec.hidden)), row(std::size_t(spec.hidden));
  for (std::size_t t = 0; t < ids.size(); ++t) {
    float* to = out.data() + std::int64_t(t) * spec.hidden;
    MatrixView view = table->weight.view();
    view.layout->decode(view, ids[t], 0, spec.hidden, to);
    for (std::int64_t i = 0; i < spec.hidden; ++i)
      to[i] *= spec.embedding_scale;
    if (!positions)
      continue;
    view = positions->weight.view();
    view.layout->decode(view, std::int64_t(t), 0, spec.hidden, row.data());
    for (std::int64_t i = 0; i < spec.hidden; ++i)
      to[i] += row[std::size_t(i)];
  }
  return out;
}

} // namespace bitlathe::test
