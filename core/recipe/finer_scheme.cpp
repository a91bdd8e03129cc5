// SPDX-License-Identifier: Apache-2.0
#include "core/recipe/finer_scheme.h"

#include "core/methods/method.h"

#include <array>
#include <cctype>

namespace bitlathe {

namespace {

/// Chains of GGUF types and of others without a number in their names, coarse to fine.
constexpr std::array<std::array<std::string_view, 8>, 9> chains{{
    {"tq1_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q8_0"}, // ternary, as tq2_0 is
    {"tq2_0", "q2_k"},
    {"iq4_xs", "q5_k", "q6_k", "q8_0"},
    {"iq4_nl", "q5_0", "q8_0"},
    {"q4_0", "q5_0", "q8_0"},
    {"q4_1", "q5_1", "q8_0"},
    {"mxfp4", "q5_0", "q8_0"},
    {"nvfp4", "f8_e4m3-channel"},
    {"ternary", "int3-g64-asym"},
}};

bool can_be_made(const std::string& id) {
  const auto scheme = parse_scheme(id);
  return scheme.ok() && scheme->quantized && cannot_encode(*scheme).empty();
}

/// "int4-g128-asym" -> "int5-g128-asym": the first number of the name grows.
std::string with_bits(const std::string& id, std::size_t at, int bits) {
  return id.substr(0, at) + std::to_string(bits) + id.substr(at + 1);
}

} // namespace

std::string finer_scheme(const Scheme& scheme) {
  const std::string& id = scheme.id;
  if (!scheme.quantized)
    return {};
  for (const std::string_view kind : {"int", "codebook"})
    if (id.compare(0, kind.size(), kind) == 0 && id.size() > kind.size() &&
        std::isdigit(static_cast<unsigned char>(id[kind.size()]))) {
      const int bits = id[kind.size()] - '0';
      // Seven bits take the room of eight in every runtime.
      for (const int more : {3, 4, 5, 6, 8})
        if (more > bits && can_be_made(with_bits(id, kind.size(), more)))
          return with_bits(id, kind.size(), more);
      return {};
    }
  for (const auto& chain : chains)
    for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
      const bool here =
          chain[i] == id || (chain[i] == "ternary" && id.compare(0, 8, "ternary-") == 0);
      for (std::size_t next = i + 1; here && next < chain.size() && !chain[next].empty(); ++next)
        if (can_be_made(std::string(chain[next])))
          return std::string(chain[next]);
    }
  if (scheme.bits < 8)
    for (const char* other : {"int8-channel-sym", "q8_0"})
      if (can_be_made(other))
        return other;
  return {};
}

} // namespace bitlathe
