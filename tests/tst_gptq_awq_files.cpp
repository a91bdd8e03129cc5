// SPDX-License-Identifier: GPL-3.0-or-later
// Exports in GPTQ's and AWQ's layouts: every word against a slow packer written from the formats'
// definition, at any size and number of threads, on every architecture.
#include "core/export/packed_columns.h"
#include "tests/arch_golden.h"
#include "tests/packed_files.h"

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

/// Bits of a stream of codes, as words.
std::vector<std::uint32_t> stream(const std::vector<unsigned>& codes, int bits) {
  std::vector<std::uint32_t> out((codes.size() * std::size_t(bits) + 31) / 32);
  for (std::size_t i = 0; i < codes.size(); ++i)
    for (int b = 0; b < bits; ++b) {
      const auto bit = i * std::size_t(bits) + std::size_t(b);
      out[bit / 32] |= (codes[i] >> b & 1u) << (bit % 32);
    }
  return out;
}

/// Codes and groups by column of the weight.
struct Columns {
  std::vector<std::int64_t> position;
  explicit Columns(const QTensor& weight) : position(std::size_t(weight.cols)) {
    for (std::int64_t i = 0; i < weight.cols; ++i)
      position[std::size_t(weight.column_order ? (*weight.column_order)[std::size_t(i)] : i)] = i;
  }
};

void same_words(const StoredTensor& tensor, const std::vector<std::int64_t>& shape,
                const std::vector<std::uint32_t>& wanted) {
  QCOMPARE(tensor.dtype, std::string("I32"));
  QCOMPARE(tensor.shape, shape);
  for (std::size_t i = 0; i < wanted.size(); ++i)
    QVERIFY2(word(tensor, i) == wanted[i], (tensor.name + " word " + std::to_string(i)).c_str());
}

void same_scales(const StoredTensor& tensor, const QTensor& weight) {
  QCOMPARE(tensor.dtype, std::string("F16"));
  QCOMPARE(tensor.shape, (std::vector{group_count(weight), weight.rows}));
  for (std::int64_t g = 0; g < group_count(weight); ++g)
    for (std::int64_t row = 0; row < weight.rows; ++row)
      QCOMPARE(load_float(FloatType::f16, tensor.data.data(), g * weight.rows + row),
               scale_of(weight, row, g));
}

void check_gptq(const std::map<std::string, StoredTensor>& stored, const Module& module, bool v1) {
  const QTensor& weight = module.weight;
  const int bits = int(weight.scheme.bits);
  const Columns columns(weight);
  const std::int64_t words = weight.cols * bits / 32, zero_words = weight.rows * bits / 32;
  std::vector<std::uint32_t> codes(std::size_t(words * weight.rows));
  for (std::int64_t row = 0; row < weight.rows; ++row) {
    std::vector<unsigned> line;
    for (std::int64_t col = 0; col < weight.cols; ++col)
      line.push_back(code_of(weight, row, columns.position[std::size_t(col)]));
    const auto packed = stream(line, bits);
    for (std::int64_t w = 0; w < words; ++w)
      codes[std::size_t(w * weight.rows + row)] = packed[std::size_t(w)];
  }
  same_words(stored.at(module.name + ".qweight"), {words, weight.rows}, codes);
  std::vector<std::uint32_t> zeros;
  for (std::int64_t g = 0; g < group_count(weight); ++g) {
    std::vector<unsigned> line;
    for (std::int64_t row = 0; row < weight.rows; ++row)
      line.push_back(zero_of(weight, row, g) - (v1 ? 1 : 0));
    const auto packed = stream(line, bits);
    zeros.insert(zeros.end(), packed.begin(), packed.end());
  }
  same_words(stored.at(module.name + ".qzeros"), {group_count(weight), zero_words}, zeros);
  std::vector<std::uint32_t> index;
  for (std::int64_t col = 0; col < weight.cols; ++col)
    index.push_back(std::uint32_t(columns.position[std::size_t(col)] / group_columns(weight)));
  same_words(stored.at(module.name + ".g_idx"), {weight.cols}, index);
  same_scales(stored.at(module.name + ".scales"), weight);
  QVERIFY(!stored.count(module.name + ".weight"));
}

void check_awq(const std::map<std::string, StoredTensor>& stored, const Module& module) {
  const QTensor& weight = module.weight;
  const int order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  std::vector<std::uint32_t> codes, zeros;
  for (std::int64_t col = 0; col < weight.cols; ++col)
    for (std::int64_t c = 0; c < weight.rows / 8; ++c) {
      std::uint32_t packed = 0;
      for (int k = 0; k < 8; ++k)
        packed |= code_of(weight, 8 * c + order[k], col) << (4 * k);
      codes.push_back(packed);
    }
  for (std::int64_t g = 0; g < group_count(weight); ++g)
    for (std::int64_t c = 0; c < weight.rows / 8; ++c) {
      std::uint32_t packed = 0;
      for (int k = 0; k < 8; ++k)
        packed |= zero_of(weight, 8 * c + order[k], g) << (4 * k);
      zeros.push_back(packed);
    }
  same_words(stored.at(module.name + ".qweight"), {weight.cols, weight.rows / 8}, codes);
  same_words(stored.at(module.name + ".qzeros"), {group_count(weight), weight.rows / 8}, zeros);
  same_scales(stored.at(module.name + ".scales"), weight);
}

/// The one module of a weight, as a model that nobody knows.
Checkpoint single(QTensor weight) {
  Checkpoint model;
  model.config = Json{{"model_type", "none"}};
  model.modules.emplace_back();
  auto& module = model.modules.back();
  module.name = "block.0.fc";
  module.role = "linear";
  module.layer = 0;
  module.linear = true;
  module.shape = {weight.rows, weight.cols};
  module.weight = std::move(weight);
  return model;
}

QTensor with_codes(const std::string& scheme, std::int64_t rows, const std::vector<unsigned>& codes,
                   bool by_rows) {
  auto out = random_weight(scheme, rows, std::int64_t(32), 1);
  const int bits = int(out.scheme.bits);
  const auto stride = std::size_t(int_row_bytes(32, bits));
  std::fill(out.owned_codes.begin(), out.owned_codes.end(), std::byte(0));
  for (std::size_t row = 0; row < std::size_t(rows); ++row) {
    std::vector<unsigned> line(32);
    for (std::size_t i = 0; i < 32; ++i)
      line[i] = codes[(by_rows ? row : i) % codes.size()];
    const auto packed = stream(line, bits);
    std::memcpy(out.owned_codes.data() + row * stride, packed.data(), stride);
  }
  return out;
}

} // namespace

class TestGptqAwqFiles : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void golden_words();
  void gptq_every_word();
  void awq_every_word();
  void large_in_pieces();
  void same_at_any_thread_count();
  void architectures_data();
  void architectures();
};

void TestGptqAwqFiles::golden_words() {
  std::vector<unsigned> eight(8), four(4);
  std::iota(eight.begin(), eight.end(), 0u);
  std::iota(four.begin(), four.end(), 0u);
  struct Case {
    const char* scheme;
    const std::vector<unsigned>& codes;
    std::vector<std::uint32_t> words;
    std::uint32_t v1, v2;
  };
  const std::vector<Case> cases{
      {"int4-channel-sym", eight, {0x76543210u}, 0x77777777u, 0x88888888u},
      {"int3-channel-sym", eight, {0x88FAC688u, 0xC688FAC6u, 0xFAC688FAu}, 0, 0},
      {"int2-channel-sym", four, {0xE4E4E4E4u}, 0x55555555u, 0xAAAAAAAAu},
      {"int8-channel-sym", four, {0x03020100u}, 0x7F7F7F7Fu, 0x80808080u}};
  for (const auto& c : cases) {
    QTemporaryDir dir;
    const auto model = single(with_codes(c.scheme, 32, c.codes, false));
    EXPORTED(exported(model, "gptq", path_of(dir) / "out"));
    const auto stored = stored_tensors(path_of(dir) / "out");
    const auto& codes = stored.at("block.0.fc.qweight");
    for (std::size_t i = 0; i < codes.data.size() / 4; ++i) // every output has the same column
      QCOMPARE(word(codes, i), c.words[i / 32 % c.words.size()]);
    if (c.v1 != 0)
      QCOMPARE(word(stored.at("block.0.fc.qzeros"), 0), c.v1);
    const auto& weight = model.modules[0].weight;
    const auto write = gptq_zeros("z", weight, false);
    const auto file = OutputFile::create(path_of(dir) / "zeros");
    QVERIFY(file.ok() && write.write(**file).ok() && (*file)->close().ok());
    const auto bytes = read_file(path_of(dir) / "zeros");
    std::uint32_t second = 0;
    std::memcpy(&second, bytes->data(), 4);
    if (c.v2 != 0)
      QCOMPARE(second, c.v2);
  }
  QTemporaryDir dir;
  const auto model = single(with_codes("int4-channel-sym", 8, eight, true));
  EXPORTED(exported(model, "awq", path_of(dir) / "out"));
  const auto stored = stored_tensors(path_of(dir) / "out");
  for (std::size_t i = 0; i < 32; ++i)
    QCOMPARE(word(stored.at("block.0.fc.qweight"), i), 0x75316420u);
  QCOMPARE(word(stored.at("block.0.fc.qzeros"), 0), 0x88888888u);
}

void TestGptqAwqFiles::gptq_every_word() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  int n = 0;
  for (const int bits : {2, 3, 4, 8})
    for (const char* granularity : {"g32", "g16", "g64", "channel", "tensor", "g128"})
      for (const char* symmetry : {"sym", "asym"})
        for (const bool ordered : {false, true}) {
          const auto scheme = "int" + std::to_string(bits) + "-" + granularity + "-" + symmetry;
          const bool groups = granularity[0] == 'g' && std::string(granularity) != "g128";
          if (ordered && !groups)
            continue; // one group has no order
          const bool head = n % 3 == 0;
          const auto model = with_random_weights(
              path_of(dir) / "model",
              [&](const Module& m) { return head || in_blocks(m) ? scheme : std::string(); },
              ordered);
          const auto out = path_of(dir) / ("out" + std::to_string(n++));
          const auto result = exported(*model, "gptq", out);
          QVERIFY2(result.ok(),
                   (scheme + ": " + (result.ok() ? "" : result.error().text())).c_str());
          const auto stored = stored_tensors(out);
          for (const auto& module : model->modules)
            if (module.weight.scheme.quantized)
              check_gptq(stored, module, std::string(symmetry) == "sym");
          const auto back = open_checkpoint(out);
          QVERIFY2(back.ok() && (*back)->spec, back.ok() ? "" : back.error().text().c_str());
          QCOMPARE((*back)->format, std::string("gptq"));
          const auto* down = (*back)->find_module("model.layers.1.mlp.down_proj");
          QCOMPARE(down->weight.scheme.bits, double(bits));
          QCOMPARE(down->weight.scheme.symmetric, std::string(symmetry) == "sym");
          QCOMPARE(down->weight.column_order != nullptr, ordered);
          if (groups)
            QCOMPARE(down->weight.scheme.id, scheme);
          for (const VerifyCheck& check : find_exporter("gptq")->rules(out))
            QVERIFY2(check.ok, (scheme + " " + check.name + ": " + check.detail).c_str());
          fs::remove_all(out);
        }
  QCOMPARE(n, 72);
}

void TestGptqAwqFiles::awq_every_word() {
  QTemporaryDir dir;
  make_packed_source(path_of(dir) / "model");
  int n = 0;
  for (const char* scheme : {"int4-g32-asym", "int4-g32-sym", "int4-g16-asym", "int4-channel-asym",
                             "int4-channel-sym", "int4-tensor-asym"})
    for (const bool head : {false, true}) {
      const auto model = with_random_weights(path_of(dir) / "model", [&](const Module& m) {
        return head || in_blocks(m) ? std::string(scheme) : std::string();
      });
      const auto out = path_of(dir) / ("out" + std::to_string(n++));
      EXPORTED(exported(*model, "awq", out));
      const auto stored = stored_tensors(out);
      for (const auto& module : model->modules)
        if (module.weight.scheme.quantized)
          check_awq(stored, module);
      const auto back = open_checkpoint(out);
      QVERIFY2(back.ok() && (*back)->spec, back.ok() ? "" : back.error().text().c_str());
      QCOMPARE((*back)->format, std::string("awq"));
      QVERIFY((*back)->find_module("lm_head")->weight.scheme.quantized == head);
      const auto read = (*back)->find_module("model.layers.0.mlp.up_proj")->weight.scheme.id;
      QCOMPARE(read, std::string(scheme) == "int4-tensor-asym" ? "int4-channel-asym" : scheme);
      for (const VerifyCheck& check : find_exporter("awq")->rules(out))
        QVERIFY2(check.ok, (check.name + ": " + check.detail).c_str());
    }
}

void TestGptqAwqFiles::large_in_pieces() {
  // Larger than what is made at a time, and no multiple of it.
  QTemporaryDir dir;
  const std::int64_t rows = 4096, cols = 12320;
  QTensor weight;
  weight.scheme = *parse_scheme("int3-g32-sym");
  weight.rows = rows;
  weight.cols = cols;
  std::mt19937 random(5);
  weight.owned_codes.resize(std::size_t(rows * int_row_bytes(cols, 3)));
  for (std::size_t i = 0; i < weight.owned_codes.size(); i += 4) {
    const auto bits = std::uint32_t(random());
    std::memcpy(weight.owned_codes.data() + i, &bits, 4);
  }
  weight.own();
  std::vector<std::int32_t> order(static_cast<std::size_t>(cols));
  std::iota(order.begin(), order.end(), 0);
  std::reverse(order.begin(), order.end());
  for (const bool ordered : {false, true}) {
    if (ordered)
      weight.column_order = std::make_shared<const std::vector<std::int32_t>>(order);
    const auto tensor = gptq_codes("q", weight);
    QVERIFY(tensor.bytes > (18u << 20));
    const auto file = OutputFile::create(path_of(dir) / "codes");
    QVERIFY(file.ok() && tensor.write(**file).ok() && (*file)->close().ok());
    const auto bytes = read_file(path_of(dir) / "codes");
    QCOMPARE(bytes->size(), std::size_t(tensor.bytes));
    const Columns columns(weight);
    for (int i = 0; i < 100000; ++i) {
      const auto row = std::int64_t(random() % rows), col = std::int64_t(random() % cols);
      unsigned code = 0;
      for (int b = 0; b < 3; ++b) {
        const auto bit = col * 3 + b;
        const auto at = std::size_t((bit / 32 * rows + row) * 4 + bit % 32 / 8);
        code |= (unsigned(std::uint8_t((*bytes)[at])) >> (bit % 8) & 1u) << b;
      }
      if (code != code_of(weight, row, columns.position[std::size_t(col)]))
        QFAIL(("row " + std::to_string(row) + ", column " + std::to_string(col)).c_str());
    }
  }
}

void TestGptqAwqFiles::same_at_any_thread_count() {
  QTemporaryDir dir;
  std::vector<std::string> files;
  auto weight = random_weight("int4-g32-asym", 264, 160, 3);
  for (const int threads : {1, 2, 7}) {
    set_thread_count(threads);
    std::string all;
    for (const auto& tensor :
         {gptq_codes("a", weight), gptq_zeros("b", weight, true), awq_codes("c", weight),
          awq_zeros("d", weight), scales_by_group("e", weight)}) {
      const auto file = OutputFile::create(path_of(dir) / "x");
      QVERIFY(file.ok() && tensor.write(**file).ok() && (*file)->close().ok());
      all += *read_file(path_of(dir) / "x");
    }
    files.push_back(all);
  }
  set_thread_count(0);
  QVERIFY(files[0] == files[1] && files[0] == files[2]);
}

void TestGptqAwqFiles::architectures_data() {
  QTest::addColumn<QString>("name");
  QTest::addColumn<QString>("format");
  const QDir folder(QString::fromStdString(golden_folder().string()));
  for (const QFileInfo& file : folder.entryInfoList({QStringLiteral("*.json")}, QDir::Files))
    for (const char* format : {"gptq", "awq"})
      QTest::addRow("%s %s", qPrintable(file.completeBaseName()), format)
          << file.completeBaseName() << QString::fromUtf8(format);
}

void TestGptqAwqFiles::architectures() {
  // Joined matrices, those stored as [in, out], other prefixes, tied heads, a vision tower: names
  // and shapes are the class's own.
  QFETCH(QString, name);
  QFETCH(QString, format);
  QTemporaryDir dir;
  put_model(read_golden(name.toStdString()), FloatType::bf16, path_of(dir) / "model");
  const auto model = with_random_weights(path_of(dir) / "model", [](const Module& m) {
    const bool fits = m.weight.rows % 32 == 0 && m.weight.cols % 32 == 0;
    return fits && in_blocks(m) ? std::string("int4-g16-sym") : std::string();
  });
  QVERIFY2(model->spec, model->why_not_runnable.c_str());
  std::size_t packed = 0;
  for (const auto& module : model->modules)
    packed += module.weight.scheme.quantized;
  const auto result = exported(*model, format.toUtf8().constData(), path_of(dir) / "out");
  if (packed == 0) {
    QVERIFY(!result.ok());
    return;
  }
  QVERIFY2(result.ok(), result.ok() ? "" : result.error().text().c_str());
  const auto stored = stored_tensors(path_of(dir) / "out");
  for (const auto& module : model->modules)
    if (module.weight.scheme.quantized) {
      const auto& codes = stored.at(module.hf_name() + ".qweight");
      QCOMPARE(codes.shape, format == QStringLiteral("gptq")
                                ? (std::vector{module.weight.cols / 8, module.weight.rows})
                                : (std::vector{module.weight.cols, module.weight.rows / 8}));
    }
  for (const VerifyCheck& check : find_exporter(format.toStdString())->rules(path_of(dir) / "out"))
    QVERIFY2(check.ok, (check.name + ": " + check.detail).c_str());
}

QTEST_GUILESS_MAIN(TestGptqAwqFiles)
#include "tst_gptq_awq_files.moc"
