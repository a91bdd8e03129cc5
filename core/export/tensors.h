// SPDX-License-Identifier: Apache-2.0
// What exporters share: tensors to be written from canonical weights, file type labels, folders.
#pragma once

#include "core/export/exporter.h"

namespace bitlathe {

/// Bytes as they are, e.g. codes or scales. They must stay alive until written.
TensorToWrite bytes_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                           std::span<const std::byte> bytes);
/// Bytes held by the tensor itself.
TensorToWrite owned_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                           std::vector<std::byte> bytes);
/// Any weight as plain values of a float type; `row_of` (may be empty) gives the source row of a
/// written row. The weight must stay alive until written.
TensorToWrite float_tensor(std::string name, std::string dtype, std::vector<std::int64_t> shape,
                           const QTensor& weight, FloatType type,
                           std::function<std::int64_t(std::int64_t)> row_of = {});

/// A module's weight in a Hugging Face folder, as plain values of a float type: under its stored
/// name, transposed where its class wants that.
TensorToWrite folder_tensor(const Module& module, FloatType type);

/// A module's bias in a Hugging Face folder, where it has one.
void add_bias(const Module& module, std::vector<TensorToWrite>& tensors);
/// The tensors that belong to no module, as they are; types that safetensors lacks are left out.
void add_others(const Checkpoint& model, std::vector<TensorToWrite>& tensors);

/// Writing that reads a weight, which must stay alive until then, while it is in use.
std::function<Result<void>(OutputFile&)>
with_weight(const QTensor& weight, std::function<Result<void>(OutputFile&)> write);
/// The same for the tensors from `first` on.
void with_weight(const QTensor& weight, std::vector<TensorToWrite>& tensors, std::size_t first);

/// Writes `rows` rows of `row_bytes` bytes that `make_row` fills, some MiB at a time and several
/// rows at once.
Result<void> write_in_pieces(OutputFile& file, std::int64_t rows, std::size_t row_bytes,
                             const std::function<void(std::int64_t row, std::byte* out)>& make_row);

/// "F32", "F16", "BF16".
std::string safetensors_dtype(FloatType type);
/// The float type of the unquantized weights: config.json's torch_dtype, else the most common.
FloatType model_float_type(const Checkpoint& model);

/// Tokenizer and generation files as they are, and config.json with torch_dtype set and the given
/// quantization_config (null: none).
Result<std::vector<FileToWrite>> model_files(const ExportInput& input,
                                             const Json& quantization_config);
/// A folder with these tensors and the model's other files, the checkpoint being the folder.
Result<ExportFiles> folder_files(const ExportInput& input, std::vector<TensorToWrite> tensors,
                                 const Json& quantization_config);
/// The findings every folder of the Hugging Face kind shares: missing configuration or tokenizer
/// files, KV scheme that only this program reads back (unless the format has a place for it).
void examine_folder(const Checkpoint& model, std::vector<Finding>& findings,
                    bool holds_kv_scheme = false);

/// What exporters say that have no place for an order of columns.
inline constexpr const char* refuse_reordered =
    "This exporter writes codes in the order of the columns only; nearest: act-order with "
    "static groups (gptq.static_groups=1)";

/// "a, b, c and 4 more".
std::string name_list(const std::vector<std::string>& names, std::size_t shown = 4);

} // namespace bitlathe
