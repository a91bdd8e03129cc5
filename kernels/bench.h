// SPDX-License-Identifier: Apache-2.0
// How fast the kernels of a backend are, each beside what this machine can do.
#pragma once

#include "kernels/compute/compute.h"

#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

/// Measured, not looked up: reading a large array with all threads, and independent fused
/// multiply-adds (products of bytes) in registers on all threads.
struct MachineSpeed {
  double memory_gb_per_s = 0, gflops = 0, int8_gops = 0;
  int threads = 0;
};
MachineSpeed measure_machine();

struct KernelSpeed {
  std::string name, backend;
  double gb_per_s = 0; ///< bytes read and written
  double gflops = 0; ///< 0 where arithmetic is not the point; integer operations for int8 products
  /// Of the machine's memory bandwidth or arithmetic rate, whichever the kernel is nearer to. 0 on
  /// backends other than the CPU, whose limits are not measured here.
  double fraction_of_peak = 0;
};

/// Names for `only` below, in the order they are measured.
std::vector<std::string_view> bench_kernel_names();
/// Measures all kernels, or the one called `only` ("bad-argument" when there is none of that name).
/// Takes about `seconds_each` per kernel.
Result<std::vector<KernelSpeed>> bench_kernels(Compute& compute, const MachineSpeed& machine,
                                               std::string_view only = {},
                                               double seconds_each = 0.2,
                                               const Feedback* feedback = nullptr);

} // namespace bitlathe
