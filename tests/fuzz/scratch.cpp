// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fuzz/fuzz.h"

#include <cstdlib>
#include <fstream>
#include <string>
#include <unistd.h>

namespace bitlathe::fuzz {

namespace {

/// Removed when the process ends.
struct Folder {
  Folder() {
    namespace fs = std::filesystem;
    std::error_code failed;
    const fs::path base =
        fs::is_directory("/dev/shm", failed) ? fs::path("/dev/shm") : fs::temp_directory_path();
    path = base / ("bitlathe-fuzz-" + std::to_string(::getpid()));
    fs::create_directories(path, failed);
  }
  ~Folder() {
    std::error_code failed;
    std::filesystem::remove_all(path, failed);
  }
  std::filesystem::path path;
};

} // namespace

std::filesystem::path scratch_file(std::string_view name, std::string_view content) {
  static const Folder folder;
  const auto path = folder.path / name;
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(content.data(), std::streamsize(content.size()));
  return path;
}

} // namespace bitlathe::fuzz
