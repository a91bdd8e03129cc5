// SPDX-License-Identifier: GPL-3.0-or-later
// Every Vulkan kernel against its CPU twin, on whatever device there is (lavapipe is enough), in
// the plain way, through staging copies, in small pieces, and without optional features. Products
// and the loss of the device: tst_gpu_products. tst_gpu_validation and tst_gpu_products_validation
// run the same under the Khronos validation layer.
#include "kernels/gpu/pipeline_file.h"
#include "kernels/gpu/spirv.h"
#include "shaders/shaders.h"
#include "tests/gpu_support.h"

#include <QTemporaryDir>

using namespace bitlathe;
using namespace bitlathe::test;

class TestGpu : public GpuTest {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { start(); }
  void init() { open({}); }
  void moments();
  void moments_outside_f32();
  void histogram();
  void group_ranges();
  void quantize_int();
  void int_errors();
  void blocks();
  void decode_and_errors();
  void cancel();
  void empty_and_wrong_arguments();
  void wrong_device_name();
  void pipeline_cache();
  void shader_conventions();
  void modes_data();
  void modes();
};

void TestGpu::moments() {
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    for (const auto& [rows, cols] :
         {std::pair<std::int64_t, std::int64_t>{7, 172}, {33, 256}, {1, 9001}, {300, 3}}) {
      Floats w = weights(type, rows, cols);
      for (const float special : {std::numeric_limits<float>::quiet_NaN(),
                                  std::numeric_limits<float>::infinity(), -1.5f}) {
        static int at = 0;
        store_float(type, w.bytes.data(), (at += 131) % (rows * cols), special);
      }
      std::vector<Moments> got(std::size_t(rows + 1)), want(std::size_t(rows + 1));
      QVERIFY(gpu_->row_moments(w.view(), std::span(got).first(std::size_t(rows))).ok());
      QVERIFY(cpu_->row_moments(w.view(), std::span(want).first(std::size_t(rows))).ok());
      got.back() = *gpu_->moments(w.view());
      want.back() = *cpu_->moments(w.view());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const Moments &a = got[i], &b = want[i];
        QCOMPARE(a.count, b.count);
        QCOMPARE(a.nan, b.nan);
        QCOMPARE(a.inf, b.inf);
        QCOMPARE(a.zeros, b.zeros);
        QVERIFY(a.min == b.min && a.max == b.max && a.absmax == b.absmax);
        const double n = double(b.count);
        QVERIFY(sum_close(a.sum, b.sum, std::sqrt(b.sum2 * n)));
        QVERIFY(sum_close(a.sum2, b.sum2, b.sum2));
        QVERIFY(sum_close(a.sum3, b.sum3, std::sqrt(b.sum2 * b.sum4)));
        QVERIFY(sum_close(a.sum4, b.sum4, b.sum4));
        if (n > 100) // raw sums of fewer values may cancel
          QVERIFY(std::fabs(a.kurtosis() - b.kurtosis()) <= 1e-5 * (1 + b.kurtosis()));
      }
    }
  expect_no_notes();
}

void TestGpu::moments_outside_f32() {
  const auto w = floats_of(FloatType::f32, 3, 4,
                           {1e-20f, 2e-20f, 0, 1e-20f, 1e12f, -1e12f, 3, 4, 1, 2, 3, -4});
  std::vector<Moments> got(3), want(3);
  QVERIFY(gpu_->row_moments(w.view(), got).ok());
  QVERIFY(cpu_->row_moments(w.view(), want).ok());
  for (int i = 0; i < 3; ++i) {
    QVERIFY(sum_close(got[i].sum4, want[i].sum4, want[i].sum4));
    QVERIFY(got[i].sum4 > 0 && std::isfinite(got[i].sum4));
    QCOMPARE(got[i].count, want[i].count);
  }
  QCOMPARE(gpu_->notes().size(), std::size_t(1)); // the two rows were redone, and it says so
}

void TestGpu::histogram() {
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    for (const std::size_t bins : {std::size_t(1), std::size_t(100), std::size_t(512),
                                   std::size_t(4096), std::size_t(10000)}) {
      Floats w = weights(type, 37, 700);
      store_float(type, w.bytes.data(), 77, std::numeric_limits<float>::quiet_NaN());
      store_float(type, w.bytes.data(), 99, -std::numeric_limits<float>::infinity());
      const Moments m = *cpu_->moments(w.view());
      for (const auto& [lo, hi] :
           {std::pair<float, float>{m.min, m.max}, {-0.03f, 0.04f}, {0.0f, m.max}}) {
        std::vector<std::uint64_t> got(bins, 5), want(bins, 5);
        QVERIFY(gpu_->histogram(w.view(), lo, hi, got).ok());
        QVERIFY(cpu_->histogram(w.view(), lo, hi, want).ok());
        QVERIFY(got == want);
      }
    }
  expect_no_notes();
}

void TestGpu::group_ranges() {
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    for (const std::int64_t cols : {3, 172, 1000})
      for (const std::int64_t group : {std::int64_t(1), std::int64_t(7), std::int64_t(32),
                                       std::int64_t(128), std::int64_t(5000)}) {
        Floats w = weights(type, 9, cols);
        store_float(type, w.bytes.data(), 2, std::numeric_limits<float>::quiet_NaN());
        store_float(type, w.bytes.data(), 9 * cols - 1, -std::numeric_limits<float>::infinity());
        const auto n = std::size_t(9 * ((cols + group - 1) / group));
        std::vector<float> a(n), b(n), c(n), d(n);
        QVERIFY(gpu_->group_ranges(w.view(), group, a, b).ok());
        QVERIFY(cpu_->group_ranges(w.view(), group, c, d).ok());
        for (std::size_t i = 0; i < n; ++i) {
          QVERIFY(std::isnan(a[i]) == std::isnan(c[i]) && std::isnan(b[i]) == std::isnan(d[i]));
          if (!std::isnan(c[i]))
            QVERIFY(std::memcmp(&a[i], &c[i], 4) == 0 && std::memcmp(&b[i], &d[i], 4) == 0);
        }
      }
  // Smallest magnitudes: the order of subnormals is exact too.
  const auto tiny = floats_of(FloatType::f32, 1, 4, {1e-42f, -3e-43f, 5e-44f, -1e-44f});
  float lo, hi;
  QVERIFY(gpu_->group_ranges(tiny.view(), 4, {&lo, 1}, {&hi, 1}).ok());
  QVERIFY(lo == -3e-43f && hi == 1e-42f);
  expect_no_notes();
}

void TestGpu::quantize_int() {
  int cases = 0;
  for (int bits = 2; bits <= 8; ++bits)
    for (const bool symmetric : {true, false})
      for (const std::int64_t cols : {20, 172, 256})
        for (const std::int64_t group : {std::int64_t(0), std::int64_t(-1), std::int64_t(32),
                                         std::int64_t(128), std::int64_t(12)}) {
          IntSpec spec;
          spec.bits = bits;
          spec.symmetric = symmetric;
          spec.per_tensor = group == -1;
          spec.group = group > 0 ? group : cols;
          spec.scale_type = FloatType(cases % 3);
          const Floats w = weights(FloatType(cases / 3 % 3), 13, cols, std::uint32_t(cases));
          const Packed p = pack(*cpu_, w, spec);
          std::vector<std::byte> codes(p.codes.size(), std::byte(0xee));
          QVERIFY(gpu_->quantize_int(w.view(), spec, p.grids, codes).ok());
          QVERIFY2(codes == p.codes, qPrintable(QString("int%1 sym %2 cols %3 group %4")
                                                    .arg(bits)
                                                    .arg(symmetric)
                                                    .arg(cols)
                                                    .arg(group)));
          ++cases;
        }
  // Values far outside the grid, halfway between codes, NaN.
  std::vector<float> odd = {1e30f,
                            -1e30f,
                            0.5f,
                            1.5f,
                            2.5f,
                            -0.5f,
                            -1.5f,
                            std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(),
                            1e-40f,
                            6.9999995f};
  const Floats w = floats_of(FloatType::f32, 1, std::int64_t(odd.size()), odd);
  const IntSpec spec{4, w.cols, true, false, FloatType::f32};
  const IntGrid grid{1.0f, 1.0f, 8};
  std::vector<std::byte> got(8), want(8);
  QVERIFY(gpu_->quantize_int(w.view(), spec, {&grid, 1}, got).ok());
  QVERIFY(cpu_->quantize_int(w.view(), spec, {&grid, 1}, want).ok());
  QVERIFY(got == want);
  expect_no_notes();
}

void TestGpu::int_errors() {
  for (const bool per_tensor : {false, true})
    for (const bool weighted : {false, true}) {
      const Floats w = weights(per_tensor ? FloatType::bf16 : FloatType::f32, 5, 172, 9);
      const IntSpec spec{3, per_tensor ? w.cols : 64, weighted, per_tensor, FloatType::f16};
      const Packed p = pack(*cpu_, w, spec);
      std::vector<std::vector<IntGrid>> candidates;
      for (const float clip : {1.0f, 0.9f, 0.8f, 0.7f, 0.55f}) {
        candidates.emplace_back();
        for (const IntGrid& g : p.grids)
          candidates.back().push_back(
              make_int_grid(-g.scale * 3 * clip, g.scale * 4 * clip, 3, weighted, FloatType::f16));
      }
      const auto importance = normal_noise(weighted ? std::size_t(w.cols) : 0, 3);
      std::vector<double> got(candidates.size() * p.grids.size()), want(got.size());
      QVERIFY(gpu_->int_errors(w.view(), spec, candidates, importance, got).ok());
      QVERIFY(cpu_->int_errors(w.view(), spec, candidates, importance, want).ok());
      QVERIFY(got == want); // bit for bit, so that a search chooses alike
    }
}

void TestGpu::blocks() {
  for (const std::string layout : {"q8_0", "q4_0", "q4_1"})
    for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16}) {
      Floats w = weights(type, 21, 224);
      for (int i = 0; i < 32; ++i) { // a tie in magnitude, a block of negative zeros, tiny values
        store_float(type, w.bytes.data(), i, i == 4 ? 2.0f : i == 20 ? -2.0f : 0.01f * float(i));
        store_float(type, w.bytes.data(), 32 + i, -0.0f);
        store_float(type, w.bytes.data(), 64 + i, 1e-7f * float(i - 9));
        store_float(type, w.bytes.data(), 96 + i,
                    type == FloatType::f16 ? 6e4f : 1e30f / float(i + 1));
      }
      QVERIFY(blocks_of(*gpu_, w, layout) == blocks_of(*cpu_, w, layout));
    }
  // Scales over the whole range of exponents: division rounds as the CPU's does.
  auto v = normal_noise(32 * 400, 77);
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = std::ldexp(v[i], int(i / 32) % 230 - 110);
  const Floats w = floats_of(FloatType::f32, 400, 32, v);
  for (const std::string layout : {"q8_0", "q4_0", "q4_1"})
    QVERIFY2(blocks_of(*gpu_, w, layout) == blocks_of(*cpu_, w, layout), layout.c_str());
  expect_no_notes();

  const std::vector<float> importance(32, 1.0f);
  std::vector<std::byte> got(400 * 18), want(400 * 18);
  QVERIFY(gpu_->quantize_blocks(w.view(), "q4_0", importance, got).ok());
  QVERIFY(cpu_->quantize_blocks(w.view(), "q4_0", importance, want).ok());
  QVERIFY(got == want);
  QCOMPARE(gpu_->notes().size(), std::size_t(1)); // the weighted search stays on the CPU, visibly
}

void TestGpu::decode_and_errors() {
  const auto check = [&](const Floats& w, const MatrixView& q) {
    std::vector<float> got(std::size_t((w.rows - 1) * w.cols)), want(got.size());
    QVERIFY(gpu_->decode(q, 1, w.rows - 1, got).ok());
    QVERIFY(cpu_->decode(q, 1, w.rows - 1, want).ok());
    QVERIFY(std::memcmp(got.data(), want.data(), got.size() * 4) == 0);
    std::vector<ErrorSums> a(std::size_t(w.rows)), b(a);
    QVERIFY(gpu_->row_errors(w.view(), q, a).ok());
    QVERIFY(cpu_->row_errors(w.view(), q, b).ok());
    for (std::size_t i = 0; i < a.size(); ++i) {
      QCOMPARE(a[i].count, b[i].count);
      QVERIFY(a[i].max_abs_error == b[i].max_abs_error);
      QVERIFY(sum_close(a[i].sum_sq_error, b[i].sum_sq_error, b[i].sum_sq_error));
      QVERIFY(sum_close(a[i].sum_sq_ref, b[i].sum_sq_ref, b[i].sum_sq_ref));
      QVERIFY(sum_close(a[i].sum_sq_quant, b[i].sum_sq_quant, b[i].sum_sq_quant));
      QVERIFY(sum_close(a[i].sum_product, b[i].sum_product,
                        std::sqrt(b[i].sum_sq_ref * b[i].sum_sq_quant)));
    }
    const ErrorSums all = *gpu_->error(w.view(), q), all_cpu = *cpu_->error(w.view(), q);
    QVERIFY(std::fabs(all.sqnr_db() - all_cpu.sqnr_db()) < 1e-5);
  };
  int cases = 0;
  for (int bits = 2; bits <= 8; ++bits)
    for (const std::int64_t cols : {172, bits == 4 ? 2304 : 20})
      for (const std::int64_t group :
           {std::int64_t(cases % 3 ? 0 : -1), std::int64_t(12), std::int64_t(64)}) {
        const Floats w = weights(FloatType(cases % 3), 6, cols, std::uint32_t(cases));
        const Packed p = pack(*cpu_, w,
                              {bits, group > 0 ? group : cols, cases % 2 == 0, group == -1,
                               FloatType(cases / 2 % 3)});
        check(w, p.view);
        ++cases;
      }
  for (const std::string layout : {"q8_0", "q4_0", "q4_1"}) {
    const Floats w = weights(FloatType::f32, 5, 352);
    const auto blocks = blocks_of(*cpu_, w, layout);
    check(w, block_matrix(w, layout, blocks));
  }
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16}) {
    const Floats w = weights(FloatType::f32, 5, 99), v = weights(type, 5, 99);
    check(w, float_matrix(v));
  }
  expect_no_notes();
}

void TestGpu::cancel() {
  const Floats w = weights(FloatType::f32, 64, 64);
  Feedback feedback;
  feedback.stop = true;
  const auto stopped = gpu_->moments(w.view(), &feedback);
  QVERIFY(!stopped.ok() && stopped.error().cancelled());
  feedback.stop = false;
  QVERIFY(gpu_->moments(w.view(), &feedback).ok());
}

void TestGpu::empty_and_wrong_arguments() {
  const Floats none{FloatType::f32, 0, 16, {}};
  QCOMPARE(gpu_->moments(none.view())->count, std::uint64_t(0));
  const Floats w = weights(FloatType::f32, 4, 40);
  std::vector<std::byte> bytes(1);
  std::vector<float> values(1);
  std::vector<std::uint64_t> counts(4);
  const IntGrid grid;
  QCOMPARE(gpu_->quantize_int(w.view(), {4, 40, true, false, FloatType::f16}, {&grid, 1}, bytes)
               .error()
               .code,
           std::string("bad-argument"));
  QCOMPARE(gpu_->quantize_blocks(w.view(), "q8_0", {}, bytes).error().code,
           std::string("bad-argument"));
  QCOMPARE(gpu_->histogram(w.view(), 1, 1, counts).error().code, std::string("bad-argument"));
  QCOMPARE(gpu_->group_ranges(w.view(), 0, values, values).error().code,
           std::string("bad-argument"));
  QCOMPARE(gpu_->decode(float_matrix(w), 0, 5, values).error().code, std::string("bad-argument"));
  MatrixView shorter = float_matrix(w);
  shorter.codes = shorter.codes.first(16);
  QVERIFY(!gpu_->load(shorter).ok() || gpu_->notes().size() == 1);
}

void TestGpu::wrong_device_name() {
  VulkanOptions options;
  options.device = "no such device";
  auto r = make_vulkan_compute(options);
  QVERIFY(!r.ok());
  QCOMPARE(r.error().code, std::string("no-device"));
  QVERIFY(r.error().message.find(gpu_->device().name) != std::string::npos);
  options.device = "99";
  QVERIFY(!make_vulkan_compute(options).ok());
  options.device = "0";
  QVERIFY(make_vulkan_compute(options).ok());
  const QByteArray before = qgetenv("BITLATHE_GPU");
  qputenv("BITLATHE_GPU", "nothing like this");
  r = make_vulkan_compute();
  QVERIFY(!r.ok() && r.error().where == "BITLATHE_GPU");
  for (const char* backend : {"vulkan", "auto"})
    QVERIFY(!make_compute(backend).ok());
  qputenv("BITLATHE_GPU", gpu_->device().name.substr(0, 5).c_str());
  r = make_vulkan_compute();
  QVERIFY(r.ok());
  QCOMPARE((*r)->notes().size(), std::size_t(1));
  before.isEmpty() ? qunsetenv("BITLATHE_GPU") : qputenv("BITLATHE_GPU", before);
}

void TestGpu::pipeline_cache() {
  QTemporaryDir dir;
  VulkanOptions options;
  options.cache_dir = dir.path().toStdString();
  const Floats w = weights(FloatType::f32, 4, 64);
  for (int round = 0; round < 3; ++round) {
    open(options);
    QVERIFY(gpu_->moments(w.view()).ok());
    gpu_.reset();
    const auto files = QDir(dir.path()).entryInfoList(QDir::Files);
    QCOMPARE(files.size(), 1);
    if (round == 1) { // garbage is a miss, not an error
      QFile file(files.front().filePath());
      QVERIFY(file.open(QIODevice::WriteOnly));
      file.write("BLPC but not really");
    }
  }
  // Headers: every field counts.
  PipelineFileKey key{1, 2, 3, {4, 5, 6}};
  std::vector<std::byte> data(40);
  const std::uint32_t head[] = {32, 1, 1, 2};
  std::memcpy(data.data(), head, 16);
  std::memcpy(data.data() + 16, key.uuid.data(), 16);
  const auto file = wrap_pipeline_data(data, key);
  QCOMPARE(checked_pipeline_data(file, key).size(), data.size());
  for (std::size_t i = 0; i < file.size(); ++i) {
    auto bad = file;
    bad[i] ^= std::byte(1);
    QVERIFY2(checked_pipeline_data(bad, key).empty(), std::to_string(i).c_str());
  }
  for (std::size_t n = 0; n < file.size(); ++n)
    QVERIFY(checked_pipeline_data(std::span(file).first(n), key).empty());
}

void TestGpu::shader_conventions() {
  for (const ShaderCode& s : all_shaders()) {
    const auto interface = reflect_spirv(s.words, s.name);
    QVERIFY2(interface.ok(), std::string(s.name).c_str());
    QVERIFY(interface->bindings >= 2 && interface->bindings <= 8 && interface->constants >= 1);
    QCOMPARE(interface->uses_float64, s.name == "int_errors");
    QCOMPARE(interface->uses_packed_dot, s.name == "matmul_int8_dot");
    const auto patched =
        reflect_spirv(with_float_controls(s.words, {true, true, true, true}), s.name);
    QVERIFY(patched.ok() && patched->push_bytes == interface->push_bytes);
    // Truncated modules are refused, not read past their end.
    for (std::size_t n = 0; n < s.words.size(); n += 37)
      (void)reflect_spirv(s.words.first(n), s.name);
  }
}

void TestGpu::modes_data() {
  QTest::addColumn<bool>("staging");
  QTest::addColumn<quint64>("range");
  QTest::addColumn<bool>("plain");
  QTest::newRow("staging") << true << quint64(0) << false;
  QTest::newRow("small range") << false << quint64(16384) << false;
  QTest::newRow("no optional features") << false << quint64(0) << true;
  QTest::newRow("all of it") << true << quint64(12000) << true;
}

/// The whole interface once more in each mode, with shapes that need several pieces.
void TestGpu::modes() {
  QFETCH(bool, staging);
  QFETCH(quint64, range);
  QFETCH(bool, plain);
  VulkanOptions options;
  options.force_staging = staging;
  options.max_range = range;
  options.plain = plain;
  open(options);
  const Floats w = weights(FloatType::bf16, 130, 288);
  const Moments a = *gpu_->moments(w.view()), b = *cpu_->moments(w.view());
  QVERIFY(a.count == b.count && a.min == b.min && a.zeros == b.zeros);
  QVERIFY(sum_close(a.sum4, b.sum4, b.sum4));
  std::vector<std::uint64_t> counts(200), counts_want(200);
  QVERIFY(gpu_->histogram(w.view(), b.min, b.max, counts).ok());
  QVERIFY(cpu_->histogram(w.view(), b.min, b.max, counts_want).ok());
  QVERIFY(counts == counts_want);
  std::vector<float> lo(130 * 9), hi(lo), lo_want(lo), hi_want(lo);
  QVERIFY(gpu_->group_ranges(w.view(), 32, lo, hi).ok());
  QVERIFY(cpu_->group_ranges(w.view(), 32, lo_want, hi_want).ok());
  QVERIFY(lo == lo_want && hi == hi_want);
  for (const int bits : {3, 4, 8}) {
    const Packed p = pack(*cpu_, w, {bits, 32, bits == 4, false, FloatType::f16});
    std::vector<std::byte> codes(p.codes.size());
    QVERIFY(gpu_->quantize_int(w.view(), p.spec, p.grids, codes).ok());
    QVERIFY(codes == p.codes);
    std::vector<float> got(130 * 288), want(got);
    QVERIFY(gpu_->decode(p.view, 0, 130, got).ok());
    QVERIFY(cpu_->decode(p.view, 0, 130, want).ok());
    QVERIFY(got == want);
    const ErrorSums e = *gpu_->error(w.view(), p.view), e_want = *cpu_->error(w.view(), p.view);
    QVERIFY(sum_close(e.sum_sq_error, e_want.sum_sq_error, e_want.sum_sq_error));
    std::vector<double> sums(p.grids.size()), sums_want(sums);
    const std::vector<std::vector<IntGrid>> candidates = {p.grids};
    QVERIFY(gpu_->int_errors(w.view(), p.spec, candidates, {}, sums).ok());
    QVERIFY(cpu_->int_errors(w.view(), p.spec, candidates, {}, sums_want).ok());
    QVERIFY(sums == sums_want);
    auto loaded = gpu_->load(p.view), loaded_cpu = cpu_->load(p.view);
    QVERIFY(loaded.ok() && loaded_cpu.ok());
    for (const std::int64_t m : {1, 19}) {
      const auto x = normal_noise(std::size_t(m * 288), 8);
      std::vector<float> y(std::size_t(m * 130)), y_want(y);
      QVERIFY(gpu_->matmul(x.data(), m, **loaded, y.data()).ok());
      QVERIFY(cpu_->matmul(x.data(), m, **loaded_cpu, y_want.data()).ok());
      for (std::size_t i = 0; i < y.size(); ++i)
        QVERIFY(std::fabs(y[i] - y_want[i]) < 2e-5); // |y| is about 3
      QVERIFY(gpu_->matmul_int8(x.data(), m, **loaded, y.data()).ok());
      QVERIFY(cpu_->matmul_int8(x.data(), m, **loaded_cpu, y_want.data()).ok());
      for (std::size_t i = 0; i < y.size(); ++i)
        QVERIFY(std::fabs(y[i] - y_want[i]) < 2e-5);
    }
  }
  for (const std::string layout : {"q8_0", "q4_0", "q4_1"})
    QVERIFY(blocks_of(*gpu_, w, layout) == blocks_of(*cpu_, w, layout));
  // Only the clip search falls back, where 64-bit floats are not used.
  QVERIFY2(gpu_->notes().size() <= 1, all_notes().c_str());
  for (const auto& n : gpu_->notes())
    QVERIFY(n.find("clip search") != std::string::npos);
}

QTEST_GUILESS_MAIN(TestGpu)
#include "tst_gpu.moc"
