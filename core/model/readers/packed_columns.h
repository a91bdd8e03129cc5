// SPDX-License-Identifier: Apache-2.0
// What the readers of GPTQ and AWQ share: matrices stored as [in, out] brought into rows.
#pragma once

#include "core/io/safetensors.h"
#include "core/model/readers/quantized_folder.h"

namespace bitlathe {

/// "bad-file" about a module, naming the file that the tensor lies in.
Error bad_part(const std::string& module, const std::string& what, const StoredTensor& tensor);
/// The tensor of a module as a matrix of a type, or an error that names it.
Result<const StoredTensor*> packed_matrix(const std::string& module, const Parts& parts,
                                          const char* part, const std::string& where);
/// An error unless the tensor has this shape; `why` says what it follows from.
Result<void> expect_shape(const std::string& module, const char* part, const StoredTensor& tensor,
                          std::int64_t rows, std::int64_t cols, const std::string& why);

/// Turns 32-bit words [rows][cols] into [cols][rows].
void turn_words(std::span<const std::byte> words, std::int64_t rows, std::int64_t cols,
                std::span<std::byte> out);
/// Scales [groups][out] into rows, every one a finite number.
Result<void> turn_scales(const std::string& module, const StoredTensor& scales, FloatType type,
                         std::span<std::byte> out);

} // namespace bitlathe
