// SPDX-License-Identifier: Apache-2.0
// From what a person points at (a cache folder, a manifest, a shard, a config.json, a blob) to the
// folder or file that a reader opens. Decided by content, not by names' endings.
#pragma once

#include "core/io/files.h"

namespace bitlathe {

struct LocatedPath {
  fs::path path;                  ///< for the readers
  std::string name;               ///< better than the path's last part; else empty
  std::vector<std::string> notes; ///< what was chosen among several, and why
};

/// Links are followed to see what is there, but kept in the result. Errors say what the thing is
/// when it is no checkpoint, and name what could be opened instead.
Result<LocatedPath> locate_path(const fs::path& given);

/// Why a path that no reader recognises is no checkpoint.
Error explain_unknown(const fs::path& path, const std::string& known_formats);

/// A better reason than the reader's, when the file that it failed on is no model file at all (a
/// pointer of git, a saved web page); else the same error.
Error explain_failure(Error error, const fs::path& path);

} // namespace bitlathe
