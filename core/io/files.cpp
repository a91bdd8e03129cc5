// SPDX-License-Identifier: Apache-2.0
#include "core/io/files.h"

#include "core/io/mapped.h"

#include "core/io/posix.h"
#include "core/io/sha256.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>

namespace bitlathe {

Error errno_error(const std::string& doing, const fs::path& path, int number) {
  std::string code = "io";
  if (number == ENOENT)
    code = "not-found";
  else if (number == ENOSPC || number == EDQUOT || number == EFBIG)
    code = "no-space";
  std::string why = std::strerror(number);
  if (number == EROFS)
    why = "the file system is read-only";
  else if (number == ENOSPC)
    why = "the disk is full";
  else if (number == EDQUOT)
    why = "the disk quota is used up";
  else if (number == EFBIG)
    why = "the file would grow past the allowed size";
  else if (number == EACCES || number == EPERM)
    why = "permission denied";
  else if (number == ENOENT)
    why = "there is no such file or folder";
  return {code, "Cannot " + doing + ": " + why, path.string()};
}

namespace {

/// Where files are mapped: begin -> end.
class Maps {
 public:
  static Maps& instance() {
    static auto* const maps = new Maps; // files may outlive every static object
    return *maps;
  }
  void add(std::span<const std::byte> range) {
    const std::lock_guard lock(mutex_);
    ends_[range.data()] = range.data() + range.size();
  }
  void remove(std::span<const std::byte> range) {
    const std::lock_guard lock(mutex_);
    ends_.erase(range.data());
  }
  bool holds(std::span<const std::byte> range) {
    const std::lock_guard lock(mutex_);
    auto it = ends_.upper_bound(range.data());
    return !range.empty() && it != ends_.begin() &&
           range.data() + range.size() <= std::prev(it)->second;
  }

 private:
  std::mutex mutex_;
  std::map<const std::byte*, const std::byte*> ends_;
};

/// Whole pages inside the range only: its neighbours may still be in use.
void give_back(std::span<const std::byte> range) {
  const auto page = std::uintptr_t(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(range.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(range.data()) + range.size()) / page * page;
  if (begin < end)
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

class PosixMap final : public MappedFile {
 public:
  PosixMap(fs::path path, void* base, std::size_t size)
      : path_(std::move(path)), base_(base), size_(size) {
    if (base_)
      Maps::instance().add(bytes());
  }
  ~PosixMap() override {
    if (!base_)
      return;
    Maps::instance().remove(bytes());
    munmap(base_, size_);
  }
  std::span<const std::byte> bytes() const override {
    return {static_cast<const std::byte*>(base_), size_};
  }
  const fs::path& path() const override { return path_; }
  void forget(std::span<const std::byte> range) const override { give_back(range); }

 private:
  fs::path path_;
  void* base_;
  std::size_t size_;
};

/// Opens a regular file for reading; never blocks on a pipe or device.
Result<FileHandle> open_regular(const fs::path& path, std::uint64_t& size) {
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid())
    return errno_error("open the file", path, errno);
  struct stat info {};
  if (fstat(file.get(), &info) != 0)
    return errno_error("look at the file", path, errno);
  if (!S_ISREG(info.st_mode))
    return Error{"bad-file",
                 S_ISDIR(info.st_mode) ? "This is a folder, not a file"
                                       : "This is not a regular file",
                 path.string()};
  size = std::uint64_t(info.st_size);
  return file;
}

Result<void> sync_folder(const fs::path& folder) {
  const FileHandle handle(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some network file systems cannot sync folders; the rename itself has been done by then.
  if (handle.valid() && fsync(handle.get()) != 0 && errno != EINVAL && errno != EROFS)
    return errno_error("flush the folder", folder, errno);
  return {};
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

class PosixOutput final : public OutputFile {
 public:
  PosixOutput(FileHandle file, fs::path path, fs::path temporary)
      : file_(std::move(file)), path_(std::move(path)), temporary_(std::move(temporary)) {
    buffer_.reserve(buffer_size);
  }
  ~PosixOutput() override {
    if (!done_)
      ::unlink(temporary_.c_str());
  }

  Result<void> write(std::span<const std::byte> bytes) override {
    size_ += bytes.size();
    if (bytes.size() < buffer_size - buffer_.size()) {
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
      return {};
    }
    TRY(flush());
    if (bytes.size() < buffer_size) {
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
      return {};
    }
    return put(bytes);
  }

  Result<void> close() override {
    TRY(flush());
    if (fsync(file_.get()) != 0)
      return errno_error("write the file", path_, errno);
    if (file_.close() != 0)
      return errno_error("write the file", path_, errno);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
      return errno_error("put the file in place", path_, errno);
    done_ = true;
    return sync_folder(parent_of(path_));
  }

  std::uint64_t size() const override { return size_; }

 private:
  Result<void> flush() {
    const auto result = put(buffer_);
    buffer_.clear();
    return result;
  }
  Result<void> put(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      // The kernel takes at most 2 GiB in one call.
      const auto part = std::min<std::size_t>(bytes.size(), std::size_t(64) << 20);
      const auto n = ::write(file_.get(), bytes.data(), part);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return errno_error("write the file", path_, n < 0 ? errno : ENOSPC);
      bytes = bytes.subspan(std::size_t(n));
    }
    return {};
  }

  static constexpr std::size_t buffer_size = 1 << 20;
  FileHandle file_;
  fs::path path_, temporary_;
  std::vector<std::byte> buffer_;
  std::uint64_t size_ = 0;
  bool done_ = false;
};

/// Counts and hashes what goes through, and ends it when the user does. Large pieces are cut, so
/// that stopping does not wait for a whole tensor.
class WatchedFile final : public OutputFile {
 public:
  WatchedFile(OutputFile& file, Feedback* feedback, Sha256* hash)
      : file_(file), feedback_(feedback), hash_(hash) {}
  Result<void> write(std::span<const std::byte> bytes) override {
    constexpr std::size_t most = std::size_t(8) << 20;
    do {
      const auto piece = bytes.first(std::min(most, bytes.size()));
      bytes = bytes.subspan(piece.size());
      if (feedback_ && feedback_->stopped())
        return cancelled_error();
      TRY(file_.write(piece));
      if (hash_)
        hash_->add(piece);
      if (feedback_)
        feedback_->advance(piece.size());
    } while (!bytes.empty());
    return {};
  }
  Result<void> close() override { return file_.close(); }
  std::uint64_t size() const override { return file_.size(); }

 private:
  OutputFile& file_;
  Feedback* feedback_;
  Sha256* hash_;
};

Result<void> write_all(const fs::path& folder, const std::vector<FileToWrite>& files,
                       Feedback* feedback, std::vector<std::string>* hashes) {
  for (const FileToWrite& item : files) {
    const auto path = folder / item.name;
    TRY_ASSIGN(const auto file, OutputFile::create(path));
    std::optional<Sha256> hash;
    if (hashes)
      hash.emplace();
    WatchedFile watched(*file, feedback, hash ? &*hash : nullptr);
    TRY(item.write(watched));
    if (file->size() != item.bytes)
      return Error{"internal",
                   "The file was written with " + std::to_string(file->size()) +
                       " bytes instead of " + std::to_string(item.bytes),
                   path.string()};
    TRY(file->close());
    if (hashes)
      hashes->push_back(hash->finish());
  }
  return {};
}

} // namespace

std::string unique_suffix() {
  static std::atomic<unsigned> counter{0};
  return std::to_string(getpid()) + "-" + std::to_string(counter.fetch_add(1));
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const fs::path& path) {
  std::uint64_t size = 0;
  TRY_ASSIGN(const FileHandle file, open_regular(path, size));
  void* base = nullptr;
  if (size > 0) {
    base = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
    if (base == MAP_FAILED)
      return errno_error("map the file", path, errno);
  }
  return std::shared_ptr<const MappedFile>(std::make_shared<PosixMap>(path, base, size));
}

Result<std::string> read_file(const fs::path& path, std::uint64_t limit) {
  std::uint64_t size = 0;
  TRY_ASSIGN(const FileHandle file, open_regular(path, size));
  if (size > limit)
    return Error{"bad-file",
                 "The file has " + std::to_string(size) + " bytes; at most " +
                     std::to_string(limit) + " are expected here",
                 path.string()};
  std::string text(size, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const auto n = ::read(file.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return errno_error("read the file", path, errno);
    if (n == 0)
      break; // it shrank since its size was taken
    done += std::size_t(n);
  }
  text.resize(done);
  return text;
}

Result<std::unique_ptr<OutputFile>> OutputFile::create(const fs::path& path) {
  const auto temporary =
      parent_of(path) / (std::string(".") + path.filename().string() + ".part-" + unique_suffix());
  FileHandle file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file.valid())
    return errno_error("create the file", path, errno);
  return std::unique_ptr<OutputFile>(
      std::make_unique<PosixOutput>(std::move(file), path, temporary));
}

FileToWrite text_file(fs::path name, std::string content) {
  const auto bytes = content.size();
  return {std::move(name), bytes, [held = std::move(content)](OutputFile& file) {
            return file.write(std::as_bytes(std::span(held)));
          }};
}

bool is_mapped(std::span<const std::byte> range) { return Maps::instance().holds(range); }

void forget_mapped(std::span<const std::byte> range) {
  if (is_mapped(range))
    give_back(range);
}

Result<FileToWrite> copied_file(const fs::path& source) {
  TRY_ASSIGN(const auto content, MappedFile::open(source));
  return FileToWrite{source.filename(), content->bytes().size(),
                     [content](OutputFile& file) { return file.write(content->bytes()); }};
}

Result<void> write_files(const fs::path& folder, const std::vector<FileToWrite>& files,
                         Feedback* feedback) {
  return write_all(folder, files, feedback, nullptr);
}

Result<void> write_files(const fs::path& folder, const std::vector<FileToWrite>& files,
                         Feedback* feedback, std::vector<std::string>& hashes) {
  return write_all(folder, files, feedback, &hashes);
}

Result<void> write_file(const fs::path& path, std::string_view content) {
  TRY_ASSIGN(const auto file, OutputFile::create(path));
  TRY(file->write(std::as_bytes(std::span(content))));
  return file->close();
}

} // namespace bitlathe
