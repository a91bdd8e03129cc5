// SPDX-License-Identifier: GPL-3.0-or-later
// Small helpers for tests: where data is, seeded noise.
#pragma once

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace bitlathe::test {

inline std::filesystem::path source_dir() { return BITLATHE_SOURCE_DIR; }
inline std::filesystem::path demo_model() { return source_dir() / "resources" / "demo"; }

/// Larger reference data that a checkout may have beside it (BITLATHE_DATA, else ../shared/data);
/// tests that use it QSKIP with a reason when it is absent.
inline std::optional<std::filesystem::path> shared_data() {
  const char* given = std::getenv("BITLATHE_DATA");
  const std::filesystem::path path =
      given ? std::filesystem::path(given) : source_dir().parent_path() / "shared" / "data";
  return std::filesystem::exists(path / "README.md") ? std::optional(path) : std::nullopt;
}

inline std::vector<float> normal_noise(std::size_t n, std::uint32_t seed, float deviation = 1.0f) {
  std::mt19937 random(seed);
  std::vector<float> out(n);
  for (auto& x : out) { // Box-Muller by hand: std::normal_distribution differs between libraries
    const double u = (double(random()) + 1.0) / 4294967297.0, v = double(random()) / 4294967296.0;
    x = deviation * float(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v));
  }
  return out;
}

} // namespace bitlathe::test
