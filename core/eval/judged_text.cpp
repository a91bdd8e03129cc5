// SPDX-License-Identifier: Apache-2.0
#include "core/eval/judged_text.h"

#include "core/base/lenient_json.h"
#include "core/calib/sets.h"
#include "core/io/files.h"
#include "core/model/content.h"

#include <algorithm>

namespace bitlathe {

Result<JudgedFile> read_judged_text(const Checkpoint& checkpoint, const CalibrationFile& file,
                                    std::int64_t context, std::int64_t chunks, bool documents) {
  JudgedFile out;
  const bool lines = file.path.ends_with(".jsonl") || file.path.ends_with(".ndjson");
  if (file.split.empty() && file.field.empty() && !(documents && lines)) {
    TRY_ASSIGN(const std::string content, read_file(file.path, std::uint64_t(1) << 30));
    out.source = {file.path, content_hash(content), {}, 0};
    TRY_ASSIGN(out.text, make_eval_text(checkpoint, content, context, chunks));
    return out;
  }
  TRY_ASSIGN(SetTokens set, read_set(checkpoint, file));
  out.source = std::move(set.source);
  out.notes = std::move(set.notes);
  out.text = {std::move(set.ids), context, chunks};
  const auto have = std::int64_t(out.text.ids.size());
  if (have / 2 < context)
    return Error{
        "bad-argument",
        (file.split.empty() ? std::string("The text") : "The part \"" + file.split + "\"") +
            " has " + std::to_string(have) + " tokens; two windows of " + std::to_string(context) +
            " are needed",
        file.path};
  if (file.split == "calibration")
    out.notes.push_back(file.path +
                        ": judges on the part \"calibration\", which is there to calibrate on");
  return out;
}

std::string judged_on(const JudgedFile& judged) {
  const std::int64_t context = std::max<std::int64_t>(1, judged.text.context);
  std::int64_t windows = std::int64_t(judged.text.ids.size()) / context;
  if (judged.text.chunks > 0)
    windows = std::min(windows, judged.text.chunks);
  std::string out = std::filesystem::path(judged.source.path).filename().string();
  if (out.empty())
    out = "text";
  if (!judged.source.content.empty())
    out += " [" + judged.source.content.substr(0, 8) + "]";
  if (!judged.source.split.empty()) {
    out += " (" + judged.source.split;
    if (judged.source.split_seed != 0)
      out += ", seed " + std::to_string(judged.source.split_seed);
    out += ")";
  }
  return out + ", " + std::to_string(windows) + " windows of " + std::to_string(context) +
         " tokens";
}

OrderedJson judged_to_json(const JudgedFile& judged) {
  return {{"on", judged_on(judged)},        {"path", judged.source.path},
          {"split", judged.source.split},   {"split_seed", judged.source.split_seed},
          {"context", judged.text.context}, {"chunks", judged.text.chunks}};
}

Result<JudgedFile> read_judged_again(const Checkpoint& checkpoint, const Json& json) {
  CalibrationFile file;
  file.path = lenient::text(json, "path");
  file.split = lenient::text(json, "split");
  file.split_seed = lenient::integer(json, "split_seed");
  if (file.path.empty())
    return Error{"not-found", "Which text was measured on is not known", {}};
  const std::int64_t context = lenient::integer(json, "context");
  if (context < 4)
    return Error{"bad-file", "The length of the windows is missing", file.path};
  TRY_ASSIGN(JudgedFile judged,
             read_judged_text(checkpoint, file, context,
                              std::max<std::int64_t>(0, lenient::integer(json, "chunks")), true));
  if (judged_on(judged) != lenient::text(json, "on"))
    return Error{"mismatch", "The text changed since it was measured on", file.path};
  return judged;
}

std::vector<std::string> overlap_notes(const std::filesystem::path& checkpoint,
                                       const JudgedFile& judged, const std::string& name) {
  const CalibrationRecord record = find_record(checkpoint);
  if (record.empty())
    return {};
  return overlap_notes(
      record, {judged.source, judged.text.ids, judged.text.context, judged.text.chunks}, name);
}

namespace {

/// What sets of tasks call the text that a model reads.
std::string prompt_field(const std::string& tasks) {
  const std::string head = first_bytes(tasks, 1 << 20);
  const auto line = parse_json(std::string_view(head).substr(0, head.find('\n')), tasks);
  if (line && line->is_object())
    for (const char* field : {"prompt", "question", "ctx", "text"})
      if (line->contains(field))
        return field;
  return "prompt";
}

} // namespace

std::vector<std::string> task_overlap_notes(const Checkpoint& checkpoint,
                                            const std::string& tasks) {
  const CalibrationRecord record = find_record(checkpoint.path);
  if (record.empty() || !checkpoint.tokenizer)
    return {};
  CalibrationFile prompts;
  prompts.path = tasks;
  prompts.field = prompt_field(tasks);
  const auto set = read_set(checkpoint, prompts);
  if (!set)
    return {"Whether " + checkpoint.path.string() +
            " was calibrated on these tasks is not known: " + set.error().text()};
  const auto have = std::int64_t(set->ids.size());
  return overlap_notes(record, {set->source, set->ids, std::min<std::int64_t>(128, have), 0},
                       checkpoint.path.string());
}

} // namespace bitlathe
