// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/eval_options.h"

namespace bitlathe {

Result<EvalText> eval_text_from_options(const Invocation& invocation, const Checkpoint& model) {
  TRY_ASSIGN(const std::int64_t context, invocation.integer("context", 512, 4));
  TRY_ASSIGN(const std::int64_t chunks, invocation.integer("chunks", 0, 0));
  TRY_ASSIGN(auto ids, given_ids(invocation));
  if (ids) {
    EvalText text;
    text.ids = std::move(*ids);
    text.context = context;
    text.chunks = chunks;
    return text;
  }
  if (!invocation.has("text"))
    return usage_error("--text FILE (or --ids FILE) is needed");
  TRY_ASSIGN(const std::string content, read_text_file(invocation.text("text")));
  return make_eval_text(model, content, context, chunks);
}

} // namespace bitlathe
