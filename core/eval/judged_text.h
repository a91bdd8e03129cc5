// SPDX-License-Identifier: Apache-2.0
// The text that a checkpoint is judged on, from a file or one of its parts, and whether the
// checkpoint has met it in its calibration.
#pragma once

#include "core/calib/record.h"
#include "core/eval/eval.h"

namespace bitlathe {

struct JudgedFile {
  EvalText text;
  CalibrationSource source; ///< without a path when only ids are known
  std::vector<std::string> notes;
};
/// A whole text by the rule of `make_eval_text`; what names a field or a part (CalibrationFile) is
/// read as calibration sets are, document after document, and so is any .jsonl file with
/// `documents`. Errors name the file.
Result<JudgedFile> read_judged_text(const Checkpoint& checkpoint, const CalibrationFile& file,
                                    std::int64_t context, std::int64_t chunks,
                                    bool documents = false);

/// "evaluation.txt [1f2e3d4c], 8 windows of 256 tokens": figures with the same words were measured
/// on the same tokens. The brackets hold the beginning of the content's hash.
std::string judged_on(const JudgedFile& judged);
/// What it takes to read the text again, for sessions: {"on", "path", "split", ...}.
OrderedJson judged_to_json(const JudgedFile& judged);
/// Error "mismatch" when the file is not the same any more.
Result<JudgedFile> read_judged_again(const Checkpoint& checkpoint, const Json& json);

/// Says where a checkpoint is judged on what it was calibrated on (`find_record`).
std::vector<std::string> overlap_notes(const std::filesystem::path& checkpoint,
                                       const JudgedFile& judged, const std::string& name);
/// The same for the prompts of a file of tasks, read by the checkpoint's own tokenizer.
std::vector<std::string> task_overlap_notes(const Checkpoint& checkpoint, const std::string& tasks);

} // namespace bitlathe
