// SPDX-License-Identifier: Apache-2.0
#include "core/judge/divergence_along.h"

#include "core/eval/divergence.h"
#include "core/eval/windows.h"
#include "kernels/base/parallel.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitlathe {

namespace {

/// One candidate on its way along the text.
struct Walker {
  Engine* engine = nullptr;
  std::unique_ptr<Sequence> sequence;
  std::int64_t rows = 0; ///< leading logits that both models have
};

/// Logits of the last `count` of `ids`, appended to the sequence.
Result<void> last_logits(Engine& engine, Sequence& sequence, std::span<const std::int32_t> ids,
                         std::size_t count, std::vector<float>& out, const Feedback& feedback) {
  const auto vocab = std::size_t(engine.spec().vocab);
  const std::size_t first = ids.size() - count;
  out.resize(count * vocab);
  return engine.forward(
      sequence, ids, std::int64_t(first),
      [&](std::int64_t index, std::span<const float> logits) -> Result<void> {
        std::copy(logits.begin(), logits.end(),
                  out.begin() + std::ptrdiff_t((std::size_t(index) - first) * vocab));
        return {};
      },
      &feedback);
}

Result<Walker> start_walker(Engine& reference, Engine& candidate, std::int64_t length,
                            DivergenceAlong& out) {
  Walker walker;
  walker.engine = &candidate;
  TRY_ASSIGN(walker.rows,
             shared_vocabulary(reference.checkpoint(), candidate.checkpoint(), out.notes));
  TRY_ASSIGN(walker.sequence, candidate.new_sequence(length));
  return walker;
}

} // namespace

Result<std::vector<DivergenceAlong>> divergence_along(Engine& reference,
                                                      std::span<Engine* const> candidates,
                                                      std::span<const std::int32_t> prompt,
                                                      std::span<const std::int32_t> ids,
                                                      const Feedback& feedback) {
  std::vector<DivergenceAlong> out(candidates.size());
  if (ids.empty() || candidates.empty())
    return out;
  // The last token is foretold, but nothing is after it.
  std::vector<std::int32_t> fed(prompt.begin(), prompt.end());
  fed.insert(fed.end(), ids.begin(), ids.end() - 1);
  const auto length = std::int64_t(fed.size());

  std::vector<Walker> walkers(candidates.size());
  for (std::size_t k = 0; k < candidates.size(); ++k) {
    auto started = start_walker(reference, *candidates[k], length, out[k]);
    if (started)
      walkers[k] = std::move(*started);
    else
      out[k].problem = started.error().text();
  }
  TRY_ASSIGN(const auto sequence, reference.new_sequence(length));
  const auto vocab = std::size_t(reference.spec().vocab);
  constexpr std::size_t budget = std::size_t(32) << 20; // bytes of one model's logits
  const std::size_t step = std::max<std::size_t>(1, budget / (4 * vocab));
  std::vector<float> theirs, own;

  for (std::size_t at = 0; at < ids.size();) {
    const std::size_t count = std::min(step, ids.size() - at);
    // With the first piece comes the prompt.
    const std::size_t begin = at == 0 ? 0 : prompt.size() - 1 + at;
    const auto piece = std::span(fed).subspan(begin, prompt.size() - 1 + at + count - begin);
    TRY(last_logits(reference, *sequence, piece, count, theirs, feedback));
    const auto row = [](const std::vector<float>& logits, std::size_t i, std::size_t stride) {
      return std::span<const float>(logits).subspan(i * stride, stride);
    };
    for (std::size_t i = 0; i < count; ++i)
      if (!std::isfinite(log_sum_exp(row(theirs, i, vocab))))
        return bad_logits(reference, 0, std::int64_t(prompt.size() - 1 + at + i));
    for (std::size_t k = 0; k < walkers.size(); ++k) {
      Walker& walker = walkers[k];
      if (!out[k].problem.empty())
        continue;
      const auto stop = [&](const Error& why) {
        out[k].problem = why.text();
        out[k].kl.clear();
        out[k].logprobs.clear();
      };
      if (auto fine = last_logits(*walker.engine, *walker.sequence, piece, count, own, feedback);
          !fine) {
        if (fine.error().cancelled())
          return fine.error();
        stop(fine.error());
        continue;
      }
      const auto stride = std::size_t(walker.engine->spec().vocab), rows = std::size_t(walker.rows);
      out[k].kl.resize(at + count);
      out[k].logprobs.resize(at + count);
      parallel_for(std::int64_t(count), 4, [&](std::int64_t from, std::int64_t to) {
        for (auto i = std::size_t(from); i < std::size_t(to); ++i) {
          const auto p = row(theirs, i, vocab).first(rows), all_q = row(own, i, stride);
          const auto q = all_q.first(rows);
          out[k].kl[at + i] = kl_divergences(p, log_sum_exp(p), q, log_sum_exp(q)).first;
          const auto id = std::size_t(ids[at + i]);
          out[k].logprobs[at + i] = id < stride ? double(all_q[id]) - log_sum_exp(all_q)
                                                : -std::numeric_limits<double>::infinity();
        }
      });
      for (std::size_t i = at; i < at + count && out[k].problem.empty(); ++i)
        if (!std::isfinite(out[k].kl[i]))
          stop(bad_logits(*walker.engine, 0, std::int64_t(prompt.size() - 1 + i)));
    }
    at += count;
  }
  return out;
}

} // namespace bitlathe
