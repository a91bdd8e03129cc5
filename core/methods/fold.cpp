// SPDX-License-Identifier: Apache-2.0
#include "core/methods/fold.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace bitlathe {

namespace {

std::vector<BlockLinear*> present(CalibratedBlock& block,
                                  std::initializer_list<std::string_view> parts) {
  std::vector<BlockLinear*> out;
  for (const std::string_view part : parts)
    if (BlockLinear* linear = block.linear(part))
      out.push_back(linear);
  return out;
}

std::vector<std::int32_t> one_to_one(std::int64_t n) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

void add_norm(std::string_view name, BlockWeight* norm, std::vector<BlockLinear*> targets,
              std::vector<Fold>& out) {
  if (!norm || targets.empty())
    return;
  Fold fold;
  fold.name = name;
  fold.norm = norm;
  fold.targets = std::move(targets);
  fold.channels = std::int64_t(norm->weight.size());
  fold.channel_of = one_to_one(fold.channels);
  out.push_back(std::move(fold));
}

void add_values(CalibratedBlock& block, std::vector<Fold>& out) {
  const ModelSpec& spec = block.spec();
  BlockLinear* o = block.linear("o");
  BlockLinear* source = block.linear("v");
  const bool fused = !source;
  if (fused)
    source = block.linear("qkv");
  if (!o || !source)
    return;
  const std::int64_t dim = spec.head_dim, q = spec.heads * dim, kv = spec.kv_heads * dim;
  Fold fold;
  fold.name = "o";
  fold.source = source;
  fold.targets = {o};
  fold.channels = kv;
  for (std::int64_t head = 0; head < spec.kv_heads; ++head)
    for (std::int64_t d = 0; d < dim; ++d)
      fold.row_of.push_back(!fused                         ? head * dim + d
                            : spec.fused_qkv == "per_head" ? (head * 3 + 2) * dim + d
                                                           : q + kv + head * dim + d);
  for (std::int64_t c = 0; c < q; ++c)
    fold.channel_of.push_back(std::int32_t(c / dim / (spec.heads / spec.kv_heads) * dim + c % dim));
  out.push_back(std::move(fold));
}

void add_up(CalibratedBlock& block, std::vector<Fold>& out) {
  BlockLinear* down = block.linear("down");
  BlockLinear* up = block.linear("up");
  const bool joined = !up;
  if (joined)
    up = block.linear("gate_up");
  if (!down || !up)
    return;
  const bool gated = joined || block.linear("gate");
  if (!gated && block.spec().activation != "relu")
    return; // act(x / s) is not act(x) / s
  Fold fold;
  fold.name = "down";
  fold.source = up;
  fold.targets = {down};
  fold.channels = block.spec().ffn;
  fold.channel_of = one_to_one(fold.channels);
  for (std::int64_t i = 0; i < fold.channels; ++i)
    fold.row_of.push_back(joined ? fold.channels + i : i);
  out.push_back(std::move(fold));
}

} // namespace

std::vector<Fold> folds_of(CalibratedBlock& block) {
  std::vector<Fold> out;
  if (block.layer < 0)
    return out;
  auto attention = present(block, {"q", "k", "v", "qkv"});
  auto mlp = present(block, {"gate", "up", "gate_up"});
  BlockWeight* mlp_norm = block.norm("mlp_norm");
  if (!mlp_norm && block.spec().parallel_residual) { // one norm for both
    attention.insert(attention.end(), mlp.begin(), mlp.end());
    mlp.clear();
  }
  add_norm("attention", block.norm("attention_norm"), std::move(attention), out);
  add_values(block, out);
  add_norm("mlp", mlp_norm, std::move(mlp), out);
  add_up(block, out);
  return out;
}

void apply_fold(const Fold& fold, std::span<const float> scales, const ModelSpec& spec) {
  assert(std::int64_t(scales.size()) == fold.channels);
  std::vector<float> used(scales.begin(), scales.end());
  if (BlockWeight* norm = fold.norm) {
    const float offset = spec.norm_plus_one ? 1.0f : 0.0f;
    const QTensor& stored = norm->module->weight;
    const auto rounded = [](const QTensor& like, float value) {
      if (like.scheme.quantized)
        return value;
      std::byte buffer[4];
      store_float(like.scheme.float_type, buffer, 0, value);
      return load_float(like.scheme.float_type, buffer, 0);
    };
    for (std::size_t c = 0; c < used.size(); ++c) {
      const float before = norm->weight[c];
      const float after = rounded(stored, before / used[c] - offset) + offset;
      if (after != 0 && std::isfinite(after) && before / after > 0 &&
          std::isfinite(before / after)) {
        used[c] = before / after;
        norm->weight[c] = after;
      } else if (before != 0) {
        used[c] = 1; // cannot be stored scaled
      }
      if (!norm->bias.empty())
        norm->bias[c] = rounded(norm->module->bias, norm->bias[c] / used[c]);
    }
    norm->changed = true;
  } else {
    const std::int64_t cols = fold.source->module->weight.cols;
    for (std::size_t c = 0; c < used.size(); ++c) {
      const std::int64_t row = fold.row_of[c];
      for (std::int64_t i = 0; i < cols; ++i)
        fold.source->weight[std::size_t(row * cols + i)] /= used[c];
      if (!fold.source->bias.empty())
        fold.source->bias[std::size_t(row)] /= used[c];
    }
    fold.source->changed = true;
  }
  std::vector<float> of_column;
  for (const std::int32_t channel : fold.channel_of)
    of_column.push_back(used[std::size_t(channel)]);
  std::set<InputStatistics*> divided;
  for (BlockLinear* target : fold.targets) {
    for (std::size_t i = 0; i < target->weight.size(); ++i)
      target->weight[i] *= of_column[i % of_column.size()];
    target->changed = true;
    if (target->inputs && divided.insert(target->inputs.get()).second)
      target->inputs->divide(of_column);
  }
}

} // namespace bitlathe
