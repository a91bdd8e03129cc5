// SPDX-License-Identifier: GPL-3.0-or-later
// The small models of tests/golden/arch: their descriptions read, their folders written.
#pragma once

#include "core/model/checkpoint.h"
#include "tests/support.h"

#include <QDir>
#include <QTest>

#include <cmath>
#include <fstream>

namespace bitlathe::test {

using Ids = std::vector<std::int32_t>;
using Logits = std::vector<std::vector<float>>;

inline fs::path golden_folder() { return source_dir() / "tests" / "golden" / "arch"; }

/// The integers of tests/reference/arch_common.py: FNV-1a of the name, then splitmix64.
inline std::vector<std::int64_t> hashed_integers(const std::string& name, std::size_t count,
                                                 std::int64_t most) {
  std::uint64_t state = 0xCBF29CE484222325u;
  for (const char c : name)
    state = (state ^ std::uint8_t(c)) * 0x100000001B3u;
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t z = state + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    out.push_back(std::int64_t((z >> 32) % std::uint64_t(2 * most + 1)) - most);
  }
  return out;
}

struct Golden {
  std::string name;
  Json json;
  Ids ids;
  std::vector<Logits> runs; ///< at once; in pieces and one by one when these differ

  const Logits& in_pieces() const { return runs[runs.size() > 1 ? 1 : 0]; }
  const Logits& one_by_one() const { return runs[runs.size() > 1 ? 2 : 0]; }
};

inline Golden read_golden(const std::string& name) {
  Golden out;
  out.name = name;
  auto json = read_json_file(golden_folder() / (name + ".json"));
  if (!json) {
    QTest::qFail(json.error().text().c_str(), __FILE__, __LINE__);
    return out;
  }
  out.json = std::move(*json);
  out.ids = out.json["ids"].get<Ids>();
  const auto vocab = out.json["vocab"].get<std::size_t>();
  std::ifstream file(golden_folder() / (name + ".logits"), std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto row = vocab * 4;
  for (std::size_t at = 0; at + out.ids.size() * row <= bytes.size(); at += out.ids.size() * row) {
    Logits& run = out.runs.emplace_back();
    for (std::size_t t = 0; t < out.ids.size(); ++t) {
      auto& logits = run.emplace_back(vocab);
      for (std::size_t i = 0; i < vocab; ++i)
        logits[i] = load_float(FloatType::f32,
                               reinterpret_cast<const std::byte*>(bytes.data() + at + t * row),
                               std::int64_t(i));
    }
  }
  const std::size_t wanted = out.json["cached_like_prompt"].get<bool>() ? 1 : 3;
  if (out.runs.size() != wanted)
    QTest::qFail("the logits do not fit the description", __FILE__, __LINE__);
  return out;
}

/// "a.*.b" for every layer.
inline std::vector<std::string> expand(const std::string& pattern, std::int64_t layers) {
  const auto star = pattern.find('*');
  if (star == std::string::npos)
    return {pattern};
  std::vector<std::string> out;
  for (std::int64_t i = 0; i < layers; ++i)
    out.push_back(pattern.substr(0, star) + std::to_string(i) + pattern.substr(star + 1));
  return out;
}

inline void put_model(const Golden& golden, FloatType type, const fs::path& folder) {
  fs::create_directories(folder);
  Json config = golden.json["config"];
  config["torch_dtype"] = type == FloatType::f32 ? "float32" : "bfloat16";
  std::ofstream(folder / "config.json") << config.dump(1);
  const auto layers = golden.json["layers"].get<std::int64_t>();
  std::vector<TensorToWrite> list;
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape,
                       std::int64_t most, int shift, double centre) {
    std::size_t count = 1;
    for (const auto n : shape)
      count *= std::size_t(n);
    auto bytes = std::make_shared<std::vector<std::byte>>(count * float_size(type));
    const auto integers = hashed_integers(name, count, most);
    for (std::size_t i = 0; i < count; ++i)
      store_float(type, bytes->data(), std::int64_t(i),
                  float(centre + std::ldexp(double(integers[i]), -shift)));
    list.push_back({name, type == FloatType::f32 ? "F32" : "BF16", shape, bytes->size(),
                    [bytes](OutputFile& file) { return file.write(*bytes); }});
  };
  for (const Json& t : golden.json["tensors"])
    for (const auto& name : expand(t[0], layers))
      add(name, t[1], t[2], t[3], t[4]);
  for (const Json& t : golden.json["stray"])
    for (const auto& name : expand(t[0], layers))
      add(name, t[1], 1, 0, 0);
  const auto written = write_safetensors_folder(folder, std::move(list), 1 << 30);
  QVERIFY2(written.ok(), written.ok() ? "" : written.error().text().c_str());
}

inline std::shared_ptr<const Checkpoint> opened(const fs::path& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint) {
    QTest::qFail(checkpoint.error().text().c_str(), __FILE__, __LINE__);
    return nullptr;
  }
  if (!(*checkpoint)->spec) {
    QTest::qFail((*checkpoint)->why_not_runnable.c_str(), __FILE__, __LINE__);
    return nullptr;
  }
  return *checkpoint;
}

inline void each_golden() {
  QTest::addColumn<QString>("name");
  for (const QString& file :
       QDir(QString::fromStdString(golden_folder().string())).entryList({"*.json"}, QDir::Files))
    QTest::newRow(qPrintable(file.chopped(5))) << file.chopped(5);
}

} // namespace bitlathe::test
