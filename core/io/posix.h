// SPDX-License-Identifier: Apache-2.0
// What the file functions share: a file descriptor that closes itself, and errno as an Error.
#pragma once

#include "core/io/files.h"

#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace bitlathe {

class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int number) : number_(number) {}
  FileHandle(FileHandle&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileHandle() { close(); }

  bool valid() const { return number_ >= 0; }
  int get() const { return number_; }
  /// 0, or -1 with errno.
  int close() {
    const int number = std::exchange(number_, -1);
    return number < 0 ? 0 : ::close(number);
  }

 private:
  int number_ = -1;
};

/// "Cannot DOING: why", with "no-space" for a full disk, quota or size limit.
Error errno_error(const std::string& doing, const fs::path& path, int number);

/// Different at every call in this process and from every other running process of this machine.
std::string unique_suffix();

} // namespace bitlathe
