// SPDX-License-Identifier: Apache-2.0
// The residual stream of all calibration samples between two blocks. Large ones live in a file that
// is mapped, so that they do not count against memory. Internal to core/job.
#pragma once

#include "kernels/base/result.h"

#include <filesystem>
#include <span>
#include <vector>

namespace bitlathe {

class Stream {
 public:
  /// Room for samples of the given numbers of tokens; `folder` takes the file, which has no name
  /// and goes away with the object. Error "io" when there is no room.
  static Result<Stream> create(const std::vector<std::int64_t>& tokens, std::int64_t hidden,
                               const std::filesystem::path& folder);
  Stream() = default;
  Stream(Stream&& other) noexcept { *this = std::move(other); }
  Stream& operator=(Stream&& other) noexcept;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  std::int64_t samples() const { return std::int64_t(offsets_.size()) - 1; }
  std::int64_t tokens(std::int64_t sample) const {
    return offsets_[std::size_t(sample) + 1] - offsets_[std::size_t(sample)];
  }
  /// [tokens][hidden]
  std::span<float> sample(std::int64_t index) {
    return {data_ + offsets_[std::size_t(index)] * hidden_, std::size_t(tokens(index) * hidden_)};
  }

 private:
  std::vector<std::int64_t> offsets_{0}; ///< in tokens
  std::int64_t hidden_ = 0;
  float* data_ = nullptr;
  std::size_t mapped_ = 0; ///< bytes of the map; 0: `owned_`
  std::vector<float> owned_;
};

} // namespace bitlathe
