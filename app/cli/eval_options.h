// SPDX-License-Identifier: GPL-3.0-or-later
// Options that perplexity and compare share.
#pragma once

#include "app/cli/verb.h"
#include "core/calib/record.h"
#include "core/eval/eval.h"

namespace bitlathe {

struct GivenText {
  EvalText text;
  CalibrationSource source; ///< without a path for ids
  std::vector<std::string> notes;
};
/// --text FILE or --ids FILE, --context N, --chunks N.
Result<GivenText> eval_text_from_options(const Invocation& invocation, const Checkpoint& model);

/// Says where a checkpoint is judged on what it was calibrated on.
std::vector<std::string> overlap_notes(const std::string& checkpoint, const GivenText& given);

inline constexpr VerbOption eval_options[] = {
    {"text", "FILE[:field=NAME][:split=PART][:seed=N]",
     "Text to score; with field or split read as calibration sets are."},
    {"ids", "FILE", "A JSON list of token ids instead of text."},
    {"context", "N", "Window length in tokens (default 512)."},
    {"chunks", "N", "At most this many windows (default: all)."},
    {"kv", "K[,V]",
     "KV cache schemes to run with (default: the model's own); compare: of the candidates."},
    {"activations", "A",
     "Activation scheme to run quantized modules with (default: the model's own); compare: of the "
     "candidates."},
};

} // namespace bitlathe
