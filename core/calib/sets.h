// SPDX-License-Identifier: Apache-2.0
// Calibration sets: files of text, of documents or of chats, whole or one of three parts that never
// meet, drawn into windows of tokens; and how much of them was used.
#pragma once

#include "core/calib/record.h"
#include "core/model/checkpoint.h"

#include <array>

namespace bitlathe {

/// Of one file of a set, or of all of them.
struct Coverage {
  std::string path;                          ///< empty: of all
  std::int64_t documents = 0;                ///< lines of a .jsonl file; 1 of a text
  std::int64_t tokens_available = 0;         ///< of the part that may be used
  std::int64_t windows = 0, tokens_used = 0; ///< what was drawn
  std::int64_t vocabulary_seen = 0;          ///< different tokens in what was drawn
  std::int64_t vocabulary_available = 0;     ///< different tokens in what may be used
};

struct CalibrationSet {
  std::vector<std::vector<std::int32_t>> samples;
  Coverage coverage;
  std::vector<Coverage> files; ///< in the order given; a share of no window reads nothing
  std::int64_t vocabulary = 0; ///< tokens the model knows
  CalibrationRecord record;
  std::vector<std::string> notes;
};

/// Windows of `length` tokens drawn from the files by weight with a fixed seed. A .jsonl file gives
/// one document a line: text, or a chat that the checkpoint's template renders. Errors name file,
/// line and cause.
Result<CalibrationSet> draw_calibration(const Checkpoint& checkpoint,
                                        const std::vector<CalibrationFile>& files,
                                        std::int64_t samples, std::int64_t length,
                                        std::int64_t seed);
OrderedJson coverage_to_json(const CalibrationSet& set);

/// The parts of a file. Documents of a .jsonl file, or stretches of a text that end with a line,
/// are put in the order of a hash of seed and content and dealt out by size: six tenths to
/// "calibration", two to "selection", two to "evaluation". Equal documents stay together, and the
/// parts depend on the file and the seed alone, not on model or window.
inline constexpr std::array<std::string_view, 3> split_names{"calibration", "selection",
                                                             "evaluation"};
bool is_split(std::string_view name);

/// The tokens of a file or of a part of it, one document after the other.
struct SetTokens {
  std::vector<std::int32_t> ids;
  std::int64_t documents = 0;
  CalibrationSource source;
  std::vector<std::string> notes;
};
Result<SetTokens> read_set(const Checkpoint& checkpoint, const CalibrationFile& file);

/// "FILE[:field=NAME][:weight=X][:split=PART][:seed=N]"; a file of the whole name goes first.
Result<CalibrationFile> parse_calibration_file(const std::string& text);

} // namespace bitlathe
