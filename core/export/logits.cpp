// SPDX-License-Identifier: Apache-2.0
#include "core/export/logits.h"

#include "core/engine/block_runner.h"
#include "core/export/memo.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace bitlathe {

namespace {

constexpr std::string_view text =
    "The lathe turns a block of wood while a blade takes off what is not needed. In 1797 Henry "
    "Maudslay built one with a slide rest: x = 3.14, y := f(x) + 2; every thread came out alike. "
    "Once upon a time there was a little girl who wanted to know how things are made, so she went "
    "to the workshop, sat down beside the old man, and asked him: \"May I try it, please?\"";

/// The same on every machine.
std::vector<std::int32_t> fixed_ids(std::int64_t count, std::int64_t vocab) {
  std::vector<std::int32_t> ids;
  std::uint64_t state = 0x9E3779B97F4A7C15u;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    ids.push_back(std::int32_t((state >> 33) % std::uint64_t(vocab)));
  }
  return ids;
}

std::vector<std::int32_t> ids_for(const Checkpoint& model, std::int64_t count, std::int64_t vocab) {
  std::vector<std::int32_t> ids;
  if (model.tokenizer)
    ids = model.tokenizer->encode(text);
  ids.erase(std::remove_if(ids.begin(), ids.end(),
                           [&](std::int32_t id) { return id < 0 || id >= vocab; }),
            ids.end());
  if (std::int64_t(ids.size()) < count) {
    const auto more = fixed_ids(count - std::int64_t(ids.size()), vocab);
    ids.insert(ids.end(), more.begin(), more.end());
  }
  ids.resize(std::size_t(count));
  return ids;
}

/// The shortest window of two models whose windows differ; nothing when they are the same.
std::optional<std::int64_t> window_held_by_one(const ModelSpec& a, const ModelSpec& b) {
  std::optional<std::int64_t> shortest;
  bool differ = false;
  const auto at = [](const ModelSpec& spec, std::size_t layer) {
    return layer < spec.windows.size() ? spec.windows[layer] : 0;
  };
  for (std::size_t i = 0; i < std::max(a.windows.size(), b.windows.size()); ++i) {
    differ = differ || at(a, i) != at(b, i);
    for (const auto window : {at(a, i), at(b, i)})
      if (window > 0)
        shortest = std::min(shortest.value_or(window), window);
  }
  return differ ? shortest : std::nullopt;
}

Result<void> run(const Checkpoint& model, Compute& compute, const std::vector<std::int32_t>& ids,
                 Feedback& feedback, const Engine::LogitSink& sink) {
  const auto tokens = std::int64_t(ids.size());
  TRY_ASSIGN(const auto runner, BlockRunner::create(model, compute));
  std::vector<float> x(ids.size() * std::size_t(model.spec->hidden));
  TRY(runner->embed(ids, x.data()));
  for (std::int64_t layer = 0; layer < model.spec->layers; ++layer) {
    TRY(runner->load(layer));
    TRY(runner->run(x.data(), tokens, {}, &feedback));
  }
  runner->normalize(x.data(), tokens, x.data());
  return runner->head(x.data(), tokens, sink, &feedback);
}

} // namespace

Result<LogitComparison> compare_logits(const Checkpoint& wanted, const Checkpoint& written,
                                       Compute& compute, std::int64_t tokens, Feedback& feedback,
                                       ExportMemo* memo) {
  LogitComparison out;
  for (const Checkpoint* model : {&wanted, &written})
    if (!model->spec) {
      out.skipped = "the model cannot be run: " + model->why_not_runnable;
      return out;
    }
  const auto vocab = std::min(wanted.spec->vocab, written.spec->vocab);
  if (vocab <= 0 || wanted.spec->vocab != written.spec->vocab) {
    out.skipped = "the vocabularies differ in size (" + std::to_string(wanted.spec->vocab) +
                  " and " + std::to_string(written.spec->vocab) + ")";
    return out;
  }
  if (wanted.spec->context > 0)
    tokens = std::min(tokens, wanted.spec->context);
  if (const auto window = window_held_by_one(*wanted.spec, *written.spec)) {
    out.within_windows = *window < tokens;
    tokens = std::min(tokens, *window);
  }
  const auto ids = ids_for(wanted, tokens, vocab);

  std::vector<float> reference;
  if (memo && memo->ids == ids) {
    reference = memo->logits;
  } else {
    reference.resize(std::size_t(tokens * vocab));
    TRY(run(wanted, compute, ids, feedback,
            [&](std::int64_t at, std::span<const float> logits) -> Result<void> {
              std::copy(logits.begin(), logits.end(), reference.begin() + at * vocab);
              return {};
            }));
    if (memo) {
      memo->ids = ids;
      memo->logits = reference;
    }
  }
  TRY(run(written, compute, ids, feedback,
          [&](std::int64_t at, std::span<const float> logits) -> Result<void> {
            const auto row =
                std::span(reference).subspan(std::size_t(at * vocab), std::size_t(vocab));
            double largest = 0, difference = 0;
            for (std::size_t i = 0; i < row.size(); ++i) {
              largest = std::max(largest, std::fabs(double(row[i])));
              difference = std::max(difference, std::fabs(double(row[i]) - double(logits[i])));
              out.finite = out.finite && (!std::isfinite(row[i]) || std::isfinite(logits[i]));
            }
            const double relative = difference == 0 ? 0 : difference / std::max(largest, 1e-30);
            if (relative > out.worst) {
              out.worst = relative;
              out.worst_position = at;
            }
            out.same_top += std::max_element(row.begin(), row.end()) - row.begin() ==
                            std::max_element(logits.begin(), logits.end()) - logits.begin();
            ++out.tokens;
            return {};
          }));
  return out;
}

} // namespace bitlathe
