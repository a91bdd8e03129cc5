// SPDX-License-Identifier: Apache-2.0
// What exports of one model to several formats share, so that it is done once.
#pragma once

#include "core/io/files.h"

#include <map>

namespace bitlathe {

struct ExportMemo {
  /// Hashes of the source's files, by path; a file of another size or age is hashed again.
  struct Hash {
    std::uint64_t bytes = 0;
    fs::file_time_type written;
    std::string sha256;
  };
  std::map<fs::path, Hash> hashes;
  /// What the model computes for these tokens, [ids][vocabulary].
  std::vector<std::int32_t> ids;
  std::vector<float> logits;
};

} // namespace bitlathe
