// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF blocks, byte for byte: against hashes of what the reference writes for a small formula, and
// against the reference files where they are at hand.
#include "kernels/compute/compute.h"
#include "kernels/cpu/isa.h"
#include "support.h"

#include <QCryptographicHash>
#include <QFile>
#include <QtTest>

using namespace bitlathe;

namespace {

struct Type {
  const char* layout;
  std::int64_t block_bytes;
  const char* hash; ///< first 16 hex digits of SHA-256 of the formula's blocks
  const char* hash_weighted;
};

constexpr Type types[] = {{"q8_0", 34, "afba4cc346130d96", "afba4cc346130d96"},
                          {"q4_0", 18, "ce83665f30ba4977", "aaa72a22fb1015c9"},
                          {"q4_1", 20, "0f8465fe7ca13e47", "6d71558e3b340c2a"}};

QByteArray short_hash(const void* data, std::size_t bytes) {
  const QByteArray all(static_cast<const char*>(data), qsizetype(bytes));
  return QCryptographicHash::hash(all, QCryptographicHash::Sha256).toHex().left(16);
}

FloatView view(const std::vector<float>& values, std::int64_t rows) {
  return {FloatType::f32, rows, std::int64_t(values.size()) / rows,
          std::as_bytes(std::span(values))};
}

QByteArray encode(Compute& compute, const FloatView& w, const Type& type,
                  std::span<const float> importance) {
  QByteArray out(qsizetype(w.rows * w.cols / 32 * type.block_bytes), '\0');
  const auto done = compute.quantize_blocks(
      w, type.layout, importance,
      std::as_writable_bytes(std::span(out.data(), std::size_t(out.size()))));
  return done ? out : QByteArray(done.error().text().c_str());
}

QByteArray read(const std::filesystem::path& path) {
  QFile file(QString::fromStdString(path.string()));
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

std::vector<float> floats(const QByteArray& bytes) {
  std::vector<float> out(std::size_t(bytes.size()) / 4);
  std::memcpy(out.data(), bytes.constData(), out.size() * 4);
  return out;
}

} // namespace

class TestBlocks : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void formula_data();
  void formula();
  void golden_data();
  void golden();
  void refuses();
};

namespace {

void every_isa_and_type() {
  QTest::addColumn<int>("isa");
  QTest::addColumn<int>("type");
  for (const Isa isa : supported_isas())
    for (int t = 0; t < int(std::size(types)); ++t)
      QTest::addRow("%s %s", std::string(isa_name(isa)).c_str(), types[t].layout) << int(isa) << t;
}

} // namespace

void TestBlocks::formula_data() { every_isa_and_type(); }

void TestBlocks::formula() {
  QFETCH(int, isa);
  QFETCH(int, type);
  std::vector<float> x(1024), importance(1024);
  for (int i = 0; i < 1024; ++i) {
    x[std::size_t(i)] = float((37 * i) % 101 - 50) / 64.0f * (i % 64 == 0 ? 4.0f : 1.0f);
    importance[std::size_t(i)] = float(i % 7 + 1);
  }
  QCOMPARE(short_hash(x.data(), 4096), QByteArray("d649f8c2359c2b50"));
  auto compute = make_cpu_compute(Isa(isa));
  QVERIFY(compute.ok());
  const Type& t = types[type];
  const QByteArray plain = encode(**compute, view(x, 1), t, {});
  QCOMPARE(short_hash(plain.constData(), std::size_t(plain.size())), QByteArray(t.hash));
  const QByteArray weighted = encode(**compute, view(x, 1), t, importance);
  QCOMPARE(short_hash(weighted.constData(), std::size_t(weighted.size())),
           QByteArray(t.hash_weighted));
}

void TestBlocks::golden_data() { every_isa_and_type(); }

void TestBlocks::golden() {
  QFETCH(int, isa);
  QFETCH(int, type);
  const auto data = test::shared_data();
  if (!data)
    QSKIP("the reference files are not beside this checkout");
  const auto folder = *data / "ggml-golden";
  const auto input = floats(read(folder / "input.f32"));
  const auto importance = floats(read(folder / "imatrix.f32"));
  QCOMPARE(input.size(), std::size_t(64 * 1024));
  auto compute = make_cpu_compute(Isa(isa));
  QVERIFY(compute.ok());
  const Type& t = types[type];
  const std::string name = t.layout;
  const QByteArray plain = encode(**compute, view(input, 64), t, {});
  QVERIFY(plain == read(folder / (name + ".bin")));
  QVERIFY(encode(**compute, view(input, 64), t, importance) ==
          read(folder / (name + ".imatrix.bin")));

  MatrixView packed;
  packed.layout = find_layout(name);
  QVERIFY(packed.layout);
  packed.rows = 64;
  packed.cols = 1024;
  packed.codes = std::as_bytes(std::span(plain.constData(), std::size_t(plain.size())));
  std::vector<float> decoded(64 * 1024);
  QVERIFY((*compute)->decode(packed, 0, 64, decoded).ok());
  QVERIFY(decoded == floats(read(folder / (name + ".decoded.f32"))));
}

void TestBlocks::refuses() {
  auto compute = make_cpu_compute(Isa::scalar);
  std::vector<float> x(48);
  std::vector<std::byte> out(34);
  const auto odd = (*compute)->quantize_blocks(view(x, 1), "q8_0", {}, out);
  QVERIFY(!odd.ok());
  QVERIFY(odd.error().message.find("48") != std::string::npos);
  x.resize(32);
  QCOMPARE((*compute)->quantize_blocks(view(x, 1), "q7_9", {}, out).error().code,
           std::string("unsupported"));
  out.resize(33);
  QCOMPARE((*compute)->quantize_blocks(view(x, 1), "q8_0", {}, out).error().code,
           std::string("bad-argument"));
}

QTEST_APPLESS_MAIN(TestBlocks)
#include "tst_blocks.moc"
