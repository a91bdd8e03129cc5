// SPDX-License-Identifier: GPL-3.0-or-later
// The checkpoints of tests/golden/foreign: one file each, with what is known of their weights (see
// tests/reference/make_foreign.py).
#pragma once

#include "core/model/checkpoint.h"
#include "tests/support.h"

#include <QTest>

#include <cstring>
#include <fstream>
#include <map>

namespace bitlathe::test {

struct Foreign {
  Json facts;
  std::map<std::string, QByteArray> files;
  std::vector<float> sums, spots;
};

inline std::vector<float> floats_of(const StoredTensor& tensor) {
  std::vector<float> out(tensor.data.size() / 4);
  std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

inline Foreign read_foreign(const QString& name) {
  Foreign out;
  const auto file = read_safetensors(source_dir() / "tests" / "golden" / "foreign" /
                                     (name.toStdString() + ".safetensors"));
  if (!file) {
    QTest::qFail(file.error().text().c_str(), __FILE__, __LINE__);
    return out;
  }
  for (const StoredTensor& tensor : file->tensors) {
    const auto bytes = [&] {
      return qUncompress(reinterpret_cast<const uchar*>(tensor.data.data()),
                         int(tensor.data.size()));
    };
    if (tensor.name == "case")
      out.facts = Json::parse(bytes().toStdString());
    else if (tensor.name == "sums")
      out.sums = floats_of(tensor);
    else if (tensor.name == "spots")
      out.spots = floats_of(tensor);
    else
      out.files[tensor.name.substr(std::strlen("files/"))] = bytes();
  }
  return out;
}

inline void put(const Foreign& foreign, const fs::path& folder) {
  fs::create_directories(folder);
  for (const auto& [name, bytes] : foreign.files) {
    std::ofstream out(folder / name, std::ios::binary);
    out.write(bytes.constData(), bytes.size());
  }
}

} // namespace bitlathe::test
