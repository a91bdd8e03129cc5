// SPDX-License-Identifier: GPL-3.0-or-later
// Schemes other than integers and GGUF blocks: grammar, values against independent calculations,
// pieces of tensors, stochastic rounding, and running them.
#include "core/engine/engine.h"
#include "core/export/exporter.h"
#include "core/job/quantize.h"
#include "core/methods/method.h"
#include "kernels/base/parallel.h"
#include "kernels/num/float16.h"
#include "kernels/num/float8.h"
#include "kernels/num/nf4.h"
#include "tests/support.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <QCryptographicHash>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;

namespace {

struct Weight {
  std::vector<float> values;
  FloatView view;
  Weight(std::int64_t rows, std::int64_t cols, std::vector<float> v) : values(std::move(v)) {
    view = {FloatType::f32, rows, cols, std::as_bytes(std::span(values))};
  }
  Weight(std::int64_t rows, std::int64_t cols, std::uint32_t seed)
      : Weight(rows, cols, test::normal_noise(std::size_t(rows * cols), seed, 0.02f)) {}
};

Scheme scheme_of(const char* id) {
  const auto scheme = parse_scheme(id);
  return scheme.ok() ? *scheme : Scheme();
}

/// Families whose codes rtn chooses.
constexpr const char* rounded[] = {
    "int4-g32-asym",    "int3-channel-sym",      "int8-tensor-asym", "nf4-b32",
    "nf4-b64-dq",       "fp4-b64-sbf16",         "f8_e4m3-channel",  "f8_e5m2-tensor",
    "f8_e4m3-b128x128", "f8_e5m2-b128x128-sf32", "ternary-channel",  "ternary-g32"};
constexpr const char* others[] = {"codebook4-channel", "codebook3-tensor", "codebook8-tensor-sf32",
                                  "codebook5-channel-sbf16"};

std::vector<const char*> all_ids() {
  std::vector<const char*> out(std::begin(rounded), std::end(rounded));
  out.insert(out.end(), std::begin(others), std::end(others));
  return out;
}

/// The weights of make_bnb_golden.py.
std::vector<float> golden_weight(std::uint64_t n, std::uint64_t seed) {
  std::vector<float> out;
  for (std::uint64_t i = 0; i < n; ++i) {
    std::int64_t total = 0;
    for (std::uint64_t k = 0; k < 12; ++k) {
      std::uint64_t h = ((i + seed * 1000003) * 12 + k) * 0x9E3779B97F4A7C15u;
      h = (h ^ (h >> 29)) * 0xBF58476D1CE4E5B9u;
      total += std::int64_t(h >> 56 & 255);
    }
    const double value = double(total - 1530) / 4096;
    out.push_back(float(i % 97 == 0 ? value * 16 : value));
  }
  return out;
}

QByteArray bytes_of(const std::vector<std::byte>& bytes) {
  return QByteArray(reinterpret_cast<const char*>(bytes.data()), qsizetype(bytes.size()));
}

} // namespace

class TestSchemes : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> cpu_;

  Result<MethodOutput> apply(const Weight& w, const Scheme& scheme, const Json& params = {},
                             std::int64_t seed = 0, std::span<const float> importance = {},
                             const std::string& observer = "minmax") {
    Feedback feedback;
    const Method& method = *encoder_of(scheme);
    const Json none = Json::object();
    MethodInput input{w.view,   scheme,       params.is_null() ? none : params,
                      observer, importance,   *cpu_,
                      feedback, "test.module"};
    input.seed = seed;
    return method.quantize(input);
  }

  std::vector<float> decoded(const QTensor& tensor) {
    std::vector<float> out(std::size_t(tensor.rows * tensor.cols));
    return cpu_->decode(tensor.view(), 0, tensor.rows, out).ok() ? out : std::vector<float>();
  }

  static std::vector<std::byte> all_bytes(const QTensor& t) {
    std::vector<std::byte> out;
    for (const auto part : {t.codes, t.scales, t.zeros, t.nested})
      out.insert(out.end(), part.begin(), part.end());
    return out;
  }

 private Q_SLOTS:
  void initTestCase() {
    auto cpu = make_cpu_compute();
    QVERIFY2(cpu.ok(), cpu.ok() ? "" : cpu.error().text().c_str());
    cpu_ = std::move(*cpu);
  }

  void grammar() {
    const std::pair<const char*, const char*> good[] = {
        {"nf4-b64", "nf4-b64"},
        {"fp4-b4096-dq", "fp4-b4096-dq"},
        {"nf4-b32-sf32", "nf4-b32"}, // what is usual is left out
        {"nf4-b128-sf16", "nf4-b128-sf16"},
        {"f8_e4m3-tensor", "f8_e4m3-tensor"},
        {"f8_e5m2-b128x128-sbf16", "f8_e5m2-b128x128-sbf16"},
        {"f8_e4m3-channel-sf16", "f8_e4m3-channel"},
        {"ternary-channel", "ternary-channel"},
        {"ternary-g64-sf32", "ternary-g64-sf32"},
        {"codebook2-tensor", "codebook2-tensor"},
        {"codebook8-channel-sbf16", "codebook8-channel-sbf16"},
        {"int4-g128-asym-sf16", "int4-g128-asym"}};
    for (const auto& [id, canonical] : good) {
      const auto scheme = parse_scheme(id);
      QVERIFY2(scheme.ok(), id);
      QCOMPARE(scheme->id, canonical);
      QVERIFY(parse_scheme(scheme->id).ok() && *parse_scheme(scheme->id) == *scheme);
      QVERIFY(scheme->quantized && cannot_encode(*scheme).empty());
    }
    for (const char* id : {"nf4",
                           "nf4-b",
                           "nf4-b0",
                           "nf4-b16",
                           "nf4-b48",
                           "nf4-b8192",
                           "nf4-b64-dq-sf32",
                           "nf4-b64-sf32-dq",
                           "nf4-b64-",
                           "nf4-g64",
                           "fp4-b064",
                           "f8_e4m3",
                           "f8_e4m3-g128",
                           "f8_e3m4-channel",
                           "f8_e4m3-b64x64",
                           "f8_e4m3-channel-sym",
                           "ternary",
                           "ternary-tensor",
                           "ternary-g0",
                           "ternary-g",
                           "ternary-channel-x",
                           "codebook-tensor",
                           "codebook1-tensor",
                           "codebook9-tensor",
                           "codebook16-tensor",
                           "codebook4-g64",
                           "codebook4",
                           "codebookx-tensor",
                           "int4-channel",
                           "int4-g128-asym-sf64",
                           "nf4-b99999999999999999999"}) {
      const auto scheme = parse_scheme(id);
      QVERIFY2(!scheme.ok() && scheme.error().code == "bad-argument", id);
    }
  }

  void bitsandbytes() {
    QFile file(QString::fromStdString((test::source_dir() / "tests/golden/bnb4.json").string()));
    QVERIFY(file.open(QIODevice::ReadOnly));
    const QJsonArray cases = QJsonDocument::fromJson(file.readAll()).array();
    QVERIFY(cases.size() >= 7);
    for (const auto& entry : cases) {
      const QJsonObject golden = entry.toObject();
      const auto hex = [&](const char* key) {
        return QByteArray::fromHex(golden[key].toString().toLatin1());
      };
      const auto scheme = parse_scheme(golden["scheme"].toString().toStdString());
      QVERIFY(scheme.ok());
      const std::int64_t rows = golden["rows"].toInt(), cols = golden["cols"].toInt();
      const Weight w(
          rows, cols,
          golden_weight(std::uint64_t(rows * cols), std::uint64_t(golden["seed"].toInt())));
      const auto output = apply(w, *scheme);
      QVERIFY(output.ok());
      const QTensor& t = output->tensor;
      const QByteArray packed = hex("packed"); // two per byte over the flattened weight
      const MatrixView view = t.view();
      for (std::int64_t i = 0; i < rows * cols; ++i) {
        const int ours = view.row(i / cols)[i % cols / 2] >> (i % cols % 2 * 4) & 15;
        const int theirs = std::uint8_t(packed[qsizetype(i / 2)]) >> (i % 2 == 0 ? 4 : 0) & 15;
        QVERIFY2(ours == theirs, qPrintable(QString("%1 %2: %3 instead of %4")
                                                .arg(golden["scheme"].toString())
                                                .arg(i)
                                                .arg(ours)
                                                .arg(theirs)));
      }
      QCOMPARE(bytes_of(t.owned_scales), hex("absmax"));
      QCOMPARE(bytes_of(t.owned_nested), hex("nested_absmax") + hex("nested_offset"));
      auto values = decoded(t);
      for (float& value : values)
        value += 0.0f; // -0 is 0
      const auto hash =
          QCryptographicHash::hash(QByteArray(reinterpret_cast<const char*>(values.data()),
                                              qsizetype(values.size() * sizeof(float))),
                                   QCryptographicHash::Sha256);
      QCOMPARE(QString(hash.toHex()), golden["decoded_sha256"].toString());
    }
  }

  void dynamicMap() {
    // Published properties of the map, and the digest of the table that PyTorch computes.
    QVERIFY(std::is_sorted(dynamic_map.begin(), dynamic_map.end()));
    QCOMPARE(dynamic_map[127], 0.0f);
    QCOMPARE(dynamic_map[255], 1.0f);
    const QByteArray bytes(reinterpret_cast<const char*>(dynamic_map.data()), 1024);
    QCOMPARE(QString(QCryptographicHash::hash(bytes, QCryptographicHash::Sha256).toHex()),
             "6d0ca9fed140bc2c31b9be3292029e22a209f6955020e65b13ceb5d7592f4e25");
    for (int i = 0; i < 256; ++i)
      QCOMPARE(int(dynamic_code(dynamic_map[std::size_t(i)])), i);
  }

  /// 4.127 bits per weight at blocks of 64 with double quantization, as published.
  void sizes() {
    const auto bits = [](const char* id) {
      const Scheme scheme = scheme_of(id);
      return 8.0 * double(scheme.family->bytes(scheme, 4096, 4096).total()) / (4096.0 * 4096.0);
    };
    QVERIFY(std::fabs(bits("nf4-b64-dq") - 4.127) < 0.0005);
    QCOMPARE(bits("nf4-b64"), 4.5);
    QVERIFY(std::fabs(bits("f8_e4m3-b128x128-sf32") - (8 + 32.0 / 16384)) < 1e-9);
    QVERIFY(std::fabs(bits("ternary-channel") - (2 + 16.0 / 4096)) < 1e-9);
    QVERIFY(std::fabs(bits("codebook4-channel") - (4 + 256.0 / 4096)) < 1e-9);
  }

  void float8_data() {
    QTest::addColumn<QString>("id");
    for (const char* kind : {"f8_e4m3", "f8_e5m2"})
      for (const char* rest :
           {"-tensor", "-channel", "-b128x128", "-b128x128-sbf16", "-channel-sf32"})
        QTest::newRow(qPrintable(QString(kind) + rest)) << QString(kind) + rest;
  }
  void float8() {
    QFETCH(QString, id);
    const Scheme scheme = scheme_of(qPrintable(id));
    const std::int64_t rows = 130, cols = 259; // tiles at the edges are smaller
    Weight w(rows, cols, 11);
    for (std::int64_t c = 0; c < cols; ++c)
      w.values[std::size_t(3 * cols + c)] = 0; // a row of zeros
    const auto output = apply(w, scheme);
    QVERIFY(output.ok());
    const auto values = decoded(output->tensor);
    const bool e4m3 = id.startsWith("f8_e4m3");
    const std::int64_t down = scheme.per_tensor ? rows : scheme.group_rows;
    const std::int64_t across = scheme.group > 0 ? scheme.group : cols;
    for (std::int64_t r0 = 0; r0 < rows; r0 += down)
      for (std::int64_t c0 = 0; c0 < cols; c0 += across) {
        float absmax = 0;
        for (std::int64_t r = r0; r < std::min(rows, r0 + down); ++r)
          for (std::int64_t c = c0; c < std::min(cols, c0 + across); ++c)
            absmax = std::max(absmax, std::fabs(w.values[std::size_t(r * cols + c)]));
        float s = absmax / (e4m3 ? 448.0f : 57344.0f);
        s = id.endsWith("sf32")    ? s
            : id.endsWith("sbf16") ? bf16_to_f32(f32_to_bf16(s))
                                   : f16_to_f32(f32_to_f16(s));
        if (absmax == 0)
          s = 1;
        else if (s == 0)
          s = 6.103515625e-05f; // e5m2 scales of small weights underflow in f16
        for (std::int64_t r = r0; r < std::min(rows, r0 + down); ++r)
          for (std::int64_t c = c0; c < std::min(cols, c0 + across); ++c) {
            const auto i = std::size_t(r * cols + c);
            // The nearest of all 256 values; halfway between two, the one with an even code.
            const double x = double(w.values[i] / s);
            double best = INFINITY;
            float want = 0;
            for (int code = 0; code < 256; ++code) {
              const float v =
                  e4m3 ? f8_e4m3_to_f32(std::uint8_t(code)) : f8_e5m2_to_f32(std::uint8_t(code));
              const double d = std::fabs(double(v) - x);
              if (std::isfinite(v) && (d < best || (d == best && code % 2 == 0))) {
                best = d;
                want = v * s;
              }
            }
            QVERIFY2(values[i] == want, qPrintable(QString("%1: %2 instead of %3")
                                                       .arg(i)
                                                       .arg(double(values[i]))
                                                       .arg(double(want))));
          }
      }
  }

  void ternaryIsOptimal() {
    // All 3^8 codings of groups of eight, each with its best scale.
    const Weight w(12, 8, test::normal_noise(96, 17, 0.5f));
    std::vector<float> importance = {1, 5, 0.1f, 2, 1, 1, 30, 0.5f};
    for (const bool weighted : {false, true}) {
      const auto output =
          apply(w, scheme_of("ternary-channel-sf32"), {}, 0,
                weighted ? std::span<const float>(importance) : std::span<const float>());
      QVERIFY(output.ok());
      const auto values = decoded(output->tensor);
      const auto weight = [&](std::size_t c) { return weighted ? double(importance[c]) : 1.0; };
      for (std::size_t r = 0; r < 12; ++r) {
        double least = INFINITY, got = 0;
        for (int coding = 0; coding < 6561; ++coding) {
          double cross = 0, square = 0, power = 0;
          for (std::size_t c = 0, rest = std::size_t(coding); c < 8; ++c, rest /= 3) {
            const double q = double(rest % 3) - 1, x = double(w.values[r * 8 + c]);
            cross += weight(c) * q * x;
            square += weight(c) * q * q;
            power += weight(c) * x * x;
          }
          least = std::min(least, power - (square > 0 ? cross * cross / square : 0));
        }
        for (std::size_t c = 0; c < 8; ++c)
          got += weight(c) * std::pow(double(values[r * 8 + c]) - double(w.values[r * 8 + c]), 2);
        QVERIFY2(got <= least * (1 + 1e-5) + 1e-12,
                 qPrintable(QString("%1 > %2").arg(got).arg(least)));
      }
    }
    // Weights that are ternary already come back as they are.
    std::vector<float> exact;
    for (std::size_t i = 0; i < 256; ++i)
      exact.push_back(0.125f * (float(i * 7 % 3) - 1));
    const Weight again(2, 128, exact);
    QCOMPARE(decoded(apply(again, scheme_of("ternary-g32"))->tensor), exact);
  }

  /// Pieces of a tensor decode to the values they have in the whole.
  void pieces() {
    for (const char* id : all_ids()) {
      const Scheme scheme = scheme_of(id);
      QVERIFY2(scheme.family, id);
      const std::int64_t rows = 150, cols = 419; // nothing divides
      const Weight w(rows, cols, 23);
      const auto output = apply(w, scheme);
      QVERIFY2(output.ok(), id);
      const QTensor& t = output->tensor;
      const auto whole = decoded(t);
      QVERIFY2(!whole.empty(), id);
      const MatrixView view = t.view();
      for (const auto& [first, count] :
           {std::pair<std::int64_t, std::int64_t>{0, 1}, {1, 5}, {127, 3}, {149, 1}, {13, 137}}) {
        const MatrixView part = view.slice(first, count).slice(0, count);
        for (const std::int64_t col : {0, 32, 128, 416}) {
          const std::int64_t n = std::min<std::int64_t>(cols - col, 3 + col);
          std::vector<float> got(static_cast<std::size_t>(n));
          part.layout->decode(part, count - 1, col, n, got.data());
          const auto at = std::size_t((first + count - 1) * cols + col);
          QVERIFY2(std::equal(got.begin(), got.end(), whole.begin() + std::ptrdiff_t(at)), id);
        }
      }
      const auto sums = cpu_->error(w.view, view);
      double slow = 0;
      for (std::size_t i = 0; i < whole.size(); ++i)
        slow += std::pow(double(whole[i]) - double(w.values[i]), 2);
      QVERIFY2(sums.ok() && std::fabs(sums->sum_sq_error - slow) <= 1e-9 * slow, id);
    }
  }

  /// Products with few and with many inputs, on the CPU and on Vulkan, against decoded weights.
  void products() {
    std::vector<std::pair<std::string, Compute*>> backends = {{"cpu", cpu_.get()}};
    std::unique_ptr<Compute> gpu;
    if (auto made = make_vulkan_compute()) {
      gpu = std::move(*made);
      backends.emplace_back("vulkan", gpu.get());
    }
    for (const char* id : all_ids()) {
      const std::int64_t rows = 70, cols = 288;
      const Weight w(rows, cols, 29);
      const auto output = apply(w, scheme_of(id));
      QVERIFY2(output.ok(), id);
      const auto values = decoded(output->tensor);
      const MatrixView view = output->tensor.view();
      for (const auto& [name, compute] : backends) {
        const auto loaded = compute->load(view);
        QVERIFY2(loaded.ok(), id);
        for (const std::int64_t tokens : {1, 3, 40}) {
          const auto x = test::normal_noise(std::size_t(tokens * cols), 31);
          std::vector<float> y(std::size_t(tokens * rows));
          QVERIFY2(compute->matmul(x.data(), tokens, **loaded, y.data()).ok(), id);
          for (std::int64_t t = 0; t < tokens; ++t)
            for (std::int64_t r = 0; r < rows; ++r) {
              double want = 0;
              for (std::int64_t c = 0; c < cols; ++c)
                want += double(x[std::size_t(t * cols + c)]) *
                        double(values[std::size_t(r * cols + c)]);
              const double got = double(y[std::size_t(t * rows + r)]);
              QVERIFY2(std::fabs(got - want) < 2e-3,
                       qPrintable(QString("%1 on %2: %3 instead of %4")
                                      .arg(id, QString::fromStdString(name))
                                      .arg(got)
                                      .arg(want)));
            }
        }
      }
      if (gpu) // decoding on the device's side gives the same values
        for (const char* kind : {"decode"}) {
          std::vector<float> part(std::size_t(3 * cols));
          QVERIFY2(gpu->decode(view, 65, 3, part).ok(), kind);
          QVERIFY2(std::equal(part.begin(), part.end(), values.begin() + 65 * cols), id);
        }
    }
  }

  /// Constants, zeros, values at the ends of f32: everything stays finite, and zeros stay zero.
  void extremes() {
    for (const char* id : all_ids())
      for (const float magnitude : {0.0f, 1e-44f, 1e-30f, 1e-6f, 1.0f, 60000.0f, 1e30f, 3e38f}) {
        Weight w(4, 128, 37);
        for (std::size_t i = 0; i < w.values.size(); ++i)
          w.values[i] = i / 128 == 1   ? 0.0f
                        : i / 128 == 2 ? magnitude
                                       : std::copysign(magnitude, w.values[i]);
        const auto output = apply(w, scheme_of(id));
        const QString what = QString("%1 with %2").arg(id).arg(double(magnitude));
        QVERIFY2(output.ok(), qPrintable(what));
        const auto values = decoded(output->tensor);
        for (std::size_t i = 0; i < values.size(); ++i) {
          QVERIFY2(std::isfinite(values[i]), qPrintable(what));
          if (magnitude == 0)
            QVERIFY2(values[i] == 0, qPrintable(what));
        }
        // What a type of scales cannot hold is said.
        if (magnitude == 1e-30f && output->tensor.scheme.float_type == FloatType::f16 &&
            std::string(id).rfind("codebook", 0) != 0)
          QVERIFY2(!output->notes.empty(), qPrintable(what));
      }
  }

  void stochasticIsUnbiased() {
    const Json on = {{"stochastic", 1}};
    const std::int64_t rows = 6, cols = 64;
    const Weight w(rows, cols, 41);
    for (const char* id : rounded) {
      const Scheme scheme = scheme_of(id);
      const auto nearest = apply(w, scheme);
      const auto off = apply(w, scheme, {{"stochastic", 0}}, 5);
      QVERIFY2(nearest.ok() && off.ok() && all_bytes(nearest->tensor) == all_bytes(off->tensor),
               id);
      const auto near = decoded(nearest->tensor);
      constexpr int draws = 1000;
      std::vector<double> mean(w.values.size());
      std::vector<float> low(w.values.size(), INFINITY), high(w.values.size(), -INFINITY);
      for (int seed = 0; seed < draws; ++seed) {
        const auto output = apply(w, scheme, on, seed);
        QVERIFY2(output.ok(), id);
        const auto values = decoded(output->tensor);
        for (std::size_t i = 0; i < values.size(); ++i) {
          mean[i] += double(values[i]) / draws;
          low[i] = std::min(low[i], values[i]);
          high[i] = std::max(high[i], values[i]);
        }
      }
      // Values outside the codes' range (asymmetric codes of integers, scales rounded down, and
      // beyond the scale of ternary codes) go to the end in every draw.
      int clipped = 0;
      for (std::size_t i = 0; i < mean.size(); ++i) {
        const double x = double(w.values[i]), a = double(low[i]), b = double(high[i]);
        if (a == b && std::fabs(a - x) > 1e-9) {
          QVERIFY2(low[i] == near[i], id);
          ++clipped;
          continue;
        }
        // Of a draw between two values with the mean x.
        const double deviation = std::sqrt(std::max(0.0, (x - a) * (b - x)) / draws);
        QVERIFY2(std::fabs(mean[i] - double(w.values[i])) <= 6 * deviation + 1e-9,
                 qPrintable(QString("%1 value %2: mean %3 of %4, deviation %5")
                                .arg(id)
                                .arg(i)
                                .arg(mean[i])
                                .arg(double(w.values[i]))
                                .arg(deviation)));
      }
      const bool ternary = scheme.family->id == "ternary";
      QVERIFY2(clipped <= (ternary ? int(mean.size()) * 6 / 10 : int(mean.size()) / 10), id);
    }
  }

  void stochasticIsSeeded() {
    const Json on = {{"stochastic", 1}};
    const Weight w(64, 256, 43);
    for (const char* id : rounded) {
      const Scheme scheme = scheme_of(id);
      const auto a = apply(w, scheme, on, 1), other = apply(w, scheme, on, 2);
      QVERIFY(a.ok() && other.ok());
      QVERIFY2(all_bytes(a->tensor) != all_bytes(other->tensor), id);
      for (const int threads : {1, 2, 8}) {
        set_thread_count(threads);
        const auto b = apply(w, scheme, on, 1);
        set_thread_count(0);
        QVERIFY2(b.ok() && all_bytes(a->tensor) == all_bytes(b->tensor), id);
      }
    }
    // Blocks with a rule of their own say that it stays.
    const auto blocks = apply(w, scheme_of("q4_0"), on, 1);
    QVERIFY(blocks.ok() && blocks->notes.size() == 1);
    QVERIFY(blocks->notes[0].find("stochastic") != std::string::npos);
  }

  /// Planned, quantized, kept, opened again and run: the logits are those of the decoded weights.
  void fromPlanToLogits_data() {
    QTest::addColumn<QString>("id");
    for (const char* id : {"nf4-b64", "fp4-b64-dq", "f8_e4m3-b128x128", "f8_e5m2-tensor",
                           "ternary-g128", "codebook4-channel", "codebook6-tensor"})
      QTest::newRow(id) << id;
  }
  void fromPlanToLogits() {
    QFETCH(QString, id);
    const auto demo = open_checkpoint(test::demo_model());
    QVERIFY(demo.ok());
    Recipe recipe;
    recipe.default_scheme = id.toStdString();
    const auto plan = make_plan(**demo, recipe);
    QVERIFY2(plan.ok(), plan.ok() ? "" : plan.error().text().c_str());
    const QTemporaryDir dir;
    const fs::path folder = fs::path(dir.path().toStdString());
    QuantizeOptions options;
    options.result_folder = folder / "result";
    Feedback feedback;
    const auto summary = run_quantize(**demo, *plan, *cpu_, options, feedback);
    QVERIFY2(summary.ok(), summary.ok() ? "" : summary.error().text().c_str());
    const auto kept = open_checkpoint(folder / "result");
    QVERIFY2(kept.ok(), kept.ok() ? "" : kept.error().text().c_str());
    QCOMPARE((*kept)->bytes(), plan->bytes_after);

    // The export without codes runs the same, up to the rounding to bf16; f8_e4m3 keeps its codes.
    Feedback quiet;
    const auto plain =
        run_export(**kept, *find_exporter("safetensors"), {folder / "plain", "demo", false}, quiet);
    QVERIFY2(plain.ok(), plain.ok() ? "" : plain.error().text().c_str());
    const bool decodes =
        std::any_of(plain->notes.begin(), plain->notes.end(), [](const std::string& note) {
          return note.find("written decoded") != std::string::npos;
        });
    QCOMPARE(decodes, !id.startsWith("f8_e4m3"));
    const auto decoded_model = open_checkpoint(plain->path);
    QVERIFY(decoded_model.ok());
    const std::vector<std::int32_t> ids = {1, 17, 300, 42, 7, 999, 3, 1500};
    std::vector<std::vector<float>> logits;
    for (const auto& model : {*kept, *decoded_model}) {
      const auto engine = Engine::create(model, *cpu_);
      QVERIFY2(engine.ok(), engine.ok() ? "" : engine.error().text().c_str());
      const auto sequence = (*engine)->new_sequence(16);
      QVERIFY(sequence.ok());
      std::vector<float> last;
      QVERIFY((*engine)
                  ->forward(**sequence, ids, std::int64_t(ids.size()) - 1,
                            [&](std::int64_t, std::span<const float> row) -> Result<void> {
                              last.assign(row.begin(), row.end());
                              return {};
                            })
                  .ok());
      logits.push_back(last);
    }
    QVERIFY(!logits[0].empty() && logits[0].size() == logits[1].size());
    float largest = 0, difference = 0;
    for (std::size_t i = 0; i < logits[0].size(); ++i) {
      largest = std::max(largest, std::fabs(logits[0][i]));
      difference = std::max(difference, std::fabs(logits[0][i] - logits[1][i]));
    }
    QVERIFY2(difference < 0.05f * largest,
             qPrintable(QString::number(double(difference / largest))));

    // Formats without a place for it refuse before writing, and name something they can hold.
    for (const char* format : {"awq", "gguf"}) {
      const Exporter* exporter = find_exporter(format);
      const auto findings = exporter->examine(**demo, export_modules(**demo, *plan));
      const auto refusal = std::find_if(findings.begin(), findings.end(), [](const Finding& f) {
        return f.level == Finding::Level::refuse;
      });
      QVERIFY2(refusal != findings.end(), format);
      QVERIFY2(refusal->message.find("nearest: ") != std::string::npos, refusal->message.c_str());
      const auto nearest = refusal->message.substr(refusal->message.find("nearest: ") + 9);
      QVERIFY2(parse_scheme(nearest.substr(0, nearest.find_first_of(" ;,"))).ok(),
               refusal->message.c_str());
    }
  }

  /// A method that cannot make a scheme gives way to one that can, with the reason.
  void plansSayWhichMethod() {
    const auto demo = open_checkpoint(test::demo_model());
    QVERIFY(demo.ok());
    Recipe recipe;
    recipe.default_scheme = "codebook4-channel";
    const auto plan = make_plan(**demo, recipe);
    QVERIFY(plan.ok());
    recipe.default_method = "lloyd-max";
    const auto same = make_plan(**demo, recipe);
    recipe.default_scheme = "nf4-b64";
    const auto other = make_plan(**demo, recipe);
    QVERIFY(same.ok() && other.ok());
    for (std::size_t i = 0; i < plan->modules.size(); ++i) {
      if (!plan->modules[i].quantize)
        continue;
      QCOMPARE(plan->modules[i].method, "lloyd-max");
      QVERIFY(plan->modules[i].reason.find("lloyd-max instead of rtn") != std::string::npos);
      QCOMPARE(same->modules[i].reason_kind, "default");
      QCOMPARE(other->modules[i].method, "rtn");
      QVERIFY(other->modules[i].reason.find("fixed grid") != std::string::npos);
    }
  }
};

QTEST_GUILESS_MAIN(TestSchemes)
#include "tst_schemes.moc"
