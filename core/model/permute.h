// SPDX-License-Identifier: Apache-2.0
// The row order of query and key matrices in GGUF files of architecture llama, whose rotary
// positions pair neighbours: within a head of size hd, GGUF row 2j + t is Hugging Face row
// t * hd/2 + j. Rows are whole blocks, so packed weights are only shuffled.
#pragma once

#include <cstdint>

namespace bitlathe {

/// The Hugging Face row that GGUF row `row` holds.
inline std::int64_t hf_row_of_gguf(std::int64_t row, std::int64_t head_dim) {
  const auto in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

/// The GGUF row that holds Hugging Face row `row`.
inline std::int64_t gguf_row_of_hf(std::int64_t row, std::int64_t head_dim) {
  const auto in_head = row % head_dim, half = head_dim / 2;
  return row - in_head + in_head % half * 2 + in_head / half;
}

} // namespace bitlathe
