// SPDX-License-Identifier: GPL-3.0-or-later
// Encoders of every GGUF block type, byte for byte on every instruction set: against hashes of what
// the reference writes for a small formula, against its blocks for awkward rows, and against the
// larger reference files where they are at hand.
#include "core/io/safetensors.h"
#include "core/methods/method.h"
#include "kernels/compute/compute.h"
#include "kernels/cpu/isa.h"
#include "kernels/quant/gguf_blocks.h"
#include "tests/support.h"

#include <QCryptographicHash>
#include <QFile>
#include <QtTest>

#include <cstring>

using namespace bitlathe;

namespace {

struct Type {
  const char* layout;
  const char* hash; ///< first 16 hex digits of SHA-256 of the formula's blocks
  const char* hash_weighted;
};

// Where both are the same, the reference ignores importance.
constexpr Type types[] = {
    {"q8_0", "afba4cc346130d96", "afba4cc346130d96"},
    {"q4_0", "ce83665f30ba4977", "aaa72a22fb1015c9"},
    {"q4_1", "0f8465fe7ca13e47", "6d71558e3b340c2a"},
    {"q5_0", "e78bbb0012115f4b", "129b3f7b56fe5c43"},
    {"q5_1", "259fd47f4710bbd6", "ef9a20b173f45b44"},
    {"q2_k", "2086ed10b3e29c58", "6909c6a7838bf8b0"},
    {"q3_k", "d903f91e12f115cc", "7ac3d68e3073aa38"},
    {"q4_k", "41864151db413d2e", "e96c977b7b405cd5"},
    {"q5_k", "411631eecef13ddf", "69a9b14115641c19"},
    {"q6_k", "3b8f73398b4c467b", "22b55fd79175cc25"},
    {"iq4_nl", "1138b181aa884b30", "4c0fcac7ee3b7102"},
    {"iq4_xs", "89fb6c5779e481fa", "9918028be3469819"},
    {"mxfp4", "39afc617c9b24f9a", "39afc617c9b24f9a"},
    {"nvfp4", "d4faba41c28cb27e", "d4faba41c28cb27e"},
    {"tq1_0", "494306d58948f4e1", "494306d58948f4e1"},
    {"tq2_0", "83aa61a5c651396d", "83aa61a5c651396d"},
};

QByteArray short_hash(const void* data, std::size_t bytes) {
  const QByteArray all(static_cast<const char*>(data), qsizetype(bytes));
  return QCryptographicHash::hash(all, QCryptographicHash::Sha256).toHex().left(16);
}

FloatView view(const std::vector<float>& values, std::int64_t rows) {
  return {FloatType::f32,
          rows,
          std::int64_t(values.size()) / rows,
          std::as_bytes(std::span(values)),
          {}};
}

QByteArray encode(Compute& compute, const FloatView& w, std::string_view id,
                  std::span<const float> importance) {
  const Layout* layout = find_layout(id);
  QByteArray out(qsizetype(w.rows * w.cols / layout->block * layout->block_bytes), '\0');
  const auto done = compute.quantize_blocks(
      w, id, importance, std::as_writable_bytes(std::span(out.data(), std::size_t(out.size()))));
  return done ? out : QByteArray(done.error().text().c_str());
}

MatrixView packed(std::string_view id, const QByteArray& blocks, std::int64_t rows,
                  std::int64_t cols) {
  MatrixView m;
  m.layout = find_layout(id);
  m.rows = rows;
  m.cols = cols;
  m.codes = std::as_bytes(std::span(blocks.constData(), std::size_t(blocks.size())));
  return m;
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

QByteArray bytes_of(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), qsizetype(data.size())};
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

} // namespace

class TestGgufEncode : public QObject {
  Q_OBJECT
  std::vector<StoredTensor> golden_;

  QByteArray golden(const std::string& name) const {
    for (const auto& tensor : golden_)
      if (tensor.name == name)
        return bytes_of(tensor.data);
    return {};
  }

 private Q_SLOTS:
  void initTestCase() {
    auto file = read_safetensors(test::source_dir() / "tests/golden/gguf-encode.safetensors");
    QVERIFY2(file.ok(), file ? "" : file.error().text().c_str());
    golden_ = std::move(file->tensors);
  }

  void every_type_has_an_encoder() {
    std::size_t blocks = 0;
    for (const Layout* layout : all_layouts()) {
      blocks += layout->block > 0;
      QCOMPARE(has_block_encoder(layout->id), layout->block > 0);
    }
    QCOMPARE(blocks, std::size(types));
    QVERIFY(!has_block_encoder("q8_k") && !has_block_encoder(""));
    for (const Type& type : types)
      QCOMPARE(block_encoder_weighs(type.layout), std::strcmp(type.hash, type.hash_weighted) != 0);
    QVERIFY(!block_encoder_weighs("int"));
  }

  void formula_data() { every_isa_and_type(); }
  void formula() {
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
    const QByteArray plain = encode(**compute, view(x, 1), t.layout, {});
    QCOMPARE(short_hash(plain.constData(), std::size_t(plain.size())), QByteArray(t.hash));
    const QByteArray weighted = encode(**compute, view(x, 1), t.layout, importance);
    QCOMPARE(short_hash(weighted.constData(), std::size_t(weighted.size())),
             QByteArray(t.hash_weighted));
  }

  void awkward_rows_data() { every_isa_and_type(); }
  void awkward_rows() {
    QFETCH(int, isa);
    QFETCH(int, type);
    const std::string id = types[type].layout;
    auto compute = make_cpu_compute(Isa(isa));
    QVERIFY(compute.ok());
    const auto input = floats(golden("input")), importance = floats(golden("importance"));
    const std::int64_t rows = std::int64_t(input.size() / importance.size());
    QVERIFY(rows >= 4);
    const QByteArray plain = golden(id + ".plain"), weighted = golden(id + ".weighted");
    QVERIFY(!plain.isEmpty());
    QCOMPARE(encode(**compute, view(input, rows), id, {}), plain);
    QCOMPARE(encode(**compute, view(input, rows), id, importance),
             weighted.isEmpty() ? plain : weighted);
    QCOMPARE(weighted.isEmpty(), !block_encoder_weighs(id));
  }

  void reference_files_data() { every_isa_and_type(); }
  void reference_files() {
    QFETCH(int, isa);
    QFETCH(int, type);
    const auto data = test::shared_data();
    if (!data)
      QSKIP("the reference files are not beside this checkout");
    const auto folder = *data / "ggml-golden";
    const std::string name = types[type].layout;
    if (!std::filesystem::exists(folder / (name + ".bin")))
      QSKIP("there is no reference file of this type");
    const auto input = floats(read(folder / "input.f32"));
    const auto importance = floats(read(folder / "imatrix.f32"));
    QCOMPARE(input.size(), std::size_t(64 * 1024));
    auto compute = make_cpu_compute(Isa(isa));
    QVERIFY(compute.ok());
    const QByteArray plain = encode(**compute, view(input, 64), name, {});
    QVERIFY(plain == read(folder / (name + ".bin")));
    QVERIFY(encode(**compute, view(input, 64), name, importance) ==
            read(folder / (name + ".imatrix.bin")));
    std::vector<float> decoded(64 * 1024);
    QVERIFY((*compute)->decode(packed(name, plain, 64, 1024), 0, 64, decoded).ok());
    QVERIFY(decoded == floats(read(folder / (name + ".decoded.f32"))));
  }

  /// Blocks do not know their neighbours: a row in pieces, and numbers of blocks that leave lanes
  /// empty. With importance that holds from the types of 256 columns on.
  void rows_in_pieces() {
    const auto compute = std::move(*make_cpu_compute());
    for (const Type& t : types) {
      const std::int64_t block = find_layout(t.layout)->block;
      for (const std::int64_t n : {1, 2, 3, 5, 15, 17, 33}) {
        const auto x = test::normal_noise(std::size_t(n * block), std::uint32_t(n), 0.1f);
        std::vector<float> importance(x.size());
        for (std::size_t i = 0; i < x.size(); ++i)
          importance[i] = float(1 + i * i % 13);
        for (const bool weighted : {false, true}) {
          if (weighted && block < 256)
            continue;
          const auto whole =
              encode(*compute, view(x, 1), t.layout,
                     weighted ? std::span<const float>(importance) : std::span<const float>());
          QByteArray pieces;
          for (std::int64_t b = 0; b < n; ++b) {
            const std::vector<float> one(x.begin() + b * block, x.begin() + (b + 1) * block);
            const auto part = std::span<const float>(importance)
                                  .subspan(std::size_t(b * block), std::size_t(block));
            pieces += encode(*compute, view(one, 1), t.layout,
                             weighted ? part : std::span<const float>());
          }
          QVERIFY2(whole == pieces, t.layout);
        }
      }
    }
  }

  void float_types_and_chunks() {
    const auto compute = std::move(*make_cpu_compute());
    // 4352 columns: more than are converted at a time.
    auto x = test::normal_noise(2 * 4352, 3, 0.05f);
    std::vector<std::byte> halves(x.size() * 2);
    for (const FloatType type : {FloatType::f16, FloatType::bf16}) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        store_float(type, halves.data(), std::int64_t(i), x[i]);
        x[i] = load_float(type, halves.data(), std::int64_t(i));
      }
      const std::vector<float> ones(4352, 1.0f);
      for (const Type& t : types)
        for (const auto importance : {std::span<const float>(), std::span<const float>(ones)})
          QVERIFY2(encode(*compute, {type, 2, 4352, halves, {}}, t.layout, importance) ==
                       encode(*compute, view(x, 2), t.layout, importance),
                   t.layout);
    }
  }

  /// What a method says of weights and importance that the types cannot hold.
  void method_reports() {
    const auto compute = std::move(*make_cpu_compute());
    Feedback feedback;
    const auto run = [&](const std::vector<float>& x, std::string_view id,
                         std::span<const float> importance) {
      const FloatView w = view(x, 2);
      const auto scheme = *parse_scheme(id);
      return find_method("rtn")->quantize(
          {w, scheme, Json::object(), "minmax", importance, *compute, feedback, "some.module"});
    };
    const auto x = test::normal_noise(512, 4, 0.02f);
    std::vector<float> importance(256, 2.0f);
    for (const Type& t : types) {
      const auto made = run(x, t.layout, importance);
      QVERIFY(made.ok());
      QCOMPARE(made->weighted, block_encoder_weighs(t.layout));
      QVERIFY(made->notes.empty());
    }
    // A power of two in all of them is no information, however large or small.
    const auto plain = run(x, "q4_k", importance);
    for (const float factor : {std::ldexp(1.0f, 100), std::ldexp(1.0f, -100)}) {
      std::vector<float> scaled(importance);
      for (float& v : scaled)
        v *= factor;
      QVERIFY(same(run(x, "q4_k", scaled)->tensor.codes, plain->tensor.codes));
    }
    importance[7] = 0;
    const auto some = run(x, "q4_k", importance);
    QVERIFY(some->weighted && some->notes.size() == 1);
    QVERIFY(some->notes[0].find("1 of 256 columns") != std::string::npos);
    const auto none = run(x, "q4_k", std::vector<float>(256, 0.0f));
    QVERIFY(!none->weighted && none->notes.size() == 1);
    QVERIFY(same(none->tensor.codes, run(x, "q4_k", {})->tensor.codes));

    for (const float bad : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
      importance[7] = bad;
      QCOMPARE(run(x, "q4_k", importance).error().code, std::string("bad-file"));
    }

    std::vector<float> extreme(x);
    extreme[300] = 3e38f;
    for (const Type& t : types) {
      const auto refused = run(extreme, t.layout, {});
      const std::string id = t.layout;
      if (id == "mxfp4" || id == "nvfp4") {
        QVERIFY2(refused.ok(), t.layout); // a wide exponent, and a scale that stops at 448
        QCOMPARE(refused->notes.empty(), id == "mxfp4");
        continue;
      }
      QVERIFY2(!refused.ok(), t.layout);
      QVERIFY(refused.error().message.find(id) != std::string::npos);
    }
    std::vector<float> tiny(512, 1e-12f);
    const auto gone = run(tiny, "q6_k", {});
    QVERIFY(gone.ok() && gone->notes.size() == 1);
    QVERIFY(gone->notes[0].find("2 blocks became zero") != std::string::npos);
    QVERIFY(run(std::vector<float>(512, 0.0f), "q6_k", {})->notes.empty());
  }

  void refuses() {
    auto compute = make_cpu_compute(Isa::scalar);
    std::vector<float> x(48);
    std::vector<std::byte> out(34);
    const auto odd = (*compute)->quantize_blocks(view(x, 1), "q8_0", {}, out);
    QVERIFY(!odd.ok());
    QVERIFY(odd.error().message.find("48") != std::string::npos);
    x.resize(128);
    const auto half = (*compute)->quantize_blocks(view(x, 1), "q4_k", {}, out);
    QVERIFY(!half.ok());
    QVERIFY(half.error().message.find("256") != std::string::npos);
    x.resize(32);
    QCOMPARE((*compute)->quantize_blocks(view(x, 1), "q7_9", {}, out).error().code,
             std::string("unsupported"));
    QCOMPARE((*compute)->quantize_blocks(view(x, 1), "int", {}, out).error().code,
             std::string("unsupported"));
    const std::vector<float> short_importance(31);
    QCOMPARE((*compute)->quantize_blocks(view(x, 1), "q8_0", short_importance, out).error().code,
             std::string("bad-argument"));
    out.resize(33);
    QCOMPARE((*compute)->quantize_blocks(view(x, 1), "q8_0", {}, out).error().code,
             std::string("bad-argument"));
  }

 private:
  static void every_isa_and_type() {
    QTest::addColumn<int>("isa");
    QTest::addColumn<int>("type");
    for (const Isa isa : supported_isas())
      for (int t = 0; t < int(std::size(types)); ++t)
        QTest::addRow("%s %s", std::string(isa_name(isa)).c_str(), types[t].layout)
            << int(isa) << t;
  }
};

QTEST_APPLESS_MAIN(TestGgufEncode)
#include "tst_gguf_encode.moc"
