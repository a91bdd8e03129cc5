// SPDX-License-Identifier: Apache-2.0
// A folder that appears whole or not at all. The staging folder lies on the target's file system,
// so that commit() is renames only. A lock on it tells a running writer from one that was killed.
#include "core/io/posix.h"

#include <algorithm>
#include <cerrno>
#include <sys/file.h>
#include <sys/stat.h>

namespace bitlathe {

namespace {

constexpr const char* staging_mark = ".partial-";

bool writable_folder(const fs::path& folder) { return ::access(folder.c_str(), W_OK | X_OK) == 0; }

bool same_device(const fs::path& a, const fs::path& b) {
  struct stat first {
  }, second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev;
}

/// Staging folders that a killed process left behind for the same target.
void remove_abandoned(const fs::path& home, const std::string& prefix) {
  std::error_code ignored;
  for (fs::directory_iterator it(home, ignored), end; !ignored && it != end;
       it.increment(ignored)) {
    if (it->path().filename().string().rfind(prefix, 0) != 0)
      continue;
    const FileHandle folder(::open(it->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.valid() && ::flock(folder.get(), LOCK_EX | LOCK_NB) == 0) {
      std::error_code failed;
      fs::remove_all(it->path(), failed);
    }
  }
}

bool stale_when_replacing(const fs::path& file) {
  const auto name = file.filename().string();
  const auto ends = [&](std::string_view tail) {
    return name.size() >= tail.size() &&
           name.compare(name.size() - tail.size(), tail.size(), tail) == 0;
  };
  return ends(".safetensors") || ends(".safetensors.index.json");
}

class PosixFolder final : public OutputFolder {
 public:
  fs::path target_path, staging_path;
  std::vector<fs::path> made_parents; ///< innermost last
  FileHandle lock;
  bool inside_target = false, committed = false;

  ~PosixFolder() override {
    if (committed)
      return;
    std::error_code ignored;
    if (!staging_path.empty())
      fs::remove_all(staging_path, ignored);
    for (auto it = made_parents.rbegin(); it != made_parents.rend(); ++it)
      ::rmdir(it->c_str()); // only if still empty
  }

  const fs::path& staging() const override { return staging_path; }
  const fs::path& target() const override { return target_path; }

  Result<void> commit() override {
    std::error_code failed;
    const bool fresh =
        !inside_target &&
        (!fs::exists(target_path, failed) ||
         (fs::is_directory(target_path, failed) && fs::is_empty(target_path, failed) && !failed));
    if (fresh) {
      // Replaces an empty folder atomically too.
      if (::rename(staging_path.c_str(), target_path.c_str()) != 0)
        return errno_error("put the finished folder in place", target_path, errno);
    } else {
      TRY(move_files());
      fs::remove_all(staging_path, failed);
    }
    committed = true;
    const FileHandle parent(::open(target_path.parent_path().c_str(), O_RDONLY | O_DIRECTORY));
    if (parent.valid())
      fsync(parent.get());
    return {};
  }

 private:
  Result<void> move_files() {
    std::vector<fs::path> fresh_names, stale;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(staging_path, failed))
      fresh_names.push_back(entry.path().filename());
    if (failed)
      return errno_error("list the finished folder", staging_path, failed.value());
    for (const auto& entry : fs::directory_iterator(target_path, failed))
      if (stale_when_replacing(entry.path()) &&
          std::find(fresh_names.begin(), fresh_names.end(), entry.path().filename()) ==
              fresh_names.end())
        stale.push_back(entry.path());
    if (failed)
      return errno_error("list the folder", target_path, failed.value());
    // config.json last: a reader that comes in between sees the old one or a finished folder.
    std::stable_partition(fresh_names.begin(), fresh_names.end(),
                          [](const fs::path& name) { return name != "config.json"; });
    for (const auto& name : fresh_names) {
      if (fs::is_directory(target_path / name, failed))
        fs::remove_all(target_path / name, failed);
      if (::rename((staging_path / name).c_str(), (target_path / name).c_str()) != 0)
        return errno_error("put a finished file in place", target_path / name, errno);
    }
    for (const auto& path : stale)
      if (::unlink(path.c_str()) != 0)
        return errno_error("remove a file of the old checkpoint", path, errno);
    return {};
  }
};

} // namespace

Result<std::unique_ptr<OutputFolder>> OutputFolder::create(const fs::path& target, bool replace) {
  auto folder = std::make_unique<PosixFolder>();
  std::error_code failed;
  if (target.empty())
    return Error{"bad-argument", "No output folder was given", {}};
  folder->target_path = fs::weakly_canonical(fs::absolute(target), failed);
  if (failed)
    return errno_error("use the output folder", target, failed.value());
  auto& path = folder->target_path;
  if (!path.has_filename())
    path = path.parent_path();

  const bool exists = fs::exists(path, failed);
  if (exists && !fs::is_directory(path, failed))
    return Error{"bad-argument", "The output must be a folder, and there is a file of this name",
                 path.string()};
  if (exists) {
    // Names that another run's staging folder has do not count as content.
    bool empty = true;
    for (fs::directory_iterator it(path, failed), end; !failed && it != end; it.increment(failed))
      if (it->path().filename().string().rfind(staging_mark, 0) != 0)
        empty = false;
    if (failed)
      return errno_error("look into the output folder", path, failed.value());
    if (!empty && !replace)
      return Error{"bad-argument",
                   "The output folder is not empty; choose another or allow replacing its files",
                   path.string()};
  } else {
    std::vector<fs::path> missing;
    for (auto parent = path.parent_path(); !fs::exists(parent, failed) && parent.has_filename();
         parent = parent.parent_path())
      missing.push_back(parent);
    for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
      if (::mkdir(it->c_str(), 0777) != 0 && errno != EEXIST)
        return errno_error("create the output folder", *it, errno);
      folder->made_parents.push_back(*it);
    }
  }

  // Beside the target, unless that is another file system (a mount point) or not ours to write to.
  const auto parent = path.parent_path();
  folder->inside_target = exists && (!same_device(parent, path) || !writable_folder(parent));
  const auto home = folder->inside_target ? path : parent;
  const auto prefix = folder->inside_target
                          ? std::string(staging_mark)
                          : std::string(".") + path.filename().string() + staging_mark;
  remove_abandoned(home, prefix);
  const auto staging = home / (prefix + unique_suffix());
  if (::mkdir(staging.c_str(), 0777) != 0)
    return errno_error("create the output folder", path, errno);
  folder->staging_path = staging;
  folder->lock = FileHandle(::open(staging.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder->lock.valid())
    ::flock(folder->lock.get(), LOCK_EX | LOCK_NB);
  return std::unique_ptr<OutputFolder>(std::move(folder));
}

} // namespace bitlathe
