// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/isa.h"

#include "kernels/base/parallel.h"
#include "kernels/cpu/kernels.h"

#include <algorithm>
#include <cpuid.h>
#include <cstdlib>
#include <cstring>

namespace bitlathe {

namespace cpu {
namespace scalar {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace avx512vnni {
extern const Kernels kernels;
}
} // namespace cpu

std::string_view isa_name(Isa isa) {
  switch (isa) {
  case Isa::scalar:
    return "scalar";
  case Isa::avx2:
    return "avx2";
  case Isa::avx512:
    return "avx512";
  case Isa::avx512vnni:
    return "avx512vnni";
  }
  return "scalar";
}

namespace {

/// Clang 14 does not know "f16c" by name; the registers are those of AVX.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

} // namespace

std::vector<Isa> supported_isas() {
  static const std::vector<Isa> found = [] {
    std::vector<Isa> isas{Isa::scalar};
    // __builtin_cpu_supports also asks the operating system whether it keeps the registers.
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
          __builtin_cpu_supports("bmi2") && has_f16c()))
      return isas;
    isas.push_back(Isa::avx2);
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
      return isas;
    isas.push_back(Isa::avx512);
    if (__builtin_cpu_supports("avx512vnni"))
      isas.push_back(Isa::avx512vnni);
    return isas;
  }();
  return found;
}

namespace {

std::string names(const std::vector<Isa>& isas) {
  std::string list;
  for (const Isa isa : isas)
    list += (list.empty() ? "" : ", ") + std::string(isa_name(isa));
  return list;
}

Result<Isa> read_environment() {
  const auto supported = supported_isas();
  const char* text = std::getenv("BITLATHE_ISA");
  if (!text || !*text)
    return supported.back();
  const std::string wanted = text;
  const std::vector<Isa> all{Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512vnni};
  for (const Isa isa : all) {
    if (wanted != isa_name(isa))
      continue;
    if (std::find(supported.begin(), supported.end(), isa) != supported.end())
      return isa;
    return Error{"not-available",
                 "BITLATHE_ISA asks for " + wanted + ", which this processor (" + cpu_brand() +
                     ") does not have; it has " + names(supported),
                 "BITLATHE_ISA"};
  }
  return Error{"bad-argument",
               "BITLATHE_ISA is \"" + wanted + "\"; it must be one of " + names(all),
               "BITLATHE_ISA"};
}

} // namespace

Result<Isa> isa_from_environment() {
  static const Result<Isa> once = read_environment();
  return once;
}

Result<void> check_environment() {
  TRY(check_thread_environment());
  if (const auto isa = isa_from_environment(); !isa)
    return isa.error();
  return {};
}

const cpu::Kernels& cpu_kernels(Isa isa) {
  switch (isa) {
  case Isa::scalar:
    return cpu::scalar::kernels;
  case Isa::avx2:
    return cpu::avx2::kernels;
  case Isa::avx512:
    return cpu::avx512::kernels;
  case Isa::avx512vnni:
    return cpu::avx512vnni::kernels;
  }
  return cpu::scalar::kernels;
}

const cpu::Kernels& active_cpu_kernels() {
  static const cpu::Kernels& active = [&]() -> const cpu::Kernels& {
    const auto isa = isa_from_environment();
    return cpu_kernels(isa ? *isa : Isa::scalar);
  }();
  return active;
}

std::string cpu_brand() {
  unsigned highest = __get_cpuid_max(0x80000000u, nullptr);
  if (highest < 0x80000004u)
    return "CPU";
  char text[49] = {};
  for (unsigned i = 0; i < 3; ++i) {
    unsigned r[4];
    __get_cpuid(0x80000002u + i, &r[0], &r[1], &r[2], &r[3]);
    std::memcpy(text + 16 * i, r, 16);
  }
  std::string brand = text;
  while (!brand.empty() && brand.back() == ' ')
    brand.pop_back();
  brand.erase(0, std::min(brand.find_first_not_of(' '), brand.size()));
  return brand.empty() ? "CPU" : brand;
}

} // namespace bitlathe
