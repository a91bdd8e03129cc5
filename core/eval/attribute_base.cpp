// SPDX-License-Identifier: Apache-2.0
#include "core/eval/attribute_base.h"

#include "core/model/assemble.h"

#include <algorithm>

namespace bitlathe {

namespace {

/// All of a module that running it needs.
Module whole_view(const Module& module) {
  Module out = view_of(module);
  out.activations = module.activations;
  out.activation_scale = module.activation_scale;
  out.outlier_threshold = module.outlier_threshold;
  return out;
}

} // namespace

Hybrid::Hybrid(const Checkpoint& base) : base_(base) {
  checkpoint_.path = base.path;
  checkpoint_.name = base.name;
  checkpoint_.spec = base.spec;
  checkpoint_.why_not_runnable = base.why_not_runnable;
  checkpoint_.kv_keys = base.kv_keys;
  checkpoint_.kv_values = base.kv_values;
  checkpoint_.kv_scales = base.kv_scales;
  for (const Module& module : base.modules)
    checkpoint_.modules.push_back(whole_view(module));
}

void Hybrid::put(std::size_t index, const Module& other) {
  const Module& base = base_.modules[index];
  Module module = whole_view(other);
  module.name = base.name;
  module.part = base.part;
  module.role = base.role;
  module.layer = base.layer;
  module.linear = base.linear;
  checkpoint_.modules[index] = std::move(module);
}

void Hybrid::restore(std::size_t index) {
  checkpoint_.modules[index] = whole_view(base_.modules[index]);
}

const Checkpoint& Hybrid::with_kv_of(const Checkpoint& other) {
  checkpoint_.kv_keys = other.kv_keys;
  checkpoint_.kv_values = other.kv_values;
  checkpoint_.kv_scales = other.kv_scales;
  return checkpoint_;
}

Result<ScoredText> scored_text(const Checkpoint& checkpoint, const EvalText& text) {
  TRY_ASSIGN(const Windows windows, Windows::cut(checkpoint, text));
  TRY(windows.check_ids(checkpoint.spec->vocab));
  ScoredText out;
  out.tokens = text.context - 1;
  out.wanted = text.context / 2;
  for (std::int64_t w = 0; w < windows.count(); ++w)
    out.windows.push_back(windows.ids(w));
  return out;
}

Result<std::unique_ptr<SwapBase>> SwapBase::create(const Checkpoint& model, Compute& compute,
                                                   const EngineOptions& options,
                                                   const ScoredText& text, std::uint64_t memory) {
  std::unique_ptr<SwapBase> out(new SwapBase(model, text, memory));
  TRY_ASSIGN(out->split_, SplitRun::create(model, compute, options));
  TRY_ASSIGN(out->parts_, out->split_->load_all(model, options));
  return out;
}

std::vector<std::int64_t> SwapBase::choose_kept() const {
  const std::uint64_t one = std::uint64_t(text_.count()) * std::uint64_t(text_.tokens) *
                            std::uint64_t(model_.spec->hidden) * sizeof(float);
  // What the last block leaves is small and wanted most often: it is always kept.
  const auto fit = std::int64_t(one > 0 ? memory_ / one : 0);
  std::vector<std::int64_t> out;
  const std::int64_t inner = layers() - 1; // before block 0 stands the embedding alone
  const std::int64_t count = std::min(fit, inner);
  for (std::int64_t i = 1; i <= count; ++i) // evenly spread, the last before the last block
    out.push_back((i * inner + count - 1) / count);
  out.push_back(layers());
  return out;
}

Result<void> SwapBase::run_block(const LoadedParts& parts, std::int64_t layer, float* x,
                                 const Feedback& feedback) {
  ++blocks_run_;
  return split_->run(parts, layer, x, text_.tokens, text_.wanted, &feedback);
}

Result<void> SwapBase::prepare(const Feedback& feedback) {
  const std::int64_t hidden = model_.spec->hidden;
  const auto whole = std::size_t(text_.tokens * hidden);
  const auto scored = std::size_t(text_.per_window() * hidden);
  kept_.clear();
  stream_bytes_ = 0;
  const std::vector<std::int64_t> keep = choose_kept();
  for (const std::int64_t layer : keep) {
    const std::size_t size = layer == layers() ? scored : whole;
    kept_[layer].resize(size * std::size_t(text_.count()));
    stream_bytes_ += kept_[layer].size() * sizeof(float);
  }
  std::vector<float> x(whole);
  for (std::int64_t w = 0; w < text_.count(); ++w) {
    const auto& ids = text_.windows[std::size_t(w)];
    TRY(split_->embed(*parts_, std::span(ids).first(std::size_t(text_.tokens)), x.data()));
    for (std::int64_t layer = 0; layer < layers(); ++layer) {
      if (const auto it = kept_.find(layer); it != kept_.end())
        std::copy(x.begin(), x.end(), it->second.begin() + std::ptrdiff_t(std::size_t(w) * whole));
      TRY(run_block(*parts_, layer, x.data(), feedback));
    }
    std::copy(x.end() - std::ptrdiff_t(scored), x.end(),
              kept_[layers()].begin() + std::ptrdiff_t(std::size_t(w) * scored));
  }
  return {};
}

Result<void> SwapBase::stream_before(std::int64_t layer, std::int64_t window, std::vector<float>& x,
                                     const Feedback& feedback) {
  const auto whole = std::size_t(text_.tokens * model_.spec->hidden);
  auto it = kept_.upper_bound(layer);
  const auto& ids = text_.windows[std::size_t(window)];
  std::int64_t at = 0;
  if (it == kept_.begin()) {
    x.resize(whole);
    TRY(split_->embed(*parts_, std::span(ids).first(std::size_t(text_.tokens)), x.data()));
  } else {
    --it;
    at = it->first;
    const auto size =
        at == layers() ? std::size_t(text_.per_window() * model_.spec->hidden) : whole;
    const auto from = it->second.begin() + std::ptrdiff_t(std::size_t(window) * size);
    x.assign(from, from + std::ptrdiff_t(size));
  }
  for (; at < layer; ++at) {
    ++blocks_repeated_;
    TRY(run_block(*parts_, at, x.data(), feedback));
  }
  return {};
}

void SwapBase::drop_streams() { kept_.erase(kept_.begin(), kept_.lower_bound(layers())); }

Result<Exchanged> SwapBase::load(const Checkpoint& hybrid, const std::vector<std::size_t>& modules,
                                 const EngineOptions& options) {
  Exchanged out;
  for (const std::size_t index : modules) {
    const Module& module = model_.modules[index];
    if (module.layer < 0) {
      out.embedding = out.embedding || module.part == "embedding" || module.part == "positions";
      if (!out.ends) {
        TRY_ASSIGN(out.ends, split_->load_ends(hybrid, options));
      }
      continue;
    }
    const bool there = std::any_of(out.blocks.begin(), out.blocks.end(),
                                   [&](const auto& b) { return b.first == module.layer; });
    if (there)
      continue;
    TRY_ASSIGN(auto block, split_->load_block(hybrid, module.layer, options));
    out.blocks.emplace_back(module.layer, std::move(block));
  }
  return out;
}

Result<void> SwapBase::logits(const Exchanged& exchanged, std::int64_t window,
                              std::vector<float>& out, const Feedback& feedback) {
  SplitRun& split = exchanged.split ? *exchanged.split : *split_;
  const LoadedParts& own = exchanged.everything ? *exchanged.everything : *parts_;
  const LoadedParts& ends = exchanged.ends ? *exchanged.ends : own;
  std::int64_t first = layers();
  for (const auto& block : exchanged.blocks)
    first = std::min(first, block.first);
  if (exchanged.from_start()) {
    first = 0;
    const auto& ids = text_.windows[std::size_t(window)];
    x_.resize(std::size_t(text_.tokens * model_.spec->hidden));
    TRY(split.embed(ends, std::span(ids).first(std::size_t(text_.tokens)), x_.data()));
  } else {
    TRY(stream_before(first, window, x_, feedback));
  }
  for (std::int64_t layer = first; layer < layers(); ++layer) {
    const LoadedParts* parts = &own;
    for (const auto& block : exchanged.blocks)
      if (block.first == layer)
        parts = block.second.get();
    ++blocks_run_;
    TRY(split.run(*parts, layer, x_.data(), text_.tokens, text_.wanted, &feedback));
  }
  const std::int64_t scored = text_.per_window() * model_.spec->hidden;
  const float* last = x_.data() + (std::int64_t(x_.size()) - scored);
  return split.head(ends, last, text_.tokens, text_.wanted, out, &feedback);
}

} // namespace bitlathe
