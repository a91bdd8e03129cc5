// SPDX-License-Identifier: Apache-2.0
// A comparison in tables and charts: of a session, or of `compare` with many candidates.
#pragma once

#include "core/eval/verdict.h"
#include "core/report/document.h"
#include "core/text/tokenizer.h"

namespace bitlathe::report {

struct ComparisonShown {
  const CompareReport& report;
  std::string reference; ///< its name
  std::uint64_t reference_bytes = 0;
  std::vector<std::string> names;       ///< of the candidates
  const Tokenizer* tokenizer = nullptr; ///< for worst tokens; null: ids are shown
  const EvalText* text = nullptr;       ///< the same, for what stands before them
  std::string judged_on;                ///< "evaluation.txt, 32 windows of 256"; may be empty
};

/// One row per model, the reference first: size, perplexity, ratio, divergence, agreement, verdict.
DocumentTable figures_table(const ComparisonShown& shown);
/// One row per candidate: the spread of the divergence, the other direction, drift.
DocumentTable divergence_table(const ComparisonShown& shown);

/// The tables, what may be said of it, divergence along the text, by kind and place of tokens, and
/// the worst tokens of the first candidates.
void add_comparison(const ComparisonShown& shown, std::vector<Block>& out);

} // namespace bitlathe::report
