// SPDX-License-Identifier: Apache-2.0
// Rotary positions of any configuration: default, linear, dynamic, llama3, yarn, longrope; and the
// same in GGUF files.
#pragma once

#include "core/arch/common.h"

namespace bitlathe {

/// "rope_parameters" (transformers 5) or "rope_scaling"; where there is one entry per layer type,
/// that of `layer_type` ("full_attention" unless said otherwise). nullptr: none.
const Json* rope_settings(const Json& config, std::string_view layer_type = {});

/// Values of a head that turn: head_dim * "partial_rotary_factor" (or another key), also when it
/// stands among the rope parameters.
Result<std::int64_t> rotary_dims(const Json& config, std::int64_t head_dim, double otherwise,
                                 const std::string& where,
                                 const char* key = "partial_rotary_factor");

/// Everything of `out` for `dims` turning values. `theta_key` is the key at the top level;
/// `settings` may be null. `context` is the trained length.
struct RopeSource {
  const Json* settings = nullptr;
  const char* theta_key = "rope_theta";
  double theta = 10000;
  std::int64_t dims = 0, context = 0;
};
Result<void> read_rope(const Json& config, const RopeSource& source, RopeSpec& out,
                       const std::string& where);

/// What a GGUF file says about rotary positions, as "rope_theta", "rope_scaling" and
/// "partial_rotary_factor" of a config.json. The type "factors" is this program's own: any
/// divisors, spelled out.
Result<void> rope_from_gguf(const GgufKeys& keys, std::int64_t head_dim, Json& config);

/// Keys below PREFIX.rope., the tensors that go with them, what differs for some lengths (notes)
/// and what would be wrong for all (problems).
struct GgufRope {
  GgufMetadata metadata;
  std::vector<std::pair<std::string, std::vector<float>>> tensors;
  std::vector<std::string> notes, problems;
};
GgufRope rope_to_gguf(std::string_view architecture, const ModelSpec& spec);
/// Whether a tensor is one of those, read into the configuration.
bool is_rope_tensor(std::string_view name);

} // namespace bitlathe
