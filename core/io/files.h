// SPDX-License-Identifier: Apache-2.0
// Files: read-only maps, whole small files, and writing that leaves either everything or nothing.
#pragma once

#include "kernels/base/feedback.h"
#include "kernels/base/result.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

namespace fs = std::filesystem;

/// A file mapped read-only for as long as the object lives.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const fs::path& path);
  virtual ~MappedFile() = default;
  virtual std::span<const std::byte> bytes() const = 0;
  virtual const fs::path& path() const = 0;
  /// Tells the kernel that a range will not be needed again soon.
  virtual void forget(std::span<const std::byte> range) const = 0;
};

/// The whole of a file of at most `limit` bytes.
Result<std::string> read_file(const fs::path& path, std::uint64_t limit = 256u << 20);
/// Replaces a file atomically: temporary name in the same folder, fsync, rename, fsync of the
/// folder.
Result<void> write_file(const fs::path& path, std::string_view content);

/// A file written front to back under its final name's folder; every write is checked ("no-space"
/// when the disk is full). Nothing is left behind unless close() succeeded.
class OutputFile {
 public:
  static Result<std::unique_ptr<OutputFile>> create(const fs::path& path);
  virtual ~OutputFile() = default;
  virtual Result<void> write(std::span<const std::byte> bytes) = 0;
  virtual Result<void> close() = 0; ///< flushes and fsyncs
  virtual std::uint64_t size() const = 0;
};

/// A file yet to be written: its exact size is known, its contents are made when asked for, front
/// to back and in pieces. What they are made from must stay alive.
struct FileToWrite {
  fs::path name; ///< relative to the folder that it goes into
  std::uint64_t bytes = 0;
  std::function<Result<void>(OutputFile&)> write; ///< writes exactly `bytes` bytes
};
FileToWrite text_file(fs::path name, std::string content);
/// The same contents under the same name.
Result<FileToWrite> copied_file(const fs::path& source);
/// Writes them in the order of the list, so that what makes a checkpoint loadable can come last.
/// Advances `feedback` by the bytes written.
Result<void> write_files(const fs::path& folder, const std::vector<FileToWrite>& files,
                         Feedback* feedback = nullptr);

/// A folder that appears complete or not at all: files are written to `staging()` beside the
/// target, and commit() moves them into place. The destructor removes the staging folder when
/// commit() was not reached. An existing non-empty target is an error ("bad-argument") unless
/// `replace`; with `replace`, files that the new content does not have are left alone, except stale
/// *.safetensors and *.safetensors.index.json.
class OutputFolder {
 public:
  static Result<std::unique_ptr<OutputFolder>> create(const fs::path& target, bool replace);
  virtual ~OutputFolder() = default;
  virtual const fs::path& staging() const = 0;
  virtual const fs::path& target() const = 0;
  virtual Result<void> commit() = 0;
};

} // namespace bitlathe
