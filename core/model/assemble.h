// SPDX-License-Identifier: Apache-2.0
// What the readers of checkpoints share: from named weights to a model with roles, order, notes and
// the answer to "can it run".
#pragma once

#include "core/model/checkpoint.h"

namespace bitlathe {

/// The values of a stored float tensor as a weight (vectors: 1 x n; more than two dimensions: all
/// but the last are rows). A type that is not f32, f16 or bf16 gives a scheme without a family.
QTensor plain_weight(const StoredTensor& tensor);
/// The same contents without a copy; `tensor` must stay alive.
QTensor view_of(const QTensor& tensor);
/// A module with views of the same weights, without its activation scheme; `module` must stay
/// alive.
Module view_of(const Module& module);
/// [out, in] of a weight when the container does not say it.
std::vector<std::int64_t> matrix_shape(const QTensor& weight);

/// The architecture that a config.json names, or nullptr.
const Arch* arch_of(const Json& config);
std::string architecture_name(const Json& config);

/// Attaches `bias` to the module of the same name if it fits (a vector as long as the outputs).
bool attach_bias(Module& module, QTensor bias);

/// Sets role, layer and linear from the module's name and shape.
void describe_module(Module& module);

/// Fills architecture, modules, spec or why_not_runnable, and notes. `found` are the weights by
/// Hugging Face name; `tensors` all tensors of the container. A reason given in
/// `checkpoint.why_not_runnable` beforehand is kept.
void assemble(Checkpoint& checkpoint, std::vector<Module> found,
              const std::vector<StoredTensor>& tensors, const std::string& where);

/// Adds a line about tensors that belong to no module.
void note_others(Checkpoint& checkpoint);

/// Reads config.json, lists side files and opens the tokenizer of a Hugging Face folder. A missing
/// or broken config.json becomes `why_not_runnable`.
void read_folder_files(Checkpoint& checkpoint, const fs::path& folder);

} // namespace bitlathe
