// SPDX-License-Identifier: Apache-2.0
// SHA-256 of what is written and of whole files.
#pragma once

#include "core/io/files.h"

namespace bitlathe {

/// Takes bytes as they come.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::span<const std::byte> bytes);
  /// 64 hexadecimal digits; once, at the end.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes files as the other write_files() does; `hashes` gets the SHA-256 of each.
Result<void> write_files(const fs::path& folder, const std::vector<FileToWrite>& files,
                         Feedback* feedback, std::vector<std::string>& hashes);

/// Of a whole file, read in pieces. Files that have not changed since are not read again.
Result<std::string> sha256_of_file(const fs::path& path, const Feedback* feedback = nullptr);

} // namespace bitlathe
