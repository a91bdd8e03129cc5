// SPDX-License-Identifier: Apache-2.0
// "Which layer did it?": what every module of a quantized model costs, measured by exchanging one
// at a time, and what other schemes would cost.
#pragma once

#include "core/eval/eval.h"

#include <functional>
#include <map>

namespace bitlathe {

/// KL(original || model) over the scored tokens, with its standard error over tokens.
struct AttributionFigures {
  double kld = 0, kld_stderr = 0;
  double nll_difference = 0, nll_stderr = 0; ///< what the model loses per token
  std::int64_t tokens = 0;                   ///< 0: not measured
  explicit operator bool() const { return tokens > 0; }
};

/// From second-order statistics instead of a run.
struct PredictedFigure {
  double kld = 0, kld_stderr = 0; ///< as fitted to what was measured; the error of the estimate
  double raw = 0;                 ///< before the fit
  std::int64_t samples = 0;       ///< 0: not predicted
  explicit operator bool() const { return samples > 0; }
};

struct AttributionRow {
  std::string kind; ///< "module", "block", "role" (all of one), "kv" (keys and values)
  std::string name; ///< of the module, "block 3", "down_proj"
  std::vector<std::string> modules; ///< more than one also where scales were moved between them
  std::string role, scheme;         ///< of the candidate
  int layer = -1;                   ///< -1: outside of blocks, or in several
  std::uint64_t bytes = 0;          ///< in the candidate
  std::int64_t parameters = 0;
  double weight_error = 0;          ///< ||W - W'||^2 / ||W||^2
  AttributionFigures alone;         ///< the original with only this from the candidate
  AttributionFigures without;       ///< the candidate with only this put back
  double fall = 0, fall_stderr = 0; ///< KL of the candidate less `without`, paired by token
  PredictedFigure predicted;        ///< of `alone`
  bool kept = false;                ///< taken over from an earlier run of the same
  std::string problem;              ///< why it could not be measured
  std::string signature;            ///< of what the candidate stores
};

/// A module stored in one scheme, and nothing else changed.
struct CurvePoint {
  std::string scheme, method;
  std::string asked; ///< where a mix or a fallback chose another scheme
  std::uint64_t bytes = 0;
  double bits = 0;         ///< of one weight, scales included
  double weight_error = 0; ///< ||W - W'||^2 / ||W||^2
  AttributionFigures measured;
  PredictedFigure predicted;
  bool kept = false; ///< taken over from an earlier run of the same
  std::string problem;
};
struct ModuleCurve {
  std::string name, role;
  int layer = -1;
  std::int64_t parameters = 0;
  std::uint64_t bytes = 0; ///< in the original
  std::vector<CurvePoint> points;
};

/// How good predictions are, from what was both predicted and measured.
struct PredictionQuality {
  std::int64_t measured = 0;              ///< that the scales were fitted to
  std::int64_t held_out = 0;              ///< each predicted by a fit without it
  double median_error = 0, p90_error = 0; ///< |predicted - measured| / measured, of those held out
  double raw_median_error = 0;            ///< the same without a fit
  double rank_correlation = 0;            ///< Spearman's, held out
  double raw_rank_correlation = 0;
  std::map<std::string, double> scales; ///< by role: measured / raw
  std::int64_t samples = 0;
  double seconds = 0;
};

struct AttributionCost {
  std::uint64_t stream_bytes = 0, logit_bytes = 0, weight_bytes = 0; ///< kept in memory
  std::uint64_t blocks_run = 0;                                      ///< of one window each
  std::uint64_t blocks_repeated = 0; ///< of these, only because a stream did not fit the memory
  std::uint64_t blocks_whole = 0;    ///< that as many whole runs would have taken
  double seconds = 0;
};

struct AttributionReport {
  std::string reference, candidate; ///< paths; the latter empty for curves alone
  std::string reference_signature, candidate_signature, text_signature;
  std::int64_t context = 0, windows = 0, tokens = 0; ///< tokens scored
  double reference_perplexity = 0;
  AttributionFigures control; ///< the original with nothing exchanged, run anew: must be 0
  AttributionFigures whole;   ///< the candidate
  double noise_floor = -1;    ///< as `compare` has it; below 0: not measured
  std::vector<AttributionRow> rows;
  /// Modules, and keys and values: they make up the candidate. Ratios are sum / KL of the whole.
  double sum_alone = 0, ratio_alone = 0, sum_fall = 0, ratio_fall = 0;
  /// Standard errors of the ratios, paired by token; below 0: not known, as some rows were kept.
  double ratio_alone_stderr = -1, ratio_fall_stderr = -1;
  std::int64_t parts = 0; ///< that make up the candidate, whether or not they have a row
  bool all_alone = false, all_fall = false; ///< every part is in the sum
  std::vector<ModuleCurve> curves;
  PredictionQuality prediction;
  AttributionCost cost;
  std::vector<std::string> notes;
  bool cancelled = false;

  const AttributionRow* find(std::string_view kind, std::string_view name) const;
  const ModuleCurve* curve(std::string_view name) const;
  /// Works out sums and ratios from the rows.
  void add_up();
};

struct AttributionOptions {
  bool alone = true, without = false; ///< swap one in; add one back
  bool modules = true, groups = true; ///< groups: blocks, roles
  std::vector<std::string> only;      ///< patterns of module names (recipe.h); empty: all
  /// Share of the modules that are measured (spread over roles and blocks); the others are
  /// predicted. With `predict` all are predicted, whether measured or not.
  double measured_share = 1;
  bool predict = false;
  std::vector<std::string> schemes;              ///< curves; needs no candidate
  std::string method = "rtn";                    ///< of the curves
  std::uint64_t memory = std::uint64_t(1) << 30; ///< for residual streams and logits
  bool noise_floor = true;
  EngineOptions run;                        ///< of the candidate: activations, KV
  const AttributionReport* known = nullptr; ///< what is the same there is not measured again
  std::int64_t samples = 128; ///< of predictions: their error is about sqrt(2 / samples)
  std::uint64_t seed = 0;     ///< of predictions
  /// After every figure that is new, from the job's thread.
  std::function<void(const AttributionReport&)> on_change;
};

/// Errors: as Engine::create, "mismatch" when the candidate is not the same model, "bad-argument".
/// When cancelled, what was measured until then comes back with `cancelled` set; feedback counts
/// blocks run on one window. `candidate` may be null where there are schemes.
Result<AttributionReport> attribute(const Checkpoint& reference, const Checkpoint* candidate,
                                    const EvalText& text, Compute& compute,
                                    const AttributionOptions& options, Feedback& feedback);

/// For files and sessions. Reading takes what is there and fits; nothing else is an error.
OrderedJson attribution_to_json(const AttributionReport& report);
AttributionReport attribution_from_json(const Json& json);

} // namespace bitlathe
