// SPDX-License-Identifier: Apache-2.0
// GGUF metadata for people and programs.
#pragma once

#include "core/base/json.h"
#include "core/io/gguf.h"

namespace bitlathe {

/// One object, keys in file order. Arrays of more than `longest` elements become {"type": "string",
/// "length": 128256, "first": [...]} with their first eight elements. Text that is not UTF-8 gets
/// replacement characters; floats that JSON has no number for become strings.
OrderedJson gguf_metadata_json(const GgufMetadata& metadata, std::size_t longest = 32);
/// "u32", "string", "f32[3]".
std::string gguf_type_text(const GgufValue& value);

} // namespace bitlathe
