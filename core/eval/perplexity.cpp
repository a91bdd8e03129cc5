// SPDX-License-Identifier: Apache-2.0
#include "core/eval/windows.h"
#include "core/text/tokenizer.h"
#include "kernels/base/parallel.h"

#include <cmath>

namespace bitlathe {

Result<EvalText> make_eval_text(const Checkpoint& checkpoint, std::string_view text,
                                std::int64_t context, std::int64_t chunks) {
  if (!checkpoint.tokenizer)
    return Error{"unsupported",
                 "The text cannot be tokenized: " + (checkpoint.tokenizer_problem.empty()
                                                         ? "the checkpoint has no tokenizer"
                                                         : checkpoint.tokenizer_problem),
                 checkpoint.path.string()};
  if (text.ends_with('\n'))
    text.remove_suffix(1);
  EvalText out;
  out.ids = checkpoint.tokenizer->encode(text, {true, false});
  out.context = context;
  out.chunks = chunks;
  TRY(Windows::cut(checkpoint, out)); // says now what would be wrong later
  return out;
}

Result<PerplexityResult> perplexity(Engine& engine, const EvalText& text, Feedback& feedback,
                                    const std::function<void(const PerplexityResult&)>& on_window) {
  TRY_ASSIGN(const Windows windows, Windows::cut(engine.checkpoint(), text));
  TRY(windows.check_ids(engine.spec().vocab));
  const double start = seconds_now();
  feedback.total = std::uint64_t(windows.count());
  feedback.done = 0;
  PerplexityResult out;
  out.notes = context_notes(engine, text.context);
  TRY_ASSIGN(const auto sequence, engine.new_sequence(text.context));
  const auto vocab = std::size_t(engine.spec().vocab);
  RunningMean all;
  std::vector<float> logits;
  std::vector<double> nll;
  for (std::int64_t w = 0; w < windows.count(); ++w) {
    const auto ids = windows.ids(w);
    RunningMean mean;
    sequence->clear();
    for (const Piece& piece : windows.pieces(engine.spec().vocab)) {
      TRY(logits_of(engine, *sequence, ids, piece, logits, feedback));
      nll.resize(std::size_t(piece.count));
      parallel_for(piece.count, 4, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = std::size_t(begin); i < std::size_t(end); ++i) {
          const auto row = std::span<const float>(logits).subspan(i * vocab, vocab);
          const std::int32_t target = ids[std::size_t(piece.first) + i + 1];
          nll[i] = log_sum_exp(row) - double(row[std::size_t(target)]);
        }
      });
      for (std::int64_t i = 0; i < piece.count; ++i) {
        if (!std::isfinite(nll[std::size_t(i)]))
          return bad_logits(engine, w, piece.first + i);
        all.add(nll[std::size_t(i)]);
        mean.add(nll[std::size_t(i)]);
      }
    }
    out.window_nll.push_back(mean.mean());
    out.windows = w + 1;
    out.tokens = all.count;
    out.mean_nll = all.mean();
    out.perplexity = std::exp(all.mean());
    out.standard_error = out.perplexity * all.standard_error();
    out.seconds = seconds_now() - start;
    feedback.advance(1);
    if (on_window)
      on_window(out);
  }
  return out;
}

} // namespace bitlathe
