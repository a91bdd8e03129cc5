// SPDX-License-Identifier: Apache-2.0
#include "core/job/stream.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace bitlathe {

namespace {
constexpr std::size_t largest_in_memory = std::size_t(64) << 20;
}

Result<Stream> Stream::create(const std::vector<std::int64_t>& tokens, std::int64_t hidden,
                              const std::filesystem::path& folder) {
  Stream out;
  out.hidden_ = hidden;
  for (const std::int64_t n : tokens)
    out.offsets_.push_back(out.offsets_.back() + n);
  const auto values = std::size_t(out.offsets_.back() * hidden);
  const std::size_t bytes = values * sizeof(float);
  if (bytes <= largest_in_memory) {
    out.owned_.resize(values);
    out.data_ = out.owned_.data();
    return out;
  }
  std::string name = (folder / "stream-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  const auto problem = [&](const char* what) {
    const Error error{"io",
                      std::string(what) + " of " + std::to_string(bytes) +
                          " bytes for calibration: " + std::strerror(errno),
                      folder.string()};
    if (file >= 0)
      ::close(file);
    return error;
  };
  if (file < 0)
    return problem("Cannot make a temporary file");
  ::unlink(name.c_str());
  // Reserved now: running out of room later would be a signal, not an error.
  if (const int code = ::posix_fallocate(file, 0, off_t(bytes)); code != 0) {
    errno = code;
    return problem("There is no room for a temporary file");
  }
  void* map = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (map == MAP_FAILED)
    return problem("Cannot map a temporary file");
  ::close(file);
  out.data_ = static_cast<float*>(map);
  out.mapped_ = bytes;
  return out;
}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(offsets_, other.offsets_);
  std::swap(hidden_, other.hidden_);
  std::swap(data_, other.data_);
  std::swap(mapped_, other.mapped_);
  std::swap(owned_, other.owned_);
  return *this;
}

Stream::~Stream() {
  if (mapped_ > 0)
    ::munmap(data_, mapped_);
}

} // namespace bitlathe
