// SPDX-License-Identifier: Apache-2.0
// Perplexity and comparison on text, by llama.cpp's rule so that figures compare: drop one trailing
// newline, tokenize once with special tokens added but not parsed, cut into floor(T/N) windows of
// N, replace token 0 of each window by BOS when the tokenizer adds one, score tokens N/2+1 .. N-1.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

struct EvalText {
  std::vector<std::int32_t> ids; ///< whole text
  std::int64_t context = 512;
  std::int64_t chunks = 0; ///< at most this many windows; 0 = all
};
/// Tokenizes by the rule above. Error when the checkpoint has no tokenizer, naming why.
Result<EvalText> make_eval_text(const Checkpoint& checkpoint, std::string_view text,
                                std::int64_t context, std::int64_t chunks);

struct PerplexityResult {
  double perplexity = 0, standard_error = 0, mean_nll = 0, seconds = 0;
  std::int64_t tokens = 0, windows = 0; ///< tokens scored
  std::vector<double> window_nll;       ///< mean per window
  std::vector<std::string> notes;       ///< "context 1024 is above the trained 512"
};
/// feedback counts windows. `on_window` sees the running result after each window.
Result<PerplexityResult>
perplexity(Engine& engine, const EvalText& text, Feedback& feedback,
           const std::function<void(const PerplexityResult&)>& on_window = {});

/// Mean divergence of a part of the scored tokens.
struct PartFigures {
  std::string name; ///< "word start", "256-287"
  std::int64_t tokens = 0;
  double kld_mean = 0, kld_stderr = 0;
  double nll_difference = 0; ///< mean; what the candidate loses per token
};
/// A token at which the candidate is far from the reference.
struct WorstToken {
  std::int64_t window = 0, position = 0; ///< of the token within the window
  std::int32_t token = 0, reference_top = 0, candidate_top = 0;
  double kld = 0, reference_probability = 0, candidate_probability = 0; ///< of the token
};

struct CompareResult {
  std::string path;
  std::uint64_t bytes = 0;
  double perplexity = 0, perplexity_stderr = 0, reference_perplexity = 0, ppl_ratio = 0;
  double kld_mean = 0, kld_stderr = 0, kld_median = 0, kld_p99 = 0, kld_max = 0, top1_agreement = 0;
  double kld_p90 = 0;
  double kld_reverse_mean = 0, kld_reverse_stderr = 0; ///< KL(candidate || REF)
  double top5_agreement = 0; ///< mean share of REF's five likeliest that are the candidate's too
  double drift_mean = 0, drift_rms = 0; ///< candidate's probability of the text's token less REF's
  std::vector<PartFigures> by_position; ///< eighths of the scored part of a window
  std::vector<PartFigures> by_class;    ///< kinds of tokens, those that occur
  std::vector<WorstToken> worst;        ///< at most 50, largest KL first
  double ppl_ratio_stderr = 0; ///< paired: ratio * standard error of the mean nll difference
  std::int64_t tokens = 0;
  double seconds = 0;
  std::vector<double> window_nll, window_kld; ///< means per window, as far as it has come
  std::vector<std::string> notes;
};
struct CompareReport {
  std::vector<CompareResult> models;
  double noise_floor = 0; ///< mean KL of REF against REF with weights rounded to f16 (bf16 for f16)
  double reference_perplexity = 0, reference_stderr = 0;
  double reference_seconds = 0;
  std::vector<double> reference_window_nll; ///< mean per window
  std::vector<std::string> notes;
};
/// KL(REF || candidate) at the positions perplexity scores, streamed window by window. Engines are
/// run one after the other on the same ids. A different vocabulary is an error (padding rows
/// masked, with a note).
Result<CompareReport> compare(Engine& reference, std::span<Engine* const> candidates,
                              Engine* reference_rounded, const EvalText& text, Feedback& feedback,
                              const std::function<void(const CompareReport&)>& on_window = {});

} // namespace bitlathe
