// SPDX-License-Identifier: Apache-2.0
// Perplexity and KL divergence over windows of text.
#include "core/eval/eval.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace bitlathe {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Mean and standard error of a growing list, with the sums kept in f64.
struct RunningMean {
  double sum = 0, sum2 = 0;
  std::int64_t count = 0;
  void add(double x) {
    sum += x;
    sum2 += x * x;
    ++count;
  }
  double mean() const { return count ? sum / double(count) : 0; }
  double standard_error() const {
    if (count < 2)
      return 0;
    const double variance = sum2 / double(count) - mean() * mean();
    return std::sqrt(std::max(0.0, variance) / double(count - 1));
  }
};

/// The windows of a text, cut by the rule in eval.h.
struct Windows {
  const EvalText& text;
  std::int64_t count = 0;
  std::int32_t bos = -1;

  std::vector<std::int32_t> window(std::int64_t index) const {
    const auto begin = text.ids.begin() + index * text.context;
    std::vector<std::int32_t> ids(begin, begin + text.context);
    if (bos >= 0)
      ids[0] = bos;
    return ids;
  }
  std::int64_t first_scored() const { return text.context / 2; } ///< logits here score the next id
  std::int64_t scored() const { return text.context - 1 - first_scored(); }
};

Result<Windows> cut(const Checkpoint& checkpoint, const EvalText& text) {
  if (text.context < 4)
    return Error{"bad-argument", "The context must be at least 4 tokens", {}};
  if (text.chunks < 0)
    return Error{"bad-argument", "The number of chunks must not be negative", {}};
  const auto tokens = std::int64_t(text.ids.size());
  if (tokens / 2 < text.context)
    return Error{"bad-argument",
                 "The text has " + std::to_string(tokens) + " tokens; a context of " +
                     std::to_string(text.context) + " needs at least " +
                     std::to_string(2 * text.context),
                 {}};
  Windows windows{text, tokens / text.context, -1};
  if (text.chunks > 0)
    windows.count = std::min(windows.count, text.chunks);
  if (checkpoint.tokenizer && checkpoint.tokenizer->adds_bos())
    windows.bos = checkpoint.tokenizer->bos();
  return windows;
}

std::vector<std::string> context_notes(const Engine& engine, std::int64_t context) {
  const std::int64_t trained = engine.spec().context;
  if (trained <= 0 || context <= trained)
    return {};
  return {"The context of " + std::to_string(context) + " is above the trained length of " +
          std::to_string(trained)};
}

Error bad_logits(const Engine& engine, std::int64_t window, std::int64_t position) {
  return {"bad-file",
          "The model produced NaN or infinite logits in window " + std::to_string(window + 1) +
              " at position " + std::to_string(position) + "; its weights may be damaged",
          engine.checkpoint().path.string()};
}

/// log of the sum of exp over the first `n` entries, f64. NaN when any entry is NaN or +inf.
double log_sum_exp(std::span<const float> logits) {
  float top = -INFINITY;
  bool bad = false;
  for (const float x : logits) {
    bad |= !(x < INFINITY);
    top = x > top ? x : top;
  }
  if (bad || top == -INFINITY)
    return NAN;
  double sum = 0;
  for (const float x : logits)
    sum += std::exp(double(x) - double(top));
  return double(top) + std::log(sum);
}

double nll_of(std::span<const float> logits, std::int32_t target) {
  return log_sum_exp(logits) - double(logits[std::size_t(target)]);
}

} // namespace

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
  TRY(cut(checkpoint, out)); // says now what would be wrong later
  return out;
}

Result<PerplexityResult> perplexity(Engine& engine, const EvalText& text, Feedback& feedback,
                                    const std::function<void(const PerplexityResult&)>& on_window) {
  TRY_ASSIGN(const Windows windows, cut(engine.checkpoint(), text));
  const auto start = std::chrono::steady_clock::now();
  feedback.total = std::uint64_t(windows.count);
  feedback.done = 0;
  PerplexityResult out;
  out.notes = context_notes(engine, text.context);
  TRY_ASSIGN(const auto sequence, engine.new_sequence(text.context));
  RunningMean all;
  for (std::int64_t w = 0; w < windows.count; ++w) {
    const auto ids = windows.window(w);
    RunningMean mean;
    const auto without_last = std::span(ids).first(ids.size() - 1); // it is only a target
    sequence->clear();
    const auto score = [&](std::int64_t index, std::span<const float> logits) -> Result<void> {
      const double nll = nll_of(logits, ids[std::size_t(index) + 1]);
      if (!std::isfinite(nll))
        return bad_logits(engine, w, index);
      all.add(nll);
      mean.add(nll);
      return {};
    };
    TRY(engine.forward(*sequence, without_last, windows.first_scored(), score, &feedback));
    out.window_nll.push_back(mean.mean());
    out.windows = w + 1;
    out.tokens = all.count;
    out.mean_nll = all.mean();
    out.perplexity = std::exp(all.mean());
    out.standard_error = out.perplexity * all.standard_error();
    out.seconds = seconds_since(start);
    feedback.advance(1);
    if (on_window)
      on_window(out);
  }
  return out;
}

namespace {

/// How many leading entries of the logits two models share; an error when their vocabularies
/// differ. Rows beyond the tokens are padding.
Result<std::int64_t> shared_vocabulary(const Engine& reference, const Engine& candidate,
                                       std::vector<std::string>& notes) {
  const Checkpoint &a = reference.checkpoint(), &b = candidate.checkpoint();
  const std::int64_t rows_a = reference.spec().vocab, rows_b = candidate.spec().vocab;
  const std::int64_t rows = std::min(rows_a, rows_b);
  const auto differs = [&](const std::string& how) {
    return Error{"mismatch",
                 "The vocabulary differs from that of the reference (" + how +
                     "); only models with the same tokens can be compared",
                 b.path.string()};
  };
  if (!a.tokenizer || !b.tokenizer) {
    if (rows_a != rows_b)
      return differs(std::to_string(rows_b) + " logits instead of " + std::to_string(rows_a));
    notes.push_back("Without both tokenizers the vocabularies could only be compared by size");
    return rows;
  }
  // Files may pad the token list; what counts is the tokens that are in use.
  const auto used = [](const Tokenizer& t, std::int32_t id) {
    return t.token_kind(id) != TokenKind::unused && !t.token(id).empty();
  };
  const auto tokens_a = a.tokenizer->vocab_size(), tokens_b = b.tokenizer->vocab_size();
  std::int64_t respelled = 0;
  for (std::int32_t id = 0; id < std::max(tokens_a, tokens_b); ++id) {
    const bool in_a = id < tokens_a && used(*a.tokenizer, id);
    const bool in_b = id < tokens_b && used(*b.tokenizer, id);
    if (!in_a && !in_b)
      continue;
    const auto kind_a = in_a ? a.tokenizer->token_kind(id) : TokenKind::unused;
    const auto kind_b = in_b ? b.tokenizer->token_kind(id) : TokenKind::unused;
    if (in_a != in_b) {
      if (id >= rows) // a token that one of the models cannot even score
        return differs("token " + std::to_string(id) + " exists in only one of them");
      ++respelled;
      continue;
    }
    if (a.tokenizer->token(id) == b.tokenizer->token(id))
      continue;
    if (kind_a == TokenKind::normal && kind_b == TokenKind::normal)
      return differs("token " + std::to_string(id) + " is \"" + b.tokenizer->token(id) +
                     "\" instead of \"" + a.tokenizer->token(id) + "\"");
    ++respelled; // special tokens are often written differently by converters
  }
  if (respelled > 0) {
    // Fillers and special tokens; anything more means another tokenizer.
    if (respelled * 50 > std::max(tokens_a, tokens_b) + 1000)
      return differs(std::to_string(respelled) + " tokens");
    notes.push_back(std::to_string(respelled) +
                    " special or filler tokens are spelled differently; compared by id");
  }
  if (rows_a != rows_b)
    notes.push_back(std::to_string(std::max(rows_a, rows_b) - rows) + " padding rows of " +
                    (rows_a > rows_b ? a.name : b.name) + " are left out of the comparison");
  return rows;
}

/// What accumulates for one candidate.
struct Pair {
  Engine* engine = nullptr;
  std::unique_ptr<Sequence> sequence;
  std::int64_t rows = 0; ///< leading logits compared
  RunningMean nll, kld, difference;
  std::vector<double> all_kld;
  std::int64_t same_top = 0;
  double seconds = 0;
};

std::int64_t index_of_max(std::span<const float> x) {
  return std::max_element(x.begin(), x.end()) - x.begin();
}

/// Linear interpolation between order statistics.
double quantile(std::vector<double> values, double q) {
  if (values.empty())
    return 0;
  const double at = q * double(values.size() - 1);
  const auto low = std::size_t(at);
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(low), values.end());
  const double a = values[low];
  if (low + 1 >= values.size())
    return a;
  const double b = *std::min_element(values.begin() + std::ptrdiff_t(low) + 1, values.end());
  return a + (b - a) * (at - double(low));
}

/// KL(p || q) of softmaxed logits, f64.
double kl_divergence(std::span<const float> p, double p_norm, std::span<const float> q,
                     double q_norm) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double log_p = double(p[i]) - p_norm;
    if (log_p > -200) // smaller ones add less than any rounding (and -inf must not become NaN)
      sum += std::exp(log_p) * (log_p - (double(q[i]) - q_norm));
  }
  return sum;
}

} // namespace

Result<CompareReport> compare(Engine& reference, std::span<Engine* const> candidates,
                              Engine* reference_rounded, const EvalText& text, Feedback& feedback,
                              const std::function<void(const CompareReport&)>& on_window) {
  TRY_ASSIGN(const Windows windows, cut(reference.checkpoint(), text));
  CompareReport out;
  out.notes = context_notes(reference, text.context);
  std::vector<Pair> pairs;
  for (Engine* engine : candidates) {
    CompareResult model;
    model.path = engine->checkpoint().path.string();
    model.bytes = engine->checkpoint().bytes();
    Pair pair;
    pair.engine = engine;
    TRY_ASSIGN(pair.rows, shared_vocabulary(reference, *engine, model.notes));
    for (auto& note : context_notes(*engine, text.context))
      model.notes.push_back(std::move(note));
    out.models.push_back(std::move(model));
    pairs.push_back(std::move(pair));
  }
  if (reference_rounded) {
    Pair pair;
    pair.engine = reference_rounded;
    pair.rows = reference.spec().vocab;
    pairs.push_back(std::move(pair));
  } else {
    out.notes.push_back("The noise floor was not measured");
  }
  TRY_ASSIGN(const auto sequence, reference.new_sequence(text.context));
  for (Pair& pair : pairs) {
    TRY_ASSIGN(pair.sequence, pair.engine->new_sequence(text.context));
  }

  // Reference logits of the positions in hand: a whole window, or pieces of it where the
  // vocabulary is so large that a window would not fit the budget.
  constexpr std::int64_t budget = 256 << 20;
  const auto vocab = std::int64_t(reference.spec().vocab);
  const std::int64_t piece = std::clamp<std::int64_t>(budget / (vocab * 4), 1, windows.scored());
  std::vector<float> logits(std::size_t(piece * vocab));
  RunningMean reference_nll;

  feedback.total = std::uint64_t(windows.count);
  feedback.done = 0;
  for (std::int64_t w = 0; w < windows.count; ++w) {
    const auto ids = windows.window(w);
    sequence->clear();
    RunningMean window_nll;
    std::vector<RunningMean> pair_nll(pairs.size()), pair_kld(pairs.size());
    for (Pair& pair : pairs)
      pair.sequence->clear();
    for (std::int64_t scored = 0; scored < windows.scored(); scored += piece) {
      const std::int64_t n = std::min(piece, windows.scored() - scored);
      // ids fed now: everything up to the first scored position, or just the next piece.
      const std::int64_t begin = scored == 0 ? 0 : windows.first_scored() + scored;
      const std::int64_t first = windows.first_scored() + scored;
      const auto part = std::span(ids).subspan(std::size_t(begin), std::size_t(first + n - begin));
      std::vector<double> nll(static_cast<std::size_t>(n));
      const auto start = std::chrono::steady_clock::now();
      TRY(reference.forward(
          *sequence, part, first - begin,
          [&](std::int64_t index, std::span<const float> row) -> Result<void> {
            const std::int64_t at = index + begin - first;
            nll[std::size_t(at)] = nll_of(row, ids[std::size_t(index + begin + 1)]);
            if (!std::isfinite(nll[std::size_t(at)]))
              return bad_logits(reference, w, index + begin);
            reference_nll.add(nll[std::size_t(at)]);
            window_nll.add(nll[std::size_t(at)]);
            std::copy(row.begin(), row.end(), logits.begin() + at * vocab);
            return {};
          },
          &feedback));
      out.reference_seconds += seconds_since(start);
      for (std::size_t k = 0; k < pairs.size(); ++k) {
        Pair& pair = pairs[k];
        const auto rows = std::size_t(pair.rows);
        const auto pair_start = std::chrono::steady_clock::now();
        TRY(pair.engine->forward(
            *pair.sequence, part, first - begin,
            [&](std::int64_t index, std::span<const float> row) -> Result<void> {
              const std::int64_t at = index + begin - first;
              const std::int32_t target = ids[std::size_t(index + begin + 1)];
              const double own = nll_of(row, target);
              const auto q = row.first(rows);
              const auto p = std::span<const float>(logits).subspan(std::size_t(at * vocab), rows);
              const double kld = kl_divergence(p, log_sum_exp(p), q, log_sum_exp(q));
              if (!std::isfinite(own) || std::isnan(kld))
                return bad_logits(*pair.engine, w, index + begin);
              pair.nll.add(own);
              pair.kld.add(kld);
              pair.difference.add(own - nll[std::size_t(at)]);
              pair.all_kld.push_back(kld);
              pair.same_top += index_of_max(p) == index_of_max(q);
              pair_nll[k].add(own);
              pair_kld[k].add(kld);
              return {};
            },
            &feedback));
        pair.seconds += seconds_since(pair_start);
      }
    }
    out.reference_perplexity = std::exp(reference_nll.mean());
    out.reference_stderr = out.reference_perplexity * reference_nll.standard_error();
    out.reference_window_nll.push_back(window_nll.mean());
    const bool last = w + 1 == windows.count;
    for (std::size_t k = 0; k < out.models.size(); ++k) {
      const Pair& pair = pairs[k];
      CompareResult& model = out.models[k];
      model.perplexity = std::exp(pair.nll.mean());
      model.perplexity_stderr = model.perplexity * pair.nll.standard_error();
      model.reference_perplexity = out.reference_perplexity;
      model.ppl_ratio = model.perplexity / out.reference_perplexity;
      model.ppl_ratio_stderr = model.ppl_ratio * pair.difference.standard_error();
      model.kld_mean = pair.kld.mean();
      model.kld_stderr = pair.kld.standard_error();
      model.tokens = pair.kld.count;
      model.top1_agreement = double(pair.same_top) / double(pair.kld.count);
      model.seconds = pair.seconds;
      model.window_nll.push_back(pair_nll[k].mean());
      model.window_kld.push_back(pair_kld[k].mean());
      if (last || on_window) {
        model.kld_median = quantile(pair.all_kld, 0.5);
        model.kld_p99 = quantile(pair.all_kld, 0.99);
        model.kld_max = *std::max_element(pair.all_kld.begin(), pair.all_kld.end());
      }
    }
    if (reference_rounded)
      out.noise_floor = pairs.back().kld.mean();
    feedback.advance(1);
    if (on_window)
      on_window(out);
  }
  return out;
}

} // namespace bitlathe
