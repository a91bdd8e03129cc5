// SPDX-License-Identifier: Apache-2.0
// What the readers of quantized Hugging Face folders share: the quantization_config, and tensors
// grouped into modules. A reader gives the function that makes a weight of a module's parts.
#pragma once

#include "core/model/checkpoint.h"

namespace bitlathe {

/// The quantization settings of a config.json whose "quant_method" is one of `methods`; nullptr
/// when it has none of them.
const Json* quantization_config(const Json& config, std::span<const std::string_view> methods);
/// Whether a path is a folder with such a config.json.
bool is_quantized_folder(const fs::path& path, std::span<const std::string_view> methods);

/// A checkpoint with the folder's configuration, side files and tokenizer, without weights.
std::shared_ptr<Checkpoint> start_folder(const fs::path& path, std::string_view format);

/// The tensors of one module, by what follows its name: "qweight", "scales".
using Parts = std::map<std::string, const StoredTensor*>;
/// Where a tensor's name ends as a module's name: at the last dot, unless a format has parts with
/// dots in them. npos: the whole name is a part of the module without a name.
using ModuleEnd = std::size_t (*)(const std::string& tensor);
std::size_t last_dot(const std::string& tensor);

/// Makes a quantized module from its parts: fills weight, shape and activations, and names in
/// `used` the parts that it took. False: its parts are plain ones.
using ReadParts = std::function<Result<bool>(const std::string& name, const Parts& parts,
                                             Module& module, std::vector<std::string>& used)>;
/// The modules of a folder. Plain weights are read as they are, biases go to their modules, and
/// what is left goes to the checkpoint's other tensors.
Result<std::vector<Module>> collect_modules(Checkpoint& checkpoint,
                                            const std::vector<StoredTensor>& tensors,
                                            const ReadParts& read, ModuleEnd end = last_dot);

/// Error "bad-file" that names the module.
Error bad_module(const std::string& module, const std::string& what, const std::string& where);
/// The type of scales, an error for what is no float.
Result<FloatType> float_type_of(const StoredTensor& tensor, const std::string& module,
                                const std::string& where);
/// Keeps the files of several parts mapped for as long as the weight lives.
void keep_alive(QTensor& weight, std::initializer_list<const StoredTensor*> parts);

} // namespace bitlathe
