// SPDX-License-Identifier: Apache-2.0
// The fields around weights are walked by hand, so that a weight of a gigabyte is not copied; the
// protobuf library parses everything else.
#include "core/export/onnx/read.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <limits>
#include <optional>

namespace bitlathe {

namespace {

namespace pb = google::protobuf;
using Wire = pb::internal::WireFormatLite;
using Bytes = std::span<const std::byte>;

/// More than any real graph has. A hostile file could otherwise name millions of empty messages of
/// two bytes that each take a hundred in memory.
constexpr std::size_t most_fields = 4'000'000;

Error broken(const fs::path& path, const std::string& what) {
  return {"bad-file", "This is not a whole ONNX model: " + what, path.string()};
}

/// Calls `take(field, content)` for the length-delimited fields that it wants (when it says true),
/// and collects all others, as they stand, in `rest`. False: the bytes are no message.
template <class Take> bool walk(Bytes bytes, std::string& rest, Take take) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  pb::io::CodedInputStream input(data, int(bytes.size()));
  std::size_t fields = 0;
  while (true) {
    const int start = input.CurrentPosition();
    const std::uint32_t tag = input.ReadTag();
    if (tag == 0)
      return std::size_t(start) == bytes.size();
    if (++fields > most_fields || Wire::GetTagFieldNumber(tag) == 0)
      return false;
    if (Wire::GetTagWireType(tag) == Wire::WIRETYPE_LENGTH_DELIMITED) {
      std::uint32_t length = 0;
      if (!input.ReadVarint32(&length) ||
          length > bytes.size() - std::size_t(input.CurrentPosition()))
        return false;
      const Bytes content = bytes.subspan(std::size_t(input.CurrentPosition()), length);
      if (!input.Skip(int(length)))
        return false;
      if (take(Wire::GetTagFieldNumber(tag), content))
        continue;
    } else if (!Wire::SkipField(&input, tag)) {
      return false;
    }
    const auto end = std::size_t(input.CurrentPosition());
    rest.append(reinterpret_cast<const char*>(data) + start, end - std::size_t(start));
  }
}

/// Elements, or -1 for dimensions that no tensor can have.
std::int64_t checked_count(const std::vector<std::int64_t>& dims) {
  std::int64_t count = 1;
  for (const auto dim : dims) {
    if (dim < 0 || (dim > 0 && count > (std::int64_t(1) << 48) / dim))
      return -1;
    count *= dim;
  }
  return count;
}

std::optional<std::uint64_t> read_number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

/// Files beside the model, mapped once.
class DataFiles {
 public:
  explicit DataFiles(fs::path folder) : folder_(std::move(folder)) {}

  void attach(const onnx::TensorProto& proto, std::uint64_t bytes, OnnxTensor& tensor) {
    std::optional<std::uint64_t> offset = 0, length = bytes;
    for (const auto& entry : proto.external_data()) {
      if (entry.key() == "location")
        tensor.location = entry.value();
      else if (entry.key() == "offset")
        offset = read_number(entry.value());
      else if (entry.key() == "length")
        length = read_number(entry.value());
    }
    const fs::path location(tensor.location);
    const bool outside = tensor.location.empty() || location.is_absolute() ||
                         tensor.location.find('\\') != std::string::npos ||
                         std::find(location.begin(), location.end(), "..") != location.end();
    if (outside)
      tensor.problem = "its data is said to be in \"" + tensor.location +
                       "\", which is no file beside the model";
    else if (!offset || !length)
      tensor.problem = "the place of its data in " + tensor.location + " is no number";
    else if (*length != bytes)
      tensor.problem = "it has " + std::to_string(*length) + " bytes in " + tensor.location +
                       " where its shape needs " + std::to_string(bytes);
    if (!tensor.problem.empty())
      return;
    tensor.offset = *offset;
    auto& file = open_[tensor.location];
    if (!file) {
      auto opened = MappedFile::open(folder_ / location);
      if (!opened) {
        tensor.problem =
            "its data file " + tensor.location + " cannot be opened: " + opened.error().message;
        return;
      }
      file = std::move(*opened);
    }
    const std::uint64_t size = file->bytes().size();
    if (*offset > size || bytes > size - *offset) {
      tensor.problem = "its data would end beyond the end of " + tensor.location + " (" +
                       std::to_string(size) + " bytes)";
      return;
    }
    tensor.data = file->bytes().subspan(std::size_t(*offset), std::size_t(bytes));
    tensor.keep_alive = file;
  }

 private:
  fs::path folder_;
  std::map<std::string, std::shared_ptr<const MappedFile>> open_;
};

template <class To, class List> void append(const List& list, std::vector<std::byte>& out) {
  for (const auto value : list) {
    const auto narrow = static_cast<To>(value);
    const auto* bytes = reinterpret_cast<const std::byte*>(&narrow);
    out.insert(out.end(), bytes, bytes + sizeof narrow);
  }
}

/// Values of the typed fields as raw bytes.
std::vector<std::byte> typed_data(const onnx::TensorProto& proto) {
  std::vector<std::byte> out;
  append<float>(proto.float_data(), out);
  append<double>(proto.double_data(), out);
  append<std::int64_t>(proto.int64_data(), out);
  append<std::uint64_t>(proto.uint64_data(), out);
  switch (onnx_type_bits(proto.data_type())) {
  case 4:
  case 8:
    append<std::uint8_t>(proto.int32_data(), out);
    break;
  case 16:
    append<std::uint16_t>(proto.int32_data(), out);
    break;
  default:
    append<std::int32_t>(proto.int32_data(), out);
  }
  return out;
}

/// Everything but where the data is. 0: there is a problem.
std::uint64_t describe(const onnx::TensorProto& proto, OnnxTensor& tensor) {
  tensor.name = proto.name();
  tensor.type = proto.data_type();
  tensor.dims.assign(proto.dims().begin(), proto.dims().end());
  const int bits = onnx_type_bits(tensor.type);
  const std::int64_t count = checked_count(tensor.dims);
  if (count < 0)
    tensor.problem = "its shape is out of range";
  else if (bits == 0)
    tensor.problem = "its type " + onnx_type_name(tensor.type) + " is not known";
  if (!tensor.problem.empty()) {
    if (count < 0)
      tensor.dims.clear();
    return 0;
  }
  return (std::uint64_t(count) * std::uint64_t(bits) + 7) / 8;
}

OnnxTensor make_tensor(const onnx::TensorProto& proto, std::optional<Bytes> raw,
                       const std::shared_ptr<const MappedFile>& file, DataFiles* beside) {
  OnnxTensor out;
  const std::uint64_t bytes = describe(proto, out);
  if (!out.problem.empty())
    return out;
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    if (beside)
      beside->attach(proto, bytes, out);
    else
      out.problem = "a constant inside of the graph cannot have its data outside";
    return out;
  }
  if (raw) {
    out.data = *raw;
    out.keep_alive = file;
  } else {
    auto own = std::make_shared<std::vector<std::byte>>(typed_data(proto));
    out.data = *own;
    out.keep_alive = own;
  }
  if (out.data.size() != bytes) {
    out.problem = "it has " + std::to_string(out.data.size()) +
                  " bytes of data where its shape needs " + std::to_string(bytes);
    out.data = {};
  }
  return out;
}

} // namespace

int onnx_type_bits(std::int32_t type) {
  // By number; STRING (8) has no size. From 17 on: E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, UINT4, INT4,
  // FLOAT4, E8M0.
  static constexpr std::array bits{0,  32, 8,   8,  16, 16, 32, 64, 0, 8, 16, 64, 32,
                                   64, 64, 128, 16, 8,  8,  8,  8,  4, 4, 4,  8};
  return type > 0 && std::size_t(type) < bits.size() ? bits[std::size_t(type)] : 0;
}

std::string onnx_type_name(std::int32_t type) {
  if (onnx::TensorProto::DataType_IsValid(type))
    return onnx::TensorProto::DataType_Name(onnx::TensorProto::DataType(type));
  return "number " + std::to_string(type);
}

std::int64_t OnnxTensor::count() const { return checked_count(dims); }

const OnnxTensor* OnnxModel::find(const std::string& name) const {
  const auto it = index.find(name);
  return it == index.end() ? nullptr : &initializers[it->second];
}

Result<OnnxTensor> onnx_tensor_of(const onnx::TensorProto& proto) {
  auto own = std::make_shared<std::string>(proto.raw_data());
  std::optional<Bytes> raw;
  if (proto.has_raw_data())
    raw = std::as_bytes(std::span(*own));
  OnnxTensor out = make_tensor(proto, raw, nullptr, nullptr);
  if (raw)
    out.keep_alive = own;
  if (!out.problem.empty())
    return Error{"bad-file", "Constant " + proto.name() + ": " + out.problem, {}};
  return out;
}

Result<OnnxModel> read_onnx(const fs::path& path) {
  OnnxModel out;
  out.path = path;
  TRY_ASSIGN(out.file, MappedFile::open(path));
  const Bytes bytes = out.file->bytes();
  if (bytes.size() > std::size_t(std::numeric_limits<std::int32_t>::max()))
    return broken(path, "it has " + std::to_string(bytes.size()) +
                            " bytes, and no protobuf file can be larger than 2 GiB");
  if (bytes.empty())
    return broken(path, "it is empty");

  std::string model_rest, graph_rest;
  std::vector<Bytes> graphs, stored;
  if (!walk(bytes, model_rest, [&](int field, Bytes content) {
        if (field != onnx::ModelProto::kGraphFieldNumber)
          return false;
        graphs.push_back(content);
        return true;
      }))
    return broken(path, "it is cut off or no protobuf message");
  if (graphs.size() != 1)
    return broken(path, graphs.empty() ? "it has no graph" : "it has several graphs");
  if (!walk(graphs.front(), graph_rest, [&](int field, Bytes content) {
        if (field != onnx::GraphProto::kInitializerFieldNumber)
          return false;
        stored.push_back(content);
        return true;
      }))
    return broken(path, "its graph is cut off or damaged");
  if (!out.proto.ParseFromString(model_rest) ||
      !out.proto.mutable_graph()->ParseFromString(graph_rest))
    return broken(path, "its fields cannot be parsed");

  DataFiles beside(path.parent_path());
  for (const Bytes content : stored) {
    std::string rest;
    std::optional<Bytes> raw;
    onnx::TensorProto proto;
    const bool whole = walk(content, rest, [&](int field, Bytes data) {
      if (field != onnx::TensorProto::kRawDataFieldNumber)
        return false;
      raw = data;
      return true;
    });
    if (!whole || !proto.ParseFromString(rest))
      return broken(path, "initializer " + std::to_string(out.initializers.size()) +
                              " of its graph is damaged");
    out.initializers.push_back(make_tensor(proto, raw, out.file, &beside));
    out.index.emplace(out.initializers.back().name, out.initializers.size() - 1);
  }
  return out;
}

} // namespace bitlathe
