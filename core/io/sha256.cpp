// SPDX-License-Identifier: Apache-2.0
#include "core/io/sha256.h"

#include "core/io/posix.h"

#include <cerrno>
#include <map>
#include <mutex>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <tuple>

namespace bitlathe {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

// These calls fail only without memory or without SHA-256 in the library.
Sha256::Sha256() : state_(std::make_unique<State>()) {
  [[maybe_unused]] const int ok = EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
  assert(ok == 1);
}
Sha256::~Sha256() = default;

void Sha256::add(std::span<const std::byte> bytes) {
  [[maybe_unused]] const int ok = EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
  assert(ok == 1);
}

std::string Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  [[maybe_unused]] const int ok = EVP_DigestFinal_ex(state_->context, digest, &length);
  assert(ok == 1);
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (unsigned i = 0; i < length; ++i) {
    out += digits[digest[i] >> 4];
    out += digits[digest[i] & 15];
  }
  return out;
}

namespace {

/// What a file is recognised by: device, inode, size, time of the last change.
using Identity = std::tuple<dev_t, ino_t, off_t, std::int64_t, std::int64_t>;

struct Known {
  std::mutex mutex;
  std::map<Identity, std::string> hashes;
};
Known& known() {
  static Known instance;
  return instance;
}

} // namespace

Result<std::string> sha256_of_file(const fs::path& path, const Feedback* feedback) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid())
    return errno_error("open the file", path, errno);
  struct stat info {};
  if (fstat(file.get(), &info) != 0)
    return errno_error("look at the file", path, errno);
  if (!S_ISREG(info.st_mode))
    return Error{"bad-file", "This is not a regular file", path.string()};
  const Identity identity{info.st_dev, info.st_ino, info.st_size, info.st_ctim.tv_sec,
                          info.st_ctim.tv_nsec};
  {
    const std::lock_guard lock(known().mutex);
    if (const auto it = known().hashes.find(identity); it != known().hashes.end())
      return it->second;
  }
  Sha256 hash;
  std::vector<std::byte> piece(std::size_t(1) << 20);
  for (;;) {
    if (feedback && feedback->stopped())
      return cancelled_error();
    const auto n = ::read(file.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return errno_error("read the file", path, errno);
    if (n == 0)
      break;
    hash.add(std::span(piece).first(std::size_t(n)));
  }
  auto out = hash.finish();
  const std::lock_guard lock(known().mutex);
  known().hashes[identity] = out;
  return out;
}

} // namespace bitlathe
