// SPDX-License-Identifier: Apache-2.0
// What a result remembers of the text it was calibrated on, so that judging it on the same text is
// noticed later: the files by a hash of their content, and the windows by fingerprints. A
// fingerprint is the hash of 48 tokens in a row; of every 48 that follow one another one is kept,
// chosen by its value, so that a stretch of 95 tokens is found again wherever it starts.
#pragma once

#include "core/recipe/recipe.h"

#include <span>

namespace bitlathe {

struct CalibrationSource {
  std::string path;
  std::string content; ///< hash of the bytes, 16 hexadecimal digits; empty: not known
  std::string split;   ///< the part that was used; empty: the whole file
  std::int64_t split_seed = 0;
  bool operator==(const CalibrationSource&) const = default;
};

struct CalibrationRecord {
  std::vector<CalibrationSource> sources;
  std::vector<std::uint64_t> fingerprints; ///< ascending, each once
  std::int64_t windows = 0;
  bool empty() const { return sources.empty() && fingerprints.empty(); }
  bool operator==(const CalibrationRecord&) const = default;
};

/// Of the bytes of a text: what CalibrationSource::content holds.
std::string content_hash(std::string_view bytes);

/// The fingerprints of windows of tokens.
std::vector<std::uint64_t> fingerprints(const std::vector<std::vector<std::int32_t>>& windows);

/// Of the files that windows were drawn from, and of the windows. Files that cannot be read any
/// more have no hash.
CalibrationRecord make_record(const std::vector<CalibrationFile>& files,
                              const std::vector<std::vector<std::int32_t>>& windows);

/// Which windows (of `context` tokens, as perplexity cuts them) share text with a record.
std::vector<bool> windows_that_overlap(const CalibrationRecord& record,
                                       std::span<const std::int32_t> ids, std::int64_t context);

OrderedJson record_to_json(const CalibrationRecord& record);
Result<CalibrationRecord> record_from_json(const Json& json, const std::string& where);

/// The record of a checkpoint: of a kept result, or of an export that lies with one (a folder
/// .bitlathe in it or beside it). Empty when there is none.
CalibrationRecord find_record(const std::filesystem::path& checkpoint);

/// What a text is judged by, for `overlap_notes`.
struct JudgedText {
  CalibrationSource source; ///< without a path when only ids are known
  std::span<const std::int32_t> ids;
  std::int64_t context = 0, chunks = 0; ///< chunks: 0 = all
};
/// Says plainly where a checkpoint is judged on what it was calibrated on; empty: nowhere that is
/// known.
std::vector<std::string> overlap_notes(const CalibrationRecord& record, const JudgedText& text,
                                       const std::string& checkpoint);

} // namespace bitlathe
