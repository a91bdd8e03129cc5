// SPDX-License-Identifier: Apache-2.0
// How keys and values are stored, and what they cost in memory.
#pragma once

#include "core/engine/engine.h"

namespace bitlathe {

/// How an engine stores keys and values: as asked, as recorded with the checkpoint, or f32 for an
/// unquantized one with nothing but the default recorded.
KvScheme kv_scheme_of(const Checkpoint& checkpoint, const EngineOptions& options);

/// Bytes that one more token takes in all layers together. Errors as kv_layout().
Result<std::uint64_t> kv_bytes_per_token(const ModelSpec& spec, const KvScheme& kv);

/// {"k", "v", "bytes_per_token", "lengths": [{"tokens", "bytes"}]}: at some lengths up to the
/// trained one, which is the last; "problem" where a scheme does not fit the model's heads.
OrderedJson kv_memory_json(const ModelSpec& spec, const KvScheme& kv);

} // namespace bitlathe
