// SPDX-License-Identifier: Apache-2.0
// Which instruction set the CPU kernels run on. Every kernel exists for each of them; the scalar
// ones are the definition that the others are tested against.
#pragma once

#include "kernels/base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

namespace cpu {
struct Kernels;
}
class Compute;

enum class Isa { scalar, avx2, avx512, avx512vnni };

std::string_view isa_name(Isa isa);
/// What this processor and operating system can run, slowest first; scalar is always there.
std::vector<Isa> supported_isas();
/// BITLATHE_ISA, else the best supported one. Error "bad-argument" for an unknown name,
/// "not-available" for one this processor lacks.
Result<Isa> isa_from_environment();
/// Every override by environment that concerns the CPU: BITLATHE_ISA and BITLATHE_THREADS. A
/// program asks once at start, prints the error and exits 1.
Result<void> check_environment();

/// The kernels of one instruction set (which must be supported), and those in use by default
/// (scalar when BITLATHE_ISA is unusable).
const cpu::Kernels& cpu_kernels(Isa isa);
const cpu::Kernels& active_cpu_kernels();

/// The CPU backend on a chosen instruction set, whatever the environment says. For tests and
/// measurements.
Result<std::unique_ptr<Compute>> make_cpu_compute(Isa isa);

/// "AMD EPYC 9654 96-Core Processor".
std::string cpu_brand();

} // namespace bitlathe
