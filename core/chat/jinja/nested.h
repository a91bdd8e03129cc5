// SPDX-License-Identifier: Apache-2.0
// Recursion that ends before the stack does.
#pragma once

#include "core/chat/jinja/value.h"

#include <cstddef>

namespace bitlathe::jinja {

/// Counts levels of recursion and the stack they take, whatever a build makes of the frames.
class StackGuard {
 public:
  StackGuard() : base_(static_cast<const char*>(__builtin_frame_address(0))) {}
  void check(int line) const {
    const auto* here = static_cast<const char*>(__builtin_frame_address(0));
    const auto used = here < base_ ? base_ - here : here - base_;
    if (used > most)
      fail("The template is nested too deeply, or a macro calls itself without end", line);
  }

 private:
  static constexpr std::ptrdiff_t most = std::ptrdiff_t(1) << 20;
  const char* base_;
};

} // namespace bitlathe::jinja
