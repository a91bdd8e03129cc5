// SPDX-License-Identifier: Apache-2.0
// Messages are made by the protobuf library, except for the few bytes around weights: these are
// streamed, and the library would want them in memory.
#include "core/export/onnx/files.h"

#include <algorithm>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <limits>

namespace bitlathe {

namespace {

namespace pb = google::protobuf;
using Wire = pb::internal::WireFormatLite;

constexpr std::uint64_t protobuf_limit = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t smallest_external = 1024; ///< smaller ones stay where they are seen

/// Tag and length of a field that `bytes` bytes follow.
std::string field_start(int field, std::uint64_t bytes) {
  std::string out;
  pb::io::StringOutputStream stream(&out);
  pb::io::CodedOutputStream coded(&stream);
  coded.WriteTag(Wire::MakeTag(field, Wire::WIRETYPE_LENGTH_DELIMITED));
  coded.WriteVarint64(bytes);
  coded.Trim();
  return out;
}

/// Where a weight stands outside of model.onnx.
struct Place {
  std::size_t file = 0;
  std::uint64_t offset = 0;
};

std::string data_file_name(std::size_t index) {
  return "model.onnx_data" + (index == 0 ? std::string() : "_" + std::to_string(index));
}

/// One initializer of model.onnx: the bytes before the weight's own, which follow when `held`.
struct Entry {
  std::string start;
  bool held = true;

  std::uint64_t bytes(const OnnxWeight& weight) const {
    return start.size() + (held ? weight.bytes : 0);
  }
};

Entry make_entry(const OnnxWeight& weight, const Place* place) {
  onnx::TensorProto tensor;
  tensor.set_name(weight.name);
  tensor.set_data_type(weight.type);
  for (const auto dim : weight.dims)
    tensor.add_dims(dim);
  if (place) {
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    const auto add = [&](const char* key, const std::string& value) {
      auto& entry = *tensor.add_external_data();
      entry.set_key(key);
      entry.set_value(value);
    };
    add("location", data_file_name(place->file));
    add("offset", std::to_string(place->offset));
    add("length", std::to_string(weight.bytes));
  }
  std::string message = tensor.SerializeAsString();
  if (!place)
    message += field_start(onnx::TensorProto::kRawDataFieldNumber, weight.bytes);
  const std::uint64_t size = message.size() + (place ? 0 : weight.bytes);
  return {field_start(onnx::GraphProto::kInitializerFieldNumber, size) + message, !place};
}

std::string about_model(const OnnxGraph& graph, const OnnxAbout& about) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("bitlathe");
  model.set_producer_version(BITLATHE_VERSION);
  const auto add_opset = [&](const char* domain, std::int64_t version) {
    auto& opset = *model.add_opset_import();
    opset.set_domain(domain);
    opset.set_version(version);
  };
  add_opset("", 17);
  if (graph.uses_microsoft())
    add_opset("com.microsoft", 1);
  const auto add_fact = [&](const char* key, const std::string& value) {
    auto& fact = *model.add_metadata_props();
    fact.set_key(key);
    fact.set_value(value);
  };
  add_fact("name", about.name);
  add_fact("scheme", about.scheme);
  return model.SerializeAsString();
}

/// Pages, or what Windows maps at a time where that costs little.
std::uint64_t aligned(std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t unit = bytes >= (1u << 20) ? 65536 : 4096;
  return (offset + unit - 1) / unit * unit;
}

Result<void> write_padding(OutputFile& file, std::uint64_t until, std::uint64_t& at) {
  static constexpr std::byte zeros[4096]{};
  while (at < until) {
    const auto n = std::min<std::uint64_t>(sizeof zeros, until - at);
    TRY(file.write(std::span(zeros).first(std::size_t(n))));
    at += n;
  }
  return {};
}

Result<void> write_text(OutputFile& file, const std::string& text) {
  return file.write(std::as_bytes(std::span(text)));
}

using Weights = std::shared_ptr<const std::vector<OnnxWeight>>;

FileToWrite model_file(const OnnxGraph& graph, const std::string& about, const Weights& weights,
                       const std::vector<const Place*>& places) {
  auto entries = std::make_shared<std::vector<Entry>>();
  const std::string nodes = graph.proto().SerializeAsString();
  std::uint64_t size = nodes.size();
  for (std::size_t i = 0; i < weights->size(); ++i) {
    entries->push_back(make_entry((*weights)[i], places[i]));
    size += entries->back().bytes((*weights)[i]);
  }
  const std::string start = about + field_start(onnx::ModelProto::kGraphFieldNumber, size) + nodes;
  return {"model.onnx", start.size() - nodes.size() + size,
          [start, entries, weights](OutputFile& file) -> Result<void> {
            TRY(write_text(file, start));
            for (std::size_t i = 0; i < weights->size(); ++i) {
              TRY(write_text(file, (*entries)[i].start));
              if ((*entries)[i].held)
                TRY((*weights)[i].write(file));
            }
            return {};
          }};
}

} // namespace

std::vector<FileToWrite> onnx_files(OnnxGraph graph, const OnnxAbout& about, std::uint64_t limit) {
  const std::string head = about_model(graph, about);
  graph.proto().set_name(about.name.empty() ? "decoder" : about.name);
  const Weights weights = std::make_shared<std::vector<OnnxWeight>>(graph.take_weights());
  std::vector<const Place*> places(weights->size(), nullptr);
  if (auto whole = model_file(graph, head, weights, places);
      whole.bytes <= std::min(limit, protobuf_limit))
    return {std::move(whole)};

  struct DataFile {
    std::uint64_t size = 0;
    std::vector<std::pair<std::uint64_t, std::size_t>> parts; ///< offset, weight
  };
  std::vector<DataFile> data;
  std::vector<Place> where(weights->size());
  for (std::size_t i = 0; i < weights->size(); ++i) {
    const std::uint64_t bytes = (*weights)[i].bytes;
    if (bytes < smallest_external)
      continue;
    if (data.empty() || aligned(data.back().size, bytes) + bytes > limit)
      data.emplace_back();
    DataFile& file = data.back();
    where[i] = {data.size() - 1, aligned(file.size, bytes)};
    places[i] = &where[i];
    file.parts.emplace_back(where[i].offset, i);
    file.size = where[i].offset + bytes;
  }
  std::vector<FileToWrite> out;
  for (std::size_t i = 0; i < data.size(); ++i)
    out.push_back({data_file_name(i), data[i].size,
                   [parts = std::move(data[i].parts), weights](OutputFile& file) -> Result<void> {
                     std::uint64_t at = 0;
                     for (const auto& [offset, index] : parts) {
                       TRY(write_padding(file, offset, at));
                       TRY((*weights)[index].write(file));
                       at += (*weights)[index].bytes;
                     }
                     return {};
                   }});
  out.push_back(model_file(graph, head, weights, places));
  return out;
}

} // namespace bitlathe
