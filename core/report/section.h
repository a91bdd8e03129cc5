// SPDX-License-Identifier: Apache-2.0
// A section of the report on a session: one file in core/report/sections/ and one word in
// core/CMakeLists.txt. Their order is the report's.
#pragma once

#include "core/job/result_store.h"
#include "core/report/document.h"
#include "core/session/session.h"
#include "kernels/compute/compute.h"

#include <memory>
#include <optional>
#include <span>

namespace bitlathe::report {

/// A session and what it names, opened.
struct Input {
  Session session;
  fs::path file; ///< of the session; empty when it was never saved
  std::shared_ptr<const Checkpoint> checkpoint;
  std::shared_ptr<const Checkpoint> result; ///< of the current variant; null: none, or gone
  std::optional<KeptResult> kept;           ///< its manifest
  std::optional<Plan> plan;                 ///< of the session's recipe
  std::vector<std::string> notes;           ///< what could not be opened, and why
};

struct SectionKind {
  const char* id;
  const char* title;
  /// Adds to `out`; a section without blocks is left out. Reading weights goes through `compute`.
  Result<void> (*make)(const Input& input, Compute& compute, Feedback& feedback,
                       std::vector<Block>& out);
};

} // namespace bitlathe::report

namespace bitlathe {
std::span<const report::SectionKind* const> all_report_sections();
} // namespace bitlathe
