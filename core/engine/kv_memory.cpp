// SPDX-License-Identifier: Apache-2.0
#include "core/engine/kv_memory.h"

#include <limits>

namespace bitlathe {

KvScheme kv_scheme_of(const Checkpoint& checkpoint, const EngineOptions& options) {
  if (options.kv)
    return *options.kv;
  // Halves move single logits by more than 1e-3: too much for what others are measured against.
  if (!checkpoint.quantized() && checkpoint.kv_keys == "f16" && checkpoint.kv_values == "f16")
    return {"f32", "f32"};
  return {checkpoint.kv_keys, checkpoint.kv_values};
}

Result<std::uint64_t> kv_bytes_per_token(const ModelSpec& spec, const KvScheme& kv) {
  TRY_ASSIGN(const KvLayout keys, kv_layout(kv.keys, spec.head_dim));
  TRY_ASSIGN(const KvLayout values, kv_layout(kv.values, spec.head_dim));
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(std::uint64_t(keys.row_bytes + values.row_bytes),
                             std::uint64_t(spec.kv_heads), &bytes) ||
      __builtin_mul_overflow(bytes, std::uint64_t(spec.layers), &bytes))
    return std::numeric_limits<std::uint64_t>::max();
  return bytes;
}

OrderedJson kv_memory_json(const ModelSpec& spec, const KvScheme& kv) {
  OrderedJson json{{"k", kv.keys}, {"v", kv.values}};
  const auto per_token = kv_bytes_per_token(spec, kv);
  if (!per_token) {
    json["problem"] = per_token.error().message;
    return json;
  }
  json["bytes_per_token"] = *per_token;
  json["lengths"] = OrderedJson::array();
  const std::int64_t trained = spec.context > 0 ? spec.context : 4096;
  const auto add = [&](std::int64_t tokens) {
    json["lengths"].push_back({{"tokens", tokens}, {"bytes", *per_token * std::uint64_t(tokens)}});
  };
  for (std::int64_t tokens = 512; tokens < trained; tokens *= 4)
    add(tokens);
  add(trained);
  return json;
}

} // namespace bitlathe
