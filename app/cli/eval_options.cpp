// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/eval_options.h"

#include "app/cli/steps.h"

namespace bitlathe {

Result<JudgedFile> eval_text_from_options(const Invocation& invocation, const Checkpoint& model) {
  JudgedFile out;
  TRY_ASSIGN(out.text.context, invocation.integer("context", 512, 4));
  TRY_ASSIGN(out.text.chunks, invocation.integer("chunks", 0, 0));
  TRY_ASSIGN(auto ids, given_ids(invocation));
  if (ids) {
    out.text.ids = std::move(*ids);
    return out;
  }
  if (!invocation.has("text"))
    return usage_error("--text FILE (or --ids FILE) is needed");
  const auto file = parse_calibration_file(invocation.text("text"));
  if (!file)
    return usage_error("--text: " + file.error().message);
  return read_judged_text(model, *file, out.text.context, out.text.chunks);
}

} // namespace bitlathe
