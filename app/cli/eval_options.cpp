// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/eval_options.h"

#include "app/cli/steps.h"

namespace bitlathe {

namespace {

/// A part of a file, or documents of a .jsonl file, one after the other.
Result<void> read_as_set(const CalibrationFile& file, const Checkpoint& model, GivenText& out) {
  TRY_ASSIGN(SetTokens set, read_set(model, file));
  out.source = std::move(set.source);
  out.notes = std::move(set.notes);
  out.text.ids = std::move(set.ids);
  const auto have = std::int64_t(out.text.ids.size());
  if (have < 2 * out.text.context)
    return Error{
        "bad-argument",
        (file.split.empty() ? std::string("The text") : "The part \"" + file.split + "\"") +
            " has " + std::to_string(have) + " tokens; two windows of " +
            std::to_string(out.text.context) + " are needed",
        file.path};
  if (file.split == "calibration")
    out.notes.push_back(file.path +
                        ": judges on the part \"calibration\", which is there to calibrate on");
  return {};
}

} // namespace

Result<GivenText> eval_text_from_options(const Invocation& invocation, const Checkpoint& model) {
  GivenText out;
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
  if (!file->split.empty() || !file->field.empty()) {
    TRY(read_as_set(*file, model, out));
    return out;
  }
  TRY_ASSIGN(const std::string content, read_text_file(file->path));
  out.source = {file->path, content_hash(content), {}, 0};
  TRY_ASSIGN(out.text, make_eval_text(model, content, out.text.context, out.text.chunks));
  return out;
}

std::vector<std::string> overlap_notes(const std::string& checkpoint, const GivenText& given) {
  const CalibrationRecord record = find_record(checkpoint);
  if (record.empty())
    return {};
  return overlap_notes(
      record, {given.source, given.text.ids, given.text.context, given.text.chunks}, checkpoint);
}

} // namespace bitlathe
