// SPDX-License-Identifier: Apache-2.0
// Weights as compressed-tensors stores them. Nothing is read before it is written.
#pragma once

#include "core/export/compressed_config.h"
#include "core/export/tensors.h"

namespace bitlathe {

/// The tensors of a module: its weight in the form of its kind, or plain, and its bias.
void add_compressed_module(const Module& module, std::vector<TensorToWrite>& out);

TensorToWrite one_float(const std::string& name, float value);

/// The number whose inverse `scale` is, where there is one: readers divide by what is stored.
float stored_inverse(float scale);

} // namespace bitlathe
