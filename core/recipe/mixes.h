// SPDX-License-Identifier: Apache-2.0
// Mixes: llama.cpp's presets ("Q4_K_M"), which give every tensor of a model its type. All that is
// known of them is here: data and rules in mixes.cpp.
#pragma once

#include "core/model/checkpoint.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

struct Mix {
  std::string_view id;      ///< "Q4_K_M"
  std::string_view base;    ///< scheme of most weights
  std::uint32_t file_type;  ///< llama.cpp's number, general.file_type
  std::string_view summary; ///< one sentence for menus and tooltips
  bool needs_importance = false;
};

/// In the order of menus: smaller files last.
std::span<const Mix> all_mixes();
/// nullptr when there is no such mix; ids are in upper case.
const Mix* find_mix(std::string_view id);
/// For error messages: the mix that is meant by another spelling ("q4_k_m"), or nullptr.
const Mix* mix_spelled_otherwise(std::string_view id);
/// Whether an id is written as mixes are, known or not.
bool looks_like_mix(std::string_view id);

struct MixChoice {
  std::string scheme; ///< empty: the weight keeps its type
  std::string why;    ///< for people, after "mix Q4_K_M"; empty for the mix's base
};

/// What llama-quantize gives every module (in the order of Checkpoint::modules), before shapes that
/// do not divide into blocks fall back. `importance`: with an importance matrix.
std::vector<MixChoice> expand_mix(const Mix& mix, const Checkpoint& checkpoint, bool importance);

/// The mix whose weights a checkpoint has, or nullptr: shapes that fell back count as they must.
const Mix* mix_of(const Checkpoint& checkpoint);

} // namespace bitlathe
