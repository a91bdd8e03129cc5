// SPDX-License-Identifier: GPL-3.0-or-later
// Every GGUF block type: decoding against ggml's own (golden files), on every instruction set, in
// pieces and in another row order; products on packed rows; schemes with their sizes and fallbacks.
#include "core/io/gguf.h"
#include "core/methods/method.h"
#include "core/schemes/scheme.h"
#include "kernels/compute/compute.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernels.h"
#include "tests/support.h"

#include <QTest>

#include <cstring>
#include <fstream>
#include <map>

using namespace bitlathe;

namespace {

std::vector<const Layout*> block_layouts() {
  std::vector<const Layout*> out;
  for (const Layout* layout : all_layouts())
    if (layout->block > 0)
      out.push_back(layout);
  return out;
}

struct Golden {
  std::span<const std::byte> blocks;
  std::vector<float> values;
};

std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), out.size() * 4);
  return out;
}

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Bit for bit, but any NaN for a NaN.
bool same(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], 4) != 0 && !(std::isnan(a[i]) && std::isnan(b[i])))
      return false;
  return true;
}

MatrixView packed(const Layout* layout, std::span<const std::byte> codes, std::int64_t rows,
                  std::int64_t cols) {
  MatrixView m;
  m.layout = layout;
  m.rows = rows;
  m.cols = cols;
  m.codes = codes;
  return m;
}

} // namespace

class TestGgufTypes : public QObject {
  Q_OBJECT
  std::vector<StoredTensor> golden_;

  Golden golden(std::string_view id) const {
    Golden out;
    for (const auto& tensor : golden_) {
      if (tensor.name == std::string(id) + ".blocks")
        out.blocks = tensor.data;
      if (tensor.name == std::string(id) + ".values")
        out.values = floats(tensor.data);
    }
    return out;
  }
  /// `rows` x `blocks_per_row` blocks, the golden ones over and over.
  std::vector<std::byte> many(const Layout* layout, std::int64_t rows, std::int64_t blocks_per_row,
                              std::vector<float>& values) const {
    const Golden from = golden(layout->id);
    const auto bytes = std::size_t(layout->block_bytes), columns = std::size_t(layout->block);
    const std::size_t n = from.blocks.size() / bytes;
    std::vector<std::byte> out;
    values.clear();
    std::mt19937 random(5);
    for (std::int64_t i = 0; i < rows * blocks_per_row; ++i) {
      // Blocks of a size that sums can be compared for.
      std::size_t at = random() % n;
      const auto largest = [&](std::size_t b) {
        float most = 0;
        for (std::size_t c = 0; c < columns; ++c)
          most = std::max(most, std::fabs(from.values[b * columns + c]));
        return most;
      };
      while (!(largest(at) < 1e4f))
        at = (at + 1) % n;
      const auto block = from.blocks.subspan(at * bytes, bytes);
      out.insert(out.end(), block.begin(), block.end());
      values.insert(values.end(), from.values.begin() + std::ptrdiff_t(at * columns),
                    from.values.begin() + std::ptrdiff_t((at + 1) * columns));
    }
    return out;
  }

 private Q_SLOTS:
  void initTestCase();
  void every_type_of_the_format_is_known();
  void decodes_as_ggml_data();
  void decodes_as_ggml();
  void decodes_the_reference_files_data();
  void decodes_the_reference_files();
  void decodes_in_pieces_and_row_order();
  void products_data();
  void products();
  void schemes();
  void fallbacks_of_llama_quantize();
  void read_but_not_made();
};

void TestGgufTypes::initTestCase() {
  // A larger file of the same kind can be named: see tests/reference/make_block_golden.py.
  const char* given = std::getenv("BITLATHE_GOLDEN_BLOCKS");
  auto file = read_safetensors(given ? fs::path(given)
                                     : test::source_dir() / "tests/golden/gguf-blocks.safetensors");
  QVERIFY2(file.ok(), file ? "" : file.error().text().c_str());
  golden_ = std::move(file->tensors);
}

void TestGgufTypes::every_type_of_the_format_is_known() {
  const std::vector<std::string> wanted{"q4_0",  "q4_1",  "q5_0",  "q5_1", "q8_0",   "q2_k",
                                        "q3_k",  "q4_k",  "q5_k",  "q6_k", "iq4_nl", "iq4_xs",
                                        "mxfp4", "nvfp4", "tq1_0", "tq2_0"};
  for (const auto& id : wanted) {
    const Layout* layout = find_layout(id);
    const GgufType* type = find_gguf_type(id);
    QVERIFY2(layout && type, id.c_str());
    QCOMPARE(layout->block, type->block);
    QCOMPARE(layout->block_bytes, type->block_bytes);
    QVERIFY2(!golden(id).blocks.empty(), id.c_str());
  }
  QCOMPARE(block_layouts().size(), wanted.size());
}

void TestGgufTypes::decodes_as_ggml_data() {
  QTest::addColumn<int>("isa");
  for (const Isa isa : supported_isas())
    QTest::newRow(std::string(isa_name(isa)).c_str()) << int(isa);
}

void TestGgufTypes::decodes_as_ggml() {
  QFETCH(int, isa);
  for (const Layout* layout : block_layouts()) {
    const Golden want = golden(layout->id);
    const auto n = std::int64_t(want.blocks.size()) / layout->block_bytes;
    const auto* blocks = reinterpret_cast<const std::uint8_t*>(want.blocks.data());
    std::vector<float> got(want.values.size());
    layout->reference(blocks, n, got.data());
    QVERIFY2(same(got, want.values), layout->id.data());
    std::fill(got.begin(), got.end(), -1.0f);
    layout->kernels(cpu_kernels(Isa(isa))).decode(blocks, n, got.data());
    QVERIFY2(same(got, want.values), layout->id.data());
    for (std::int64_t b = 0; b < n; ++b) // one at a time: nothing beyond the block is needed
      layout->kernels(cpu_kernels(Isa(isa)))
          .decode(blocks + b * layout->block_bytes, 1, got.data() + b * layout->block);
    QVERIFY2(same(got, want.values), layout->id.data());
  }
}

void TestGgufTypes::decodes_the_reference_files_data() { decodes_as_ggml_data(); }

void TestGgufTypes::decodes_the_reference_files() {
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference files are not beside this checkout");
  QFETCH(int, isa);
  int files = 0;
  for (const Layout* layout : block_layouts())
    for (const char* kind : {".bin", ".imatrix.bin"}) {
      const auto folder = *data / "ggml-golden";
      const std::string id(layout->id);
      const std::string blocks = content_of(folder / (id + kind));
      if (blocks.empty() && id == "nvfp4")
        continue;
      QVERIFY2(!blocks.empty(), id.c_str());
      const auto n = std::int64_t(blocks.size()) / layout->block_bytes;
      std::vector<float> got(std::size_t(n * layout->block)), reference(got);
      const auto* in = reinterpret_cast<const std::uint8_t*>(blocks.data());
      layout->kernels(cpu_kernels(Isa(isa))).decode(in, n, got.data());
      layout->reference(in, n, reference.data());
      QVERIFY2(same(got, reference), id.c_str());
      ++files;
      if (std::string(kind) != ".bin")
        continue; // decoded values are there for the plain ones
      const std::string want = content_of(folder / (id + ".decoded.f32"));
      QVERIFY2(same(got, floats(std::as_bytes(std::span(want)))), id.c_str());
    }
  QCOMPARE(files, 30);
}

void TestGgufTypes::decodes_in_pieces_and_row_order() {
  for (const Layout* layout : block_layouts()) {
    std::vector<float> want;
    const std::int64_t rows = 5, in_row = 512 / layout->block, cols = in_row * layout->block;
    const auto codes = many(layout, rows, in_row, want);
    MatrixView m = packed(layout, codes, rows, cols);
    QCOMPARE(layout->row_bytes(m) * rows, std::int64_t(codes.size()));
    const auto check = [&](const MatrixView& view, std::int64_t row, std::int64_t stored) {
      for (std::int64_t col = 0; col < cols; col += 32)
        for (const std::int64_t count : {std::int64_t(1), std::int64_t(31), std::int64_t(32),
                                         std::int64_t(100), std::int64_t(300), cols}) {
          const std::int64_t n = std::min(count, cols - col);
          std::vector<float> got(std::size_t(n + 2), 7.0f);
          layout->decode(view, row, col, n, got.data() + 1);
          if (!same(std::span(got).subspan(1, std::size_t(n)),
                    std::span(want).subspan(std::size_t(stored * cols + col), std::size_t(n))) ||
              got.front() != 7.0f || got.back() != 7.0f)
            return false;
        }
      return true;
    };
    for (std::int64_t row = 0; row < rows; ++row)
      QVERIFY2(check(m, row, row), layout->id.data());
    const std::vector<std::int32_t> order{3, 0, 4, 1};
    m.rows = 4;
    m.row_order = order;
    for (std::int64_t row = 0; row < 4; ++row)
      QVERIFY2(check(m, row, order[std::size_t(row)]), layout->id.data());
    const MatrixView part = m.slice(1, 2);
    QCOMPARE(part.rows, std::int64_t(2));
    QVERIFY2(check(part, 0, 0) && check(part, 1, 4), layout->id.data());
  }
}

void TestGgufTypes::products_data() {
  QTest::addColumn<int>("isa");
  QTest::addColumn<int>("tokens");
  for (const Isa isa : supported_isas())
    for (const int tokens : {1, 3, 7, 40})
      QTest::addRow("%s, %d tokens", std::string(isa_name(isa)).c_str(), tokens)
          << int(isa) << tokens;
}

/// Against sums in f64, relative to the sum of magnitudes.
void TestGgufTypes::products() {
  QFETCH(int, isa);
  QFETCH(int, tokens);
  auto compute = make_cpu_compute(Isa(isa));
  QVERIFY(compute.ok());
  for (const Layout* layout : block_layouts()) {
    std::vector<float> values;
    const std::int64_t in_row = (layout->block == 256 ? 11 : 2 * 1344 / layout->block), stored = 13,
                       rows = 12, cols = in_row * layout->block;
    const auto codes = many(layout, stored, in_row, values);
    MatrixView m = packed(layout, codes, rows, cols);
    std::vector<std::int32_t> order;
    for (std::int32_t row = 0; row < rows; ++row)
      order.push_back((row * 5 + 2) % std::int32_t(stored));
    m.row_order = order;
    const auto x = test::normal_noise(std::size_t(tokens * cols), 11);
    const auto loaded = (*compute)->load(m);
    QVERIFY(loaded.ok());
    std::vector<float> y(std::size_t(tokens * rows), -1.0f);
    QVERIFY((*compute)->matmul(x.data(), tokens, **loaded, y.data()).ok());
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t r = 0; r < rows; ++r) {
        double sum = 0, size = 0;
        for (std::int64_t c = 0; c < cols; ++c) {
          const double term = double(x[std::size_t(t * cols + c)]) *
                              double(values[std::size_t(order[std::size_t(r)] * cols + c)]);
          sum += term;
          size += std::fabs(term);
        }
        const double got = double(y[std::size_t(t * rows + r)]);
        QVERIFY2(std::fabs(got - sum) <= 1e-6 * size,
                 qPrintable(QString("%1 %2 %3: %4 instead of %5")
                                .arg(layout->id.data())
                                .arg(t)
                                .arg(r)
                                .arg(got)
                                .arg(sum)));
      }
  }
}

void TestGgufTypes::schemes() {
  for (const Layout* layout : block_layouts()) {
    const auto scheme = parse_scheme(layout->id);
    QVERIFY2(scheme.ok(), scheme ? "" : scheme.error().text().c_str());
    QCOMPARE(scheme->id, std::string(layout->id));
    QVERIFY(scheme->quantized && scheme->family->id == "ggml");
    QVERIFY(scheme->bits > 1 && scheme->bits <= 8);
    QVERIFY(scheme->group > 0 && layout->block % scheme->group == 0);
    const auto bytes = scheme->family->bytes(*scheme, 3, 1024);
    QCOMPARE(bytes.total(), std::uint64_t(3 * 1024 / layout->block * layout->block_bytes));
    QTensor tensor;
    tensor.scheme = *scheme;
    tensor.rows = 3;
    tensor.cols = 1024;
    tensor.owned_codes.resize(bytes.codes);
    tensor.own();
    QVERIFY(tensor.view().layout == layout);
    QVERIFY(tensor.view().row_order.empty());
    tensor.row_order =
        std::make_shared<std::vector<std::int32_t>>(std::vector<std::int32_t>{2, 0, 1});
    QCOMPARE(tensor.view().stored(0), std::int64_t(2));
    QCOMPARE(tensor.stored_row(2), std::int64_t(1));
  }
}

void TestGgufTypes::fallbacks_of_llama_quantize() {
  const std::map<std::string, std::string> to_32{
      {"q4_k", "q5_0"}, {"q5_k", "q5_1"},  {"q6_k", "q8_0"},     {"q2_k", "q4_0"},
      {"q3_k", "q4_0"}, {"tq1_0", "q4_0"}, {"iq4_xs", "iq4_nl"}, {"tq2_0", "q4_0"}};
  for (const Layout* layout : block_layouts()) {
    const auto scheme = parse_scheme(layout->id);
    const auto fit = [&](std::int64_t cols) { return scheme->family->fit(*scheme, 4, cols); };
    QVERIFY(fit(512).ok);
    QCOMPARE(fit(512).fallback, std::string());
    QVERIFY(!fit(172).ok);
    QCOMPARE(fit(172).fallback, std::string("f16"));
    QVERIFY2(fit(172).reason.find("172") != std::string::npos, fit(172).reason.c_str());
    const auto at_96 = fit(96);
    if (const auto it = to_32.find(std::string(layout->id)); it != to_32.end()) {
      QVERIFY(!at_96.ok);
      QCOMPARE(at_96.fallback, it->second);
    } else {
      QCOMPARE(at_96.ok, layout->block == 32);
    }
  }
}

void TestGgufTypes::read_but_not_made() {
  for (const SchemeFamily* family : all_scheme_families())
    for (const auto id : family->examples) { // menus offer nothing that cannot be made
      const auto scheme = parse_scheme(id);
      QVERIFY(scheme.ok());
      if (scheme->quantized)
        QVERIFY2(cannot_encode(*scheme).empty(), id.data());
    }
  for (const Layout* layout : block_layouts()) {
    const auto scheme = parse_scheme(layout->id);
    const std::string why = cannot_encode(*scheme);
    QCOMPARE(why.empty(), has_block_encoder(layout->id));
    if (!why.empty())
      QVERIFY2(why.find(layout->id) != std::string::npos, why.c_str());
  }
}

QTEST_GUILESS_MAIN(TestGgufTypes)
#include "tst_gguf_types.moc"
