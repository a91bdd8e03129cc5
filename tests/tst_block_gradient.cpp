// SPDX-License-Identifier: GPL-3.0-or-later
// Forward and backward pass of one block: forward against the engine on every architecture; output
// and all gradients against a slow f64 block and its central differences, feature by feature;
// gradients against PyTorch's (tests/reference/make_block_gradient.py).
#include "core/engine/engine.h"
#include "core/train/block.h"
#include "kernels/base/parallel.h"
#include "kernels/nn/products.h"
#include "tests/arch_golden.h"
#include "tests/slow_block.h"

#include <QTemporaryDir>
#include <QTest>

using namespace bitlathe;
using namespace bitlathe::test;

namespace {

struct Case {
  ModelSpec spec;
  BlockParameters parameters;
  std::vector<std::int64_t> lengths{9, 4};
  std::vector<float> x, weights; ///< the loss is the sum of weights * out
};

Parameter noise(std::int64_t rows, std::int64_t cols, bool bias, std::uint32_t& seed) {
  Parameter p;
  p.rows = rows;
  p.cols = cols;
  p.weight = normal_noise(std::size_t(rows * cols), ++seed, 1.0f / std::sqrt(float(cols)));
  if (bias)
    p.bias = normal_noise(std::size_t(rows), ++seed, 0.3f);
  return p;
}
Parameter norm_noise(std::int64_t size, bool bias, std::uint32_t& seed) {
  Parameter p;
  p.rows = 1;
  p.cols = size;
  p.weight = normal_noise(std::size_t(size), ++seed, 0.2f);
  for (float& w : p.weight)
    w += 1.0f;
  if (bias)
    p.bias = normal_noise(std::size_t(size), ++seed, 0.3f);
  return p;
}

/// A block with these features, comma separated.
Case make_case(const QString& features) {
  const QStringList f = features.split(',', Qt::SkipEmptyParts);
  const auto has = [&](const char* word) { return f.contains(word); };
  Case c;
  ModelSpec& s = c.spec;
  s.layers = 1;
  s.hidden = 12;
  s.ffn = 20;
  s.heads = 4;
  s.kv_heads = has("all_heads") || has("per_head") ? 4 : has("one_head") ? 1 : 2;
  s.head_dim = 6;
  s.norm_eps = 1e-5f;
  s.norm = has("layer_norm") ? "layer" : "rms";
  s.rope.dims = has("no_rope") ? 0 : has("part_rope") ? 4 : 6;
  s.rope.theta = 100;
  for (const char* name : {"gelu", "gelu_tanh", "gelu_quick", "relu"})
    if (has(name))
      s.activation = name;
  if (has("yarn")) {
    s.rope.factors = {1, 2, 4};
    s.rope.attention_factor = 1.3f;
  }
  if (has("longrope")) {
    s.rope.factors = {1, 1.5f, 2};
    s.rope.long_factors = {2, 4, 9};
    s.rope.original_context = 6; // between the two sequences
  }
  if (has("dynamic")) {
    s.rope.dynamic_factor = 2;
    s.rope.original_context = 6;
  }
  if (has("window"))
    s.windows = {3};
  if (has("local_rope")) {
    s.local_rope = s.rope;
    s.local_rope.theta = 10;
  }
  if (has("scale"))
    s.attention_scale = 0.9f;
  if (has("softcap"))
    s.attention_softcap = 1.5f;
  s.parallel_residual = has("parallel");
  if (has("per_head"))
    s.fused_qkv = "per_head";
  if (has("stacked"))
    s.fused_qkv = "stacked";
  const bool bias = has("bias"), norm_bias = bias && s.norm == "layer";
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  std::uint32_t seed = 1;
  auto& p = c.parameters;
  p["attention_norm"] = norm_noise(s.hidden, norm_bias, seed);
  if (s.fused_qkv.empty()) {
    p["q"] = noise(q, s.hidden, bias, seed);
    p["k"] = noise(kv, s.hidden, bias, seed);
    p["v"] = noise(kv, s.hidden, bias, seed);
  } else {
    p["qkv"] = noise(q + 2 * kv, s.hidden, bias, seed);
  }
  if (has("head_norms") || has("wide_norms")) {
    p["q_norm"] = norm_noise(has("wide_norms") ? q : s.head_dim, norm_bias, seed);
    p["k_norm"] = norm_noise(has("wide_norms") ? kv : s.head_dim, norm_bias, seed);
  }
  p["o"] = noise(s.hidden, q, bias, seed);
  if (!has("one_norm"))
    p["mlp_norm"] = norm_noise(s.hidden, norm_bias, seed);
  if (has("gate_up")) {
    p["gate_up"] = noise(2 * s.ffn, s.hidden, bias, seed);
  } else {
    if (!has("plain"))
      p["gate"] = noise(s.ffn, s.hidden, bias, seed);
    p["up"] = noise(s.ffn, s.hidden, bias, seed);
  }
  p["down"] = noise(s.hidden, s.ffn, bias, seed);
  if (has("post_norms")) {
    p["post_attention_norm"] = norm_noise(s.hidden, norm_bias, seed);
    p["post_mlp_norm"] = norm_noise(s.hidden, norm_bias, seed);
  }
  std::int64_t tokens = 0;
  for (const auto n : c.lengths)
    tokens += n;
  c.x = normal_noise(std::size_t(tokens * s.hidden), ++seed);
  c.weights = normal_noise(c.x.size(), ++seed);
  return c;
}

struct Gradients {
  BlockParameters parameters;
  std::vector<float> x, out;
};

Gradients gradients_of(const Case& c, Compute* compute = nullptr) {
  Gradients g;
  auto block = DecoderBlock::create(c.spec, 0, c.parameters, compute);
  if (!block) {
    QTest::qFail(block.error().text().c_str(), __FILE__, __LINE__);
    return g;
  }
  BlockTape tape;
  for (const auto& [part, p] : c.parameters)
    g.parameters[part] = zeros_like(p);
  const auto forward = block->forward(c.x, c.lengths, tape);
  const auto backward = block->backward(tape, c.weights, g.parameters, &g.x);
  if (!forward.ok() || !backward.ok())
    QTest::qFail("cancelled", __FILE__, __LINE__);
  g.out = tape.out;
  return g;
}

/// Largest difference, as a share of the largest wanted value.
double worst_of(const std::vector<float>& got, const std::vector<double>& want) {
  double off = got.size() == want.size() ? 0.0 : INFINITY, largest = 1e-3;
  for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    const double here = std::abs(double(got[i]) - want[i]);
    off = std::isnan(here) ? INFINITY : std::max(off, here);
    largest = std::max(largest, std::abs(want[i]));
  }
  return off / largest;
}

} // namespace

class TestBlockGradient : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  /// Products in every orientation, with odd sizes and parts.
  void products() {
    const std::int64_t m = 53, n = 71, k = 1037;
    const auto a = normal_noise(std::size_t(m * k), 1), b = normal_noise(std::size_t(k * n), 2);
    std::vector<double> want(std::size_t(m * n));
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t l = 0; l < k; ++l)
          want[std::size_t(i * n + j)] +=
              double(a[std::size_t(i * k + l)]) * double(b[std::size_t(l * n + j)]);
    std::vector<float> a_turned(a.size()), b_turned(b.size());
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t l = 0; l < k; ++l)
        a_turned[std::size_t(l * m + i)] = a[std::size_t(i * k + l)];
    for (std::int64_t l = 0; l < k; ++l)
      for (std::int64_t j = 0; j < n; ++j)
        b_turned[std::size_t(j * k + l)] = b[std::size_t(l * n + j)];
    for (const Operand& left : {Operand{a.data(), k}, Operand{a_turned.data(), m, true}})
      for (const Operand& right : {Operand{b.data(), n}, Operand{b_turned.data(), k, true}}) {
        const PackedOperand packed(right, k, n);
        std::vector<float> c(want.size(), -7.0f);
        QVERIFY(product(left, m, packed, c.data(), n, false));
        QVERIFY(worst_of(c, want) < 1e-5);
        QVERIFY(product(left, m, packed, c.data(), n, true));
        for (float& v : c)
          v /= 2;
        QVERIFY(worst_of(c, want) < 1e-5);
      }
  }

  void gradients_data() {
    QTest::addColumn<QString>("features");
    for (const char* features :
         {"", "bias", "all_heads,no_rope,plain,layer_norm,bias,gelu_tanh,stacked", // gpt2
          "per_head,part_rope,parallel,layer_norm,bias,plain,gelu",                // neox
          "per_head,part_rope,parallel,one_norm,layer_norm,bias,plain,gelu", "one_norm,parallel",
          "stacked,gate_up,window,longrope",                                 // phi3
          "head_norms", "wide_norms,bias",                                   // qwen3
          "post_norms,softcap,scale,window,gelu_tanh", "one_head,gelu_tanh", // gemma
          "post_norms,head_norms,window,local_rope,gelu_tanh", "yarn,relu,plain", "dynamic",
          "gelu_quick", "gelu", "relu,gate_up,bias", "softcap,wide_norms,layer_norm"})
      QTest::newRow(*features ? features : "llama") << features;
  }
  void gradients() {
    QFETCH(QString, features);
    const Case c = make_case(features);
    const Gradients got = gradients_of(c);
    QVERIFY(worst_of(got.out, slow_block(c.spec, 0, c.parameters, c.x, c.lengths)) < 2e-6);
    SlowGradients want(c.spec, 0, c.parameters, c.x, c.lengths, c.weights);
    const double x_off = worst_of(got.x, want.of_x());
    double worst = x_off;
    for (const auto& [part, p] : got.parameters) {
      const double off = worst_of(p.weight, want.of_weight(part));
      const double bias_off = p.bias.empty() ? 0.0 : worst_of(p.bias, want.of_bias(part));
      QVERIFY2(off < 2e-5 && bias_off < 2e-5,
               qPrintable(QString("%1: %2, bias %3").arg(part.c_str()).arg(off).arg(bias_off)));
      worst = std::max({worst, off, bias_off});
    }
    QVERIFY2(x_off < 2e-5, qPrintable(QString("x: %1").arg(x_off)));
    qInfo("largest difference %.1e of the largest slope", worst);
  }

  /// What is not asked for changes nothing about the rest.
  void partialGradients() {
    for (const char* features :
         {"bias", "parallel,one_norm,bias", "parallel,per_head", "gate_up"}) {
      const Case c = make_case(features);
      const Gradients all = gradients_of(c);
      auto block = DecoderBlock::create(c.spec, 0, c.parameters);
      BlockTape tape;
      QVERIFY(block.ok() && block->forward(c.x, c.lengths, tape).ok());
      for (const auto& [part, p] : c.parameters) {
        BlockParameters one;
        one[part] = zeros_like(p);
        one[part].bias.clear();
        QVERIFY(block->backward(tape, c.weights, one, nullptr).ok());
        QVERIFY2(one[part].weight == all.parameters.at(part).weight, part.c_str());
      }
      BlockParameters none;
      std::vector<float> dx;
      QVERIFY(block->backward(tape, c.weights, none, &dx).ok());
      QVERIFY(dx == all.x);
    }
  }

  /// Longer than a block of queries and than a panel of keys, any thread count.
  void longSequences() {
    for (const char* features : {"", "window,softcap", "one_head,yarn"}) {
      Case c = make_case(features);
      if (c.spec.windows.size())
        c.spec.windows = {37};
      c.lengths = {150, 1, 70};
      c.x = normal_noise(std::size_t(221 * c.spec.hidden), 5);
      c.weights = normal_noise(c.x.size(), 6);
      const Gradients many = gradients_of(c);
      QVERIFY(worst_of(many.out, slow_block(c.spec, 0, c.parameters, c.x, c.lengths)) < 5e-6);
      SlowGradients want(c.spec, 0, c.parameters, c.x, c.lengths, c.weights);
      for (const char* part : {"q", "k", "v", "attention_norm"}) {
        const auto& slope = many.parameters.at(part).weight;
        for (std::size_t i = 0; i < slope.size(); i += 13) {
          const double expected = want.of_weight(part, i);
          QVERIFY2(
              std::abs(double(slope[i]) - expected) < 1e-4 * (1 + std::abs(expected)),
              qPrintable(
                  QString("%1 %2: %3, %4").arg(part).arg(i).arg(double(slope[i])).arg(expected)));
        }
      }
      for (const int threads : {1, 2, 8}) {
        set_thread_count(threads);
        const Gradients again = gradients_of(c);
        set_thread_count(0);
        QVERIFY(again.out == many.out && again.x == many.x);
        for (const auto& [part, p] : again.parameters)
          QVERIFY2(p.weight == many.parameters.at(part).weight, part.c_str());
      }
    }
  }

  /// Products on a device give the same but for rounding.
  void onADevice() {
    auto device = make_vulkan_compute();
    if (!device)
      QSKIP(device.error().message.c_str());
    for (const char* features : {"bias", "per_head,part_rope,parallel,one_norm,bias,plain"}) {
      const Case c = make_case(features);
      const Gradients here = gradients_of(c), there = gradients_of(c, device->get());
      const auto close = [](const std::vector<float>& a, const std::vector<float>& b) {
        return worst_of(a, std::vector<double>(b.begin(), b.end())) < 1e-5;
      };
      QVERIFY(close(there.out, here.out) && close(there.x, here.x));
      for (const auto& [part, p] : here.parameters)
        QVERIFY2(close(there.parameters.at(part).weight, p.weight), part.c_str());
    }
  }

  /// Every input of every linear is what the engine's is, block after block.
  void likeTheEngine_data() { each_golden(); }
  void likeTheEngine() {
    QFETCH(QString, name);
    const Golden golden = read_golden(name.toStdString());
    QTemporaryDir dir;
    put_model(golden, FloatType::f32, dir.path().toStdString());
    const auto checkpoint = opened(dir.path().toStdString());
    QVERIFY(checkpoint);
    const auto compute = std::move(*make_cpu_compute());
    std::map<std::string, std::vector<float>> inputs; // by module
    EngineOptions options;
    options.tap = [&](const Module& module, const float* x, std::int64_t tokens) {
      inputs[module.name].assign(x, x + tokens * module.weight.cols);
    };
    auto engine = Engine::create(checkpoint, *compute, options);
    QVERIFY(engine.ok());
    const auto n = std::int64_t(golden.ids.size());
    auto sequence = (*engine)->new_sequence(n);
    QVERIFY(sequence.ok() && (*engine)->forward(**sequence, golden.ids, n, {}).ok());

    const ModelSpec& spec = *checkpoint->spec;
    std::vector<float> x = embedded(*checkpoint, golden.ids);
    for (int layer = 0; layer < int(spec.layers); ++layer) {
      auto parameters = read_block(*checkpoint, layer);
      QVERIFY(parameters.ok());
      auto block = DecoderBlock::create(spec, layer, std::move(*parameters));
      QVERIFY2(block.ok(), block.ok() ? "" : block.error().text().c_str());
      BlockTape tape;
      QVERIFY(block->forward(x, std::vector{n}, tape).ok());
      int seen = 0;
      for (const Module& module : checkpoint->modules)
        if (module.layer == layer && module.linear) {
          const auto& want = inputs.at(module.name);
          const double off = worst_of(DecoderBlock::input_of(tape, module.part),
                                      std::vector<double>(want.begin(), want.end()));
          QVERIFY2(off < 1e-5, (module.name + " " + std::to_string(off)).c_str());
          ++seen;
        }
      QVERIFY(seen >= 4);
      x = tape.out;
    }
  }

  void againstTorch_data() {
    QTest::addColumn<int>("index");
    QTest::newRow("grouped heads, gate, head norms, window") << 0;
    QTest::newRow("parallel, layer norm, gelu, biases, partial rotation") << 1;
    QTest::newRow("post norms, softcap, fused products") << 2;
  }
  /// Values are made from hashes of names, as for the architectures.
  void againstTorch() {
    QFETCH(int, index);
    const auto json = read_json_file(source_dir() / "tests" / "golden" / "block-gradients.json");
    QVERIFY(json.ok());
    const Json& golden = (*json)[std::size_t(index)];
    const Json& j = golden["spec"];
    Case c;
    ModelSpec& s = c.spec;
    s.layers = 1;
    s.hidden = j["hidden"];
    s.ffn = j["ffn"];
    s.heads = j["heads"];
    s.kv_heads = j["kv_heads"];
    s.head_dim = j["head_dim"];
    s.norm = j["norm"];
    s.norm_eps = j["eps"];
    s.activation = j["activation"];
    s.rope.dims = j["rope_dims"];
    s.rope.theta = j["theta"];
    s.windows = {j["window"].get<std::int64_t>()};
    s.attention_softcap = j["softcap"];
    s.parallel_residual = j["parallel"];
    s.fused_qkv = j["fused_qkv"];
    const auto values = [&](const std::string& name, std::size_t count, double centre) {
      std::vector<float> out;
      for (const auto i : hashed_integers(std::to_string(index) + name, count, 1000))
        out.push_back(float(centre + double(i) / 2048));
      return out;
    };
    for (const Json& p : golden["parameters"]) {
      const std::string part = p["part"];
      Parameter& to = c.parameters[part];
      to.rows = p["rows"];
      to.cols = p["cols"];
      const bool is_norm = part.find("_norm") != std::string::npos;
      to.weight = values(part, std::size_t(to.rows * to.cols), is_norm ? 1 : 0);
      if (p["bias"].get<bool>())
        to.bias = values(part + ".bias", std::size_t(is_norm ? to.cols : to.rows), 0);
    }
    c.lengths = {golden["tokens"].get<std::int64_t>()};
    c.x = values("x", std::size_t(c.lengths[0] * s.hidden), 0);
    c.weights = values("loss", c.x.size(), 0);
    const Gradients got = gradients_of(c);
    const auto wanted = [&](const char* what, const std::string& key) {
      return golden[what][key].get<std::vector<double>>();
    };
    QVERIFY(worst_of(got.out, wanted("values", "out")) < 1e-5);
    QVERIFY(worst_of(got.x, wanted("values", "x")) < 1e-5);
    for (const auto& [part, p] : got.parameters) {
      QVERIFY2(worst_of(p.weight, wanted("weights", part)) < 1e-5, part.c_str());
      if (!p.bias.empty())
        QVERIFY2(worst_of(p.bias, wanted("biases", part)) < 1e-5, part.c_str());
    }
  }

  void whatDoesNotFit() {
    const Case c = make_case("bias");
    const auto fails = [&](auto change) {
      Case broken = c;
      change(broken);
      const auto made = DecoderBlock::create(broken.spec, 0, broken.parameters);
      return !made.ok() && made.error().code == "bad-file";
    };
    QVERIFY(fails([](Case& b) { b.parameters.erase("q"); }));
    QVERIFY(fails([](Case& b) { b.parameters.erase("down"); }));
    QVERIFY(fails([](Case& b) { b.parameters["o"].rows -= 1; }));
    QVERIFY(fails([](Case& b) { b.parameters["v"].weight.pop_back(); }));
    QVERIFY(fails([](Case& b) { b.parameters["v"].bias.pop_back(); }));
    QVERIFY(fails([](Case& b) { b.parameters["mlp_norm"].bias.resize(3); }));
    QVERIFY(fails([](Case& b) { b.spec.kv_heads = 3; }));
    QVERIFY(fails([](Case& b) { b.spec.activation = "sine"; }));
    QVERIFY(fails([](Case& b) { b.spec.windows = {1, 2}; }));
    QVERIFY(fails([](Case& b) {
      std::uint32_t seed = 1;
      b.parameters["q_norm"] = norm_noise(5, false, seed);
    }));
  }

  void cancel() {
    const Case c = make_case("");
    auto block = DecoderBlock::create(c.spec, 0, c.parameters);
    QVERIFY(block.ok());
    BlockTape tape;
    Feedback feedback;
    QVERIFY(block->forward(c.x, c.lengths, tape, &feedback).ok());
    feedback.stop = true;
    const auto forward = block->forward(c.x, c.lengths, tape, &feedback);
    QVERIFY(!forward.ok() && forward.error().cancelled());
    BlockParameters none;
    std::vector<float> dx;
    const auto backward = block->backward(tape, c.weights, none, &dx, &feedback);
    QVERIFY(!backward.ok() && backward.error().cancelled());
  }
};

QTEST_GUILESS_MAIN(TestBlockGradient)
#include "tst_block_gradient.moc"
