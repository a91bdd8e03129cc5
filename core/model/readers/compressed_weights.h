// SPDX-License-Identifier: Apache-2.0
// One module of a compressed-tensors folder: from its stored parts to a weight in canonical form.
#pragma once

#include "core/model/readers/compressed_settings.h"
#include "core/model/readers/quantized_folder.h"

namespace bitlathe {

/// What was met while reading, for the notes.
struct CompressedReading {
  const std::string& where; ///< config.json
  std::uint64_t copied = 0, repacked = 0, ordered = 0, blocks = 0;
  std::int64_t widened = 0;                           ///< weights held as floats
  std::map<std::string, std::int64_t> float_inputs{}; ///< modules by what is not run
};

/// Fills weight, shape and activations.
Result<void> read_compressed_weight(const std::string& name, const Parts& parts,
                                    const CompressedSettings& settings, CompressedReading& reading,
                                    Module& module);
/// What a module's parts may be called.
std::vector<std::string> compressed_parts();

/// One element of a float type.
std::optional<float> single_float(const StoredTensor& tensor);

/// 4-bit floats [rows][cols / 2], the even column in the low nibble, with a scale per 16 (E4M3) or
/// 32 (a power of two) columns: to blocks of nvfp4 and mxfp4. Codes and scales are kept; where a
/// scale is negative, its sign goes to the codes. False: a scale is no number.
bool nvfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> scales,
                  std::int64_t rows, std::int64_t cols, std::span<std::byte> out);
bool mxfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> scales,
                  std::int64_t rows, std::int64_t cols, std::span<std::byte> out);

} // namespace bitlathe
