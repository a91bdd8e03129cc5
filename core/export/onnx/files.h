// SPDX-License-Identifier: Apache-2.0
// An ONNX graph as files: one model.onnx, or one with its weights in model.onnx_data beside it.
#pragma once

#include "core/export/onnx/graph.h"

namespace bitlathe {

/// What is written into the model beside the graph.
struct OnnxAbout {
  std::string name, scheme;
};

/// One file while it stays below `limit` and below what protobuf can read (2 GiB); else weights of
/// 1 KiB and more go to files of at most `limit` bytes each, which come first in the list.
std::vector<FileToWrite> onnx_files(OnnxGraph graph, const OnnxAbout& about, std::uint64_t limit);

} // namespace bitlathe
