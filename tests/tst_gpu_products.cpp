// SPDX-License-Identifier: GPL-3.0-or-later
// Matrix products of the Vulkan backend, the memory they keep, and what happens when the device is
// lost.
#include "tests/gpu_support.h"

using namespace bitlathe;
using namespace bitlathe::test;

class TestGpuProducts : public GpuTest {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { start(); }
  void init() { open({}); }
  void products();
  void products_int8();
  void products_of_every_block_type();
  void memory_cap();
  void device_loss();
  void loss_while_loading();
};

void TestGpuProducts::products() {
  const auto check = [&](const MatrixView& q) {
    auto loaded = gpu_->load(q);
    QVERIFY(loaded.ok());
    QVERIFY((*loaded)->bytes > 0);
    std::vector<float> w(std::size_t(q.rows * q.cols));
    QVERIFY(cpu_->decode(q, 0, q.rows, w).ok());
    for (const std::int64_t m : {1, 2, 67}) {
      const auto x = normal_noise(std::size_t(m * q.cols), 5);
      std::vector<float> got(std::size_t(m * q.rows), -1), want(got.size());
      std::vector<double> magnitude(got.size());
      QVERIFY(gpu_->matmul(x.data(), m, **loaded, got.data()).ok());
      for (std::int64_t t = 0; t < m; ++t)
        for (std::int64_t r = 0; r < q.rows; ++r) {
          double sum = 0, absolute = 0;
          for (std::int64_t c = 0; c < q.cols; ++c) {
            const double part =
                double(x[std::size_t(t * q.cols + c)]) * double(w[std::size_t(r * q.cols + c)]);
            sum += part;
            absolute += std::fabs(part);
          }
          want[std::size_t(t * q.rows + r)] = float(sum);
          magnitude[std::size_t(t * q.rows + r)] = absolute;
        }
      QVERIFY(product_close(got, want, magnitude, q.cols));
    }
  };
  const Floats small = weights(FloatType::f32, 75, 172), blocky = weights(FloatType::bf16, 70, 160);
  for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    check(float_matrix(weights(type, 75, 172)));
  for (int bits = 2; bits <= 8; ++bits) {
    check(pack(*cpu_, small, {bits, 64, bits % 2 == 0, false, FloatType::f16}).view);
    check(pack(*cpu_, small, {bits, bits % 2 ? 12 : 172, bits % 2 == 1, false, FloatType::bf16})
              .view);
  }
  check(pack(*cpu_, small, {4, 172, false, true, FloatType::f32}).view);
  for (const std::string layout : {"q8_0", "q4_0", "q4_1"})
    check(block_matrix(blocky, layout, blocks_of(*cpu_, blocky, layout)));
  expect_no_notes();
}

void TestGpuProducts::products_int8() {
  for (int bits = 2; bits <= 8; ++bits)
    for (const std::int64_t group : {std::int64_t(172), std::int64_t(64), std::int64_t(8)}) {
      const Floats w = weights(FloatType::bf16, 75, 172, std::uint32_t(bits));
      const Packed p = pack(
          *cpu_, w, {bits, group, group == 172, false, bits % 2 ? FloatType::f16 : FloatType::f32});
      auto on_gpu = gpu_->load(p.view);
      auto on_cpu = cpu_->load(p.view);
      QVERIFY(on_gpu.ok() && on_cpu.ok());
      for (const std::int64_t m : {1, 5, 66}) {
        auto x = normal_noise(std::size_t(m * 172), std::uint32_t(bits));
        std::fill_n(x.begin(), 172, m == 5 ? 0.0f : 0.25f); // a token of zeros
        std::vector<float> got(std::size_t(m * 75), -1), want(got.size());
        QVERIFY(gpu_->matmul_int8(x.data(), m, **on_gpu, got.data()).ok());
        QVERIFY(cpu_->matmul_int8(x.data(), m, **on_cpu, want.data()).ok());
        // Integer sums are exact and groups are added in column order: the rest is f32 rounding of
        // a few group terms, whose order instruction sets may choose.
        double largest = 0;
        for (const float y : want)
          largest = std::max(largest, std::fabs(double(y)));
        for (std::size_t i = 0; i < got.size(); ++i)
          QVERIFY(std::fabs(got[i] - want[i]) <= 1e-6 * largest);
      }
    }
  expect_no_notes();
  // What the integer kernel cannot do goes to the CPU, visibly; what is no integer layout is
  // refused.
  const Floats w = weights(FloatType::f32, 9, 100);
  const Packed odd = pack(*cpu_, w, {4, 12, true, false, FloatType::f16});
  const auto x = normal_noise(100, 3);
  std::vector<float> got(9), want(9);
  auto a = gpu_->load(odd.view), b = cpu_->load(odd.view);
  QVERIFY(gpu_->matmul_int8(x.data(), 1, **a, got.data()).ok());
  QVERIFY(cpu_->matmul_int8(x.data(), 1, **b, want.data()).ok());
  QVERIFY(got == want);
  QCOMPARE(gpu_->notes().size(), std::size_t(1));
  auto floating = gpu_->load(float_matrix(w));
  QVERIFY(floating.ok());
  const auto refused = gpu_->matmul_int8(x.data(), 1, **floating, got.data());
  QVERIFY(!refused.ok() && refused.error().code == "unsupported");
  const auto foreign = gpu_->matmul(x.data(), 1, **b, got.data());
  QVERIFY(!foreign.ok() && foreign.error().code == "bad-argument");
}

/// A product with a unit vector is a column of weights: bit for bit the decoded one.
void TestGpuProducts::products_of_every_block_type() {
  for (const Layout* layout : all_layouts()) {
    if (layout->block == 0)
      continue;
    const std::int64_t rows = 9, cols = 512;
    MatrixView q;
    q.layout = layout;
    q.rows = rows;
    q.cols = cols;
    std::mt19937 random(7);
    std::vector<std::byte> codes(std::size_t((rows + 2) * layout->row_bytes(q)));
    for (auto& byte : codes) // without the top bits every f16 scale is finite
      byte = std::byte(random() & 0x3f);
    const std::vector<std::int32_t> order{4, 0, 10, 3, 2, 7, 1, 9, 5};
    q.codes = codes;
    q.row_order = order;
    auto loaded = gpu_->load(q);
    QVERIFY2(loaded.ok() && (*loaded)->bytes > 0, layout->id.data());
    std::vector<float> w(std::size_t(rows * cols));
    QVERIFY(cpu_->decode(q, 0, rows, w).ok());
    for (const std::int64_t tokens : {1, 35}) {
      std::vector<float> x(std::size_t(tokens * cols)), y(std::size_t(tokens * rows));
      const auto column = [&](std::int64_t t) { return (t * 149 + 77) % cols; };
      for (std::int64_t t = 0; t < tokens; ++t)
        x[std::size_t(t * cols + column(t))] = 1;
      QVERIFY(gpu_->matmul(x.data(), tokens, **loaded, y.data()).ok());
      for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t r = 0; r < rows; ++r)
          QVERIFY2(y[std::size_t(t * rows + r)] == w[std::size_t(r * cols + column(t))],
                   layout->id.data());
    }
  }
  expect_no_notes();
}

void TestGpuProducts::memory_cap() {
  VulkanOptions options;
  options.memory_cap = 1 << 20;
  open(options);
  const Floats small = weights(FloatType::f32, 64, 1024),
               large = weights(FloatType::f32, 300, 1024);
  auto first = gpu_->load(float_matrix(small));
  QVERIFY(first.ok());
  const auto second = gpu_->load(float_matrix(large));
  QVERIFY(!second.ok());
  QCOMPARE(second.error().code, std::string("out-of-memory"));
  const auto x = normal_noise(1024, 4);
  std::vector<float> y(64);
  QVERIFY(gpu_->matmul(x.data(), 1, **first, y.data()).ok());
  first = Error{};
  for (int i = 0; i < 20; ++i) // memory comes back
    QVERIFY(gpu_->load(float_matrix(small)).ok());
  expect_no_notes();
}

/// A loss at every possible submission: the results are right, and it is said.
void TestGpuProducts::device_loss() {
  const Floats w = weights(FloatType::f32, 40, 256);
  const Packed p = pack(*cpu_, w, {4, 64, false, false, FloatType::f16});
  std::vector<std::uint64_t> counts_want(64);
  QVERIFY(cpu_->histogram(w.view(), -1, 1, counts_want).ok());
  const auto x = normal_noise(3 * 256, 3);
  std::vector<float> y_want(3 * 40);
  auto on_cpu = cpu_->load(p.view);
  QVERIFY(cpu_->matmul(x.data(), 3, **on_cpu, y_want.data()).ok());
  for (std::uint64_t after = 1; after < 26; after += 3) {
    VulkanOptions options;
    options.lose_after = after;
    options.max_range = 9000; // several submissions for each call
    open(options);
    for (int round = 0; round < 12 && (round < 2 || gpu_->notes().empty()); ++round) {
      std::vector<std::byte> codes(p.codes.size());
      QVERIFY(gpu_->quantize_int(w.view(), p.spec, p.grids, codes).ok());
      QVERIFY(codes == p.codes);
      std::vector<std::uint64_t> counts(64);
      QVERIFY(gpu_->histogram(w.view(), -1, 1, counts).ok());
      QVERIFY(counts == counts_want);
      auto loaded = gpu_->load(p.view);
      QVERIFY(loaded.ok());
      std::vector<float> y(y_want.size());
      QVERIFY(gpu_->matmul(x.data(), 3, **loaded, y.data()).ok());
      for (std::size_t i = 0; i < y.size(); ++i)
        QVERIFY(std::fabs(y[i] - y_want[i]) < 1e-4);
    }
    QVERIFY2(gpu_->notes().size() == 1, all_notes().c_str());
    QVERIFY(gpu_->notes().front().find("was lost") != std::string::npos);
  }
}

void TestGpuProducts::loss_while_loading() {
  VulkanOptions options;
  options.lose_after = 1;
  options.force_staging = true;
  open(options);
  const Floats w = weights(FloatType::f32, 8, 64);
  auto loaded = gpu_->load(float_matrix(w)); // the one submission that works
  QVERIFY(loaded.ok());
  const auto x = normal_noise(64, 3);
  std::vector<float> y(8), want(8);
  QVERIFY(gpu_->matmul(x.data(), 1, **loaded, y.data()).ok());
  auto on_cpu = cpu_->load(float_matrix(w));
  QVERIFY(cpu_->matmul(x.data(), 1, **on_cpu, want.data()).ok());
  QVERIFY(y == want);
  auto again = gpu_->load(float_matrix(w));
  QVERIFY(again.ok());
  QVERIFY(gpu_->matmul(x.data(), 1, **again, y.data()).ok());
  QVERIFY(y == want);
  QCOMPARE(gpu_->notes().size(), std::size_t(1));
}

QTEST_GUILESS_MAIN(TestGpuProducts)
#include "tst_gpu_products.moc"
