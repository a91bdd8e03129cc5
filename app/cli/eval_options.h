// SPDX-License-Identifier: GPL-3.0-or-later
// Options that perplexity and compare share.
#pragma once

#include "app/cli/steps.h"
#include "core/eval/judged_text.h"

namespace bitlathe {

/// --text FILE or --ids FILE, --context N, --chunks N.
Result<JudgedFile> eval_text_from_options(const Invocation& invocation, const Checkpoint& model);

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
    memory_cap_option,
};

} // namespace bitlathe
