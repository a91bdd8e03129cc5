// SPDX-License-Identifier: Apache-2.0
#include "core/train/block.h"

#include "kernels/base/parallel.h"
#include "kernels/nn/nn.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

namespace bitlathe {

namespace {

using Values = std::vector<float>;

/// Columns [from, from + cols) of the rows of a wider matrix, taken out or put in.
void take(const Values& wide, std::int64_t stride, std::int64_t from, std::int64_t cols,
          std::int64_t tokens, Values& out) {
  out.resize(std::size_t(tokens * cols));
  for (std::int64_t t = 0; t < tokens; ++t)
    std::copy_n(wide.data() + t * stride + from, cols, out.data() + t * cols);
}
void put(const Values& in, std::int64_t stride, std::int64_t from, std::int64_t cols,
         std::int64_t tokens, Values& wide) {
  wide.resize(std::size_t(tokens * stride));
  for (std::int64_t t = 0; t < tokens; ++t)
    std::copy_n(in.data() + t * cols, cols, wide.data() + t * stride + from);
}

/// Where q, k and v stand in a row of a joined product: pieces of `width` values from `first`,
/// `step` apart.
struct Piece {
  std::int64_t first, step, count, width;
};

std::array<Piece, 3> pieces_of(const ModelSpec& spec) {
  const std::int64_t dim = spec.head_dim, q = spec.heads * dim, kv = spec.kv_heads * dim;
  if (spec.fused_qkv == "per_head")
    return {Piece{0, 3 * dim, spec.heads, dim}, Piece{dim, 3 * dim, spec.heads, dim},
            Piece{2 * dim, 3 * dim, spec.heads, dim}};
  return {Piece{0, q, 1, q}, Piece{q, kv, 1, kv}, Piece{q + kv, kv, 1, kv}};
}

/// The same for a joined product, in place of take() and put().
void split(const ModelSpec& spec, const Values& wide, std::int64_t tokens,
           const std::array<Values*, 3>& parts) {
  const auto pieces = pieces_of(spec);
  const std::int64_t stride = (spec.heads + 2 * spec.kv_heads) * spec.head_dim;
  for (std::size_t i = 0; i < 3; ++i) {
    const Piece& p = pieces[i];
    parts[i]->resize(std::size_t(tokens * p.count * p.width));
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t j = 0; j < p.count; ++j)
        std::copy_n(wide.data() + t * stride + p.first + j * p.step, p.width,
                    parts[i]->data() + (t * p.count + j) * p.width);
  }
}
void join(const ModelSpec& spec, const std::array<const Values*, 3>& parts, std::int64_t tokens,
          Values& wide) {
  const auto pieces = pieces_of(spec);
  const std::int64_t stride = (spec.heads + 2 * spec.kv_heads) * spec.head_dim;
  wide.resize(std::size_t(tokens * stride));
  for (std::size_t i = 0; i < 3; ++i) {
    const Piece& p = pieces[i];
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t j = 0; j < p.count; ++j)
        std::copy_n(parts[i]->data() + (t * p.count + j) * p.width, p.width,
                    wide.data() + t * stride + p.first + j * p.step);
  }
}

void add_to(const Values& a, Values& to) {
  add(a.data(), to.data(), std::int64_t(to.size()), to.data());
}

bool any_of(const BlockParameters& wanted, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) {
    const auto it = wanted.find(part);
    return it != wanted.end() && !(it->second.weight.empty() && it->second.bias.empty());
  });
}

} // namespace

Result<DecoderBlock> DecoderBlock::create(const ModelSpec& spec, int layer,
                                          BlockParameters parameters, Compute* compute) {
  const std::string where = "layer " + std::to_string(layer);
  const auto fault = [&](const std::string& what) { return Error{"bad-file", what, where}; };
  const std::int64_t q = spec.heads * spec.head_dim, kv = spec.kv_heads * spec.head_dim;
  if (layer < 0 || layer >= spec.layers || spec.heads < 1 || spec.kv_heads < 1 ||
      spec.heads % spec.kv_heads != 0 || spec.head_dim < 1 || spec.rope.dims > spec.head_dim ||
      spec.local_rope.dims > spec.head_dim ||
      (spec.fused_qkv == "per_head" && spec.heads != spec.kv_heads) ||
      (!spec.windows.empty() && std::int64_t(spec.windows.size()) != spec.layers) ||
      (spec.norm != "rms" && spec.norm != "layer") || !find_activation_kind(spec.activation))
    return fault("The configuration does not describe a block that can be trained");
  struct Shape {
    std::string_view part;
    std::int64_t rows, cols;
    bool required;
  };
  const bool fused = !spec.fused_qkv.empty(), joined = parameters.count("gate_up") > 0;
  const Shape shapes[] = {{"attention_norm", 1, spec.hidden, true},
                          {"qkv", q + 2 * kv, spec.hidden, fused},
                          {"q", q, spec.hidden, !fused},
                          {"k", kv, spec.hidden, !fused},
                          {"v", kv, spec.hidden, !fused},
                          {"o", spec.hidden, q, true},
                          {"post_attention_norm", 1, spec.hidden, false},
                          {"mlp_norm", 1, spec.hidden, !spec.parallel_residual},
                          {"gate_up", 2 * spec.ffn, spec.hidden, false},
                          {"gate", spec.ffn, spec.hidden, false},
                          {"up", spec.ffn, spec.hidden, !joined},
                          {"down", spec.hidden, spec.ffn, true},
                          {"post_mlp_norm", 1, spec.hidden, false}};
  const auto wrong_size = [](const Parameter& p) {
    return std::int64_t(p.weight.size()) != p.rows * p.cols ||
           (!p.bias.empty() && std::int64_t(p.bias.size()) != (p.rows == 1 ? p.cols : p.rows));
  };
  for (const Shape& shape : shapes) {
    const auto it = parameters.find(shape.part);
    if (it == parameters.end()) {
      if (shape.required)
        return fault("There is no weight for the part " + std::string(shape.part));
      continue;
    }
    const Parameter& p = it->second;
    const bool is_norm = shape.rows == 1 && shape.part.size() > 5 &&
                         shape.part.substr(shape.part.size() - 5) == "_norm";
    if (p.rows != shape.rows || p.cols != shape.cols ||
        std::int64_t(p.weight.size()) != p.rows * p.cols ||
        (!p.bias.empty() && std::int64_t(p.bias.size()) != (is_norm ? p.cols : p.rows)))
      return fault("The part " + std::string(shape.part) + " has the shape " +
                   std::to_string(p.rows) + " x " + std::to_string(p.cols) +
                   " where the configuration needs " + std::to_string(shape.rows) + " x " +
                   std::to_string(shape.cols));
  }
  for (const auto& [part, heads] : {std::pair("q_norm", spec.heads), {"k_norm", spec.kv_heads}})
    if (const auto it = parameters.find(part); it != parameters.end())
      if (wrong_size(it->second) || it->second.rows != 1 ||
          (it->second.cols != spec.head_dim && it->second.cols != heads * spec.head_dim))
        return fault("The part " + std::string(part) + " has the wrong length");
  return DecoderBlock(spec, layer, std::move(parameters), compute);
}

DecoderBlock::DecoderBlock(const ModelSpec& spec, int layer, BlockParameters parameters,
                           Compute* compute)
    : spec_(&spec), window_(spec.windows.empty() ? 0 : spec.windows[std::size_t(layer)]),
      activation_(find_activation_kind(spec.activation)), parameters_(std::move(parameters)),
      rotation_(window_ > 0 && spec.local_rope.dims > 0 ? spec.local_rope : spec.rope),
      rotation_back_(window_ > 0 && spec.local_rope.dims > 0 ? spec.local_rope : spec.rope, true),
      products_(compute) {}

const Parameter* DecoderBlock::find(std::string_view part) const {
  const auto it = parameters_.find(part);
  return it == parameters_.end() ? nullptr : &it->second;
}

const Values& DecoderBlock::input_of(const BlockTape& tape, std::string_view part) {
  return part == "o"                                           ? tape.mixed
         : part == "down"                                      ? tape.activated
         : part == "gate" || part == "up" || part == "gate_up" ? tape.mlp_h
                                                               : tape.h;
}

AttentionShape DecoderBlock::attention_shape() const {
  const ModelSpec& s = *spec_;
  return {s.heads,
          s.kv_heads,
          s.head_dim,
          window_,
          s.attention_scale > 0 ? s.attention_scale : 1.0f / std::sqrt(float(s.head_dim)),
          s.attention_softcap};
}

Result<void> DecoderBlock::linear(std::string_view part, const Values& x, std::int64_t tokens,
                                  Values& y, const Feedback* feedback) {
  const Parameter& w = *find(part);
  y.resize(std::size_t(tokens * w.rows));
  TRY(products_.forward(x.data(), tokens, w.weight.data(), w.rows, w.cols, y.data(), feedback));
  if (!w.bias.empty())
    add_bias(y.data(), w.bias.data(), tokens, w.rows);
  return {};
}

Result<void> DecoderBlock::linear_back(std::string_view part, const Values& x, const Values& dy,
                                       std::int64_t tokens, BlockParameters& gradients, Values* dx,
                                       bool add, const Feedback* feedback) {
  const Parameter& w = *find(part);
  if (const auto it = gradients.find(part); it != gradients.end()) {
    Parameter& slope = it->second;
    if (!slope.weight.empty())
      TRY(products_.to_weight(dy.data(), x.data(), tokens, w.rows, w.cols, slope.weight.data(),
                              feedback));
    if (!slope.bias.empty())
      add_column_sums(dy.data(), tokens, w.rows, slope.bias.data());
  }
  if (!dx)
    return {};
  dx->resize(std::size_t(tokens * w.cols));
  return products_.to_input(dy.data(), tokens, w.weight.data(), w.rows, w.cols, dx->data(), add,
                            feedback);
}

/// False when there is no such norm.
bool DecoderBlock::norm(std::string_view part, const Values& x, Values& y) const {
  const Parameter* p = find(part);
  if (!p)
    return false;
  y.resize(x.size());
  const std::int64_t tokens = std::int64_t(x.size()) / p->cols;
  if (spec_->norm == "layer")
    layer_norm(x.data(), p->weight.data(), p->bias.empty() ? nullptr : p->bias.data(), tokens,
               p->cols, spec_->norm_eps, y.data());
  else
    rms_norm(x.data(), p->weight.data(), tokens, p->cols, spec_->norm_eps, y.data());
  return true;
}

bool DecoderBlock::norm_back(std::string_view part, const Values& x, const Values& dy,
                             BlockParameters& gradients, Values& dx) const {
  const Parameter* p = find(part);
  if (!p)
    return false;
  dx.resize(x.size());
  const std::int64_t tokens = std::int64_t(x.size()) / p->cols;
  const auto it = gradients.find(part);
  float* dweight =
      it == gradients.end() || it->second.weight.empty() ? nullptr : it->second.weight.data();
  float* dbias =
      it == gradients.end() || it->second.bias.empty() ? nullptr : it->second.bias.data();
  if (spec_->norm == "layer")
    layer_norm_backward(x.data(), p->weight.data(), dy.data(), tokens, p->cols, spec_->norm_eps,
                        dx.data(), dweight, dbias);
  else
    rms_norm_backward(x.data(), p->weight.data(), dy.data(), tokens, p->cols, spec_->norm_eps,
                      dx.data(), dweight);
  return true;
}

void DecoderBlock::rotate(Rotation& rotation, std::span<const std::int64_t> lengths, Values& x,
                          std::int64_t heads) const {
  if (!rotation.turns())
    return;
  float* at = x.data();
  for (const std::int64_t length : lengths) {
    rotation.at(length).apply(at, 0, length, heads, spec_->head_dim);
    at += length * heads * spec_->head_dim;
  }
}

Result<void> DecoderBlock::forward(std::span<const float> x, std::span<const std::int64_t> lengths,
                                   BlockTape& tape, const Feedback* feedback) {
  tape.lengths.assign(lengths.begin(), lengths.end());
  tape.tokens = 0;
  for (const std::int64_t length : lengths)
    tape.tokens += length;
  assert(std::int64_t(x.size()) == tape.tokens * spec_->hidden);
  tape.x.assign(x.begin(), x.end());
  norm("attention_norm", tape.x, tape.h);
  TRY(attend(tape, feedback));
  Values added; // by attention, when its norm makes something else of it
  const bool normed = norm("post_attention_norm", tape.attended, added);
  const Values& attention = normed ? added : tape.attended;
  tape.middle = tape.x;
  if (!spec_->parallel_residual)
    add_to(attention, tape.middle);
  if (!norm("mlp_norm", tape.middle, tape.mlp_h))
    tape.mlp_h = tape.h;
  TRY(feed(tape, feedback));
  if (!norm("post_mlp_norm", tape.fed, tape.out))
    tape.out = tape.fed;
  add_to(tape.middle, tape.out);
  if (spec_->parallel_residual)
    add_to(attention, tape.out);
  return {};
}

Result<void> DecoderBlock::attend(BlockTape& tape, const Feedback* feedback) {
  const std::int64_t n = tape.tokens;
  Values& q = find("q_norm") ? tape.q_flat : tape.q;
  Values& k = find("k_norm") ? tape.k_flat : tape.k;
  if (find("qkv")) {
    TRY(linear("qkv", tape.h, n, fused_, feedback));
    split(*spec_, fused_, n, {&q, &k, &tape.v});
  } else {
    TRY(linear("q", tape.h, n, q, feedback));
    TRY(linear("k", tape.h, n, k, feedback));
    TRY(linear("v", tape.h, n, tape.v, feedback));
  }
  norm("q_norm", tape.q_flat, tape.q);
  norm("k_norm", tape.k_flat, tape.k);
  rotate(rotation_, tape.lengths, tape.q, spec_->heads);
  rotate(rotation_, tape.lengths, tape.k, spec_->kv_heads);
  tape.mixed.resize(tape.q.size());
  tape.log_sums.resize(std::size_t(spec_->heads * n));
  if (feedback && feedback->stopped())
    return cancelled_error();
  attention_forward(attention_shape(), tape.lengths, tape.q.data(), tape.k.data(), tape.v.data(),
                    tape.mixed.data(), tape.log_sums.data());
  return linear("o", tape.mixed, n, tape.attended, feedback);
}

Result<void> DecoderBlock::feed(BlockTape& tape, const Feedback* feedback) {
  const std::int64_t n = tape.tokens, ffn = spec_->ffn;
  const bool gated = find("gate_up") || find("gate");
  if (find("gate_up")) {
    TRY(linear("gate_up", tape.mlp_h, n, fused_, feedback));
    take(fused_, 2 * ffn, 0, ffn, n, tape.gate);
    take(fused_, 2 * ffn, ffn, ffn, n, tape.up);
  } else {
    if (gated)
      TRY(linear("gate", tape.mlp_h, n, tape.gate, feedback));
    TRY(linear("up", tape.mlp_h, n, tape.up, feedback));
  }
  tape.activated.resize(tape.up.size());
  activation_->forward(gated ? tape.gate.data() : tape.up.data(), gated ? tape.up.data() : nullptr,
                       n * ffn, tape.activated.data());
  return linear("down", tape.activated, n, tape.fed, feedback);
}

Result<void> DecoderBlock::backward(const BlockTape& tape, std::span<const float> dout,
                                    BlockParameters& gradients, Values* dx,
                                    const Feedback* feedback) {
  assert(dout.size() == tape.out.size());
  const bool parallel = spec_->parallel_residual;
  const bool own_norm = find("mlp_norm") != nullptr;
  // What the first half has to be gone through for.
  const bool below = dx || any_of(gradients, {"attention_norm", "q", "k", "v", "qkv", "q_norm",
                                              "k_norm", "o", "post_attention_norm"});
  dmiddle_.assign(dout.begin(), dout.end());
  TRY(feed_back(tape, dmiddle_, gradients, dh_, feedback));
  // dh_: slope by the input of the feed-forward. With one norm for both halves that is h.
  if (own_norm) {
    norm_back("mlp_norm", tape.middle, dh_, gradients, slope_);
    if (!parallel)
      add_to(slope_, dmiddle_);
  }
  if (!below)
    return {};
  // dmiddle_: slope by what attention adds. By x there is more when the halves are parallel.
  Values straight = dmiddle_;
  if (parallel && own_norm)
    add_to(slope_, straight);
  const bool h_wanted = dx || any_of(gradients, {"attention_norm"});
  const bool shared = parallel && !own_norm;
  TRY(attend_back(tape, dmiddle_, gradients, h_wanted ? &dh_ : nullptr, shared, feedback));
  if (!h_wanted)
    return {};
  norm_back("attention_norm", tape.x, dh_, gradients, slope_);
  if (dx) {
    *dx = std::move(straight);
    add_to(slope_, *dx);
  }
  return {};
}

Result<void> DecoderBlock::feed_back(const BlockTape& tape, const Values& dout,
                                     BlockParameters& gradients, Values& dh,
                                     const Feedback* feedback) {
  const std::int64_t n = tape.tokens, ffn = spec_->ffn;
  const bool gated = find("gate_up") || find("gate");
  const bool normed = norm_back("post_mlp_norm", tape.fed, dout, gradients, slope_);
  TRY(linear_back("down", tape.activated, normed ? slope_ : dout, n, gradients, &dup_, false,
                  feedback));
  if (!gated) {
    activation_->backward(tape.up.data(), nullptr, dup_.data(), n * ffn, dup_.data(), nullptr);
    return linear_back("up", tape.mlp_h, dup_, n, gradients, &dh, false, feedback);
  }
  slope_ = dup_;
  dgate_.resize(dup_.size());
  activation_->backward(tape.gate.data(), tape.up.data(), slope_.data(), n * ffn, dgate_.data(),
                        dup_.data());
  if (find("gate_up")) {
    put(dgate_, 2 * ffn, 0, ffn, n, fused_);
    put(dup_, 2 * ffn, ffn, ffn, n, fused_);
    return linear_back("gate_up", tape.mlp_h, fused_, n, gradients, &dh, false, feedback);
  }
  TRY(linear_back("gate", tape.mlp_h, dgate_, n, gradients, &dh, false, feedback));
  return linear_back("up", tape.mlp_h, dup_, n, gradients, &dh, true, feedback);
}

/// `dh` null: nobody wants it; `add`: to what is there.
Result<void> DecoderBlock::attend_back(const BlockTape& tape, const Values& dout,
                                       BlockParameters& gradients, Values* dh, bool add,
                                       const Feedback* feedback) {
  const std::int64_t n = tape.tokens;
  const bool normed = norm_back("post_attention_norm", tape.attended, dout, gradients, slope_);
  TRY(linear_back("o", tape.mixed, normed ? slope_ : dout, n, gradients, &dmixed_, false,
                  feedback));
  dq_.resize(tape.q.size());
  dk_.resize(tape.k.size());
  dv_.resize(tape.v.size());
  attention_backward(attention_shape(), tape.lengths, tape.q.data(), tape.k.data(), tape.v.data(),
                     tape.mixed.data(), tape.log_sums.data(), dmixed_.data(), dq_.data(),
                     dk_.data(), dv_.data());
  if (feedback && feedback->stopped())
    return cancelled_error();
  rotate(rotation_back_, tape.lengths, dq_, spec_->heads);
  rotate(rotation_back_, tape.lengths, dk_, spec_->kv_heads);
  if (norm_back("q_norm", tape.q_flat, dq_, gradients, slope_))
    dq_.swap(slope_);
  if (norm_back("k_norm", tape.k_flat, dk_, gradients, slope_))
    dk_.swap(slope_);
  if (find("qkv")) {
    join(*spec_, {&dq_, &dk_, &dv_}, n, fused_);
    return linear_back("qkv", tape.h, fused_, n, gradients, dh, add, feedback);
  }
  TRY(linear_back("q", tape.h, dq_, n, gradients, dh, add, feedback));
  TRY(linear_back("k", tape.h, dk_, n, gradients, dh, true, feedback));
  return linear_back("v", tape.h, dv_, n, gradients, dh, true, feedback);
}

} // namespace bitlathe
