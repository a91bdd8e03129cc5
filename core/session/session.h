// SPDX-License-Identifier: Apache-2.0
// A session (*.bitlathe): a saved workbench, as JSON. It names the checkpoint, kept results and
// other files by their paths and holds figures, prompts and votes itself.
#pragma once

#include "core/eval/eval.h"
#include "core/recipe/recipe.h"

#include <map>
#include <optional>

namespace bitlathe {

/// One finished quantization of the session's checkpoint.
struct SessionVariant {
  std::string title;  ///< "int4-g128-asym rtn"
  std::string result; ///< folder of the kept result, which may have been cleaned up; or empty
  Recipe recipe;
  std::uint64_t bytes = 0;
  double bits_per_weight = 0;
  double seconds = 0;    ///< that it took
  std::string made;      ///< ISO 8601, local time with its offset
  bool baseline = false; ///< one scheme everywhere, made to be compared with
  std::optional<CompareResult> figures;
  std::string judged_on;  ///< text, context and windows of the figures, for people
  double noise_floor = 0; ///< of the comparison that gave the figures
};

struct Session {
  std::string checkpoint; ///< as written; paths are absolute or relative to the session's file
  Recipe recipe;
  std::string result;     ///< of the current variant; empty: none
  std::string statistics; ///< activation statistics; empty: none
  std::vector<std::string> selection, contenders;
  std::string second; ///< the checkpoint looked at beside the first
  std::optional<CompareReport> compare;
  std::vector<SessionVariant> variants;
  /// What parts of the window keep, by their own keys: "transcripts", "desk", "attribution",
  /// "speed", "tasks", ... Each is made and read by a struct of core.
  std::map<std::string, Json> stages;

  const Json& stage(const std::string& key) const; ///< null when there is none
};

/// Whether a file is a session, by its content.
bool is_session(const fs::path& path);
/// Errors: "not-found", "io", "bad-file", "unsupported" for another version; members of the wrong
/// type that cannot be done without are errors, figures that cannot be read are left out.
Result<Session> read_session(const fs::path& path);
/// Atomic: the old file stays until the new one is complete.
Result<void> write_session(const Session& session, const fs::path& path);
/// A path of the session, which may be relative to its file.
fs::path session_path(const fs::path& session_file, const std::string& path);

} // namespace bitlathe
