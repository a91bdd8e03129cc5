// SPDX-License-Identifier: Apache-2.0
// How much of the machine other programs use while something is measured. Internal to core/eval.
#pragma once

#include <optional>

namespace bitlathe {

class ProcessorUse {
 public:
  ProcessorUse(); ///< begins now
  /// Share of the processors' time that other programs used since, 0..1. Nothing when the system
  /// does not tell, or the time was too short to tell.
  std::optional<double> others() const;

 private:
  struct Ticks {
    double all = 0, busy = 0, own = 0;
  };
  static std::optional<Ticks> read();
  std::optional<Ticks> begin_;
};

} // namespace bitlathe
